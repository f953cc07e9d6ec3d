"""Values that others published or their programs wrote.

Origin: the test data of xet-core (the Rust crates behind hf_xet, Apache-2.0), the Xet specification 1.1.0,
and files written by hf_xet 1.8.0; each was recomputed by a second implementation before it was noted here.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate

import numpy as np
import pytest

from moongate.xet.chunker import chunk_lengths
from moongate.xet.decoding import read_leaves
from moongate.xet.gear import GEAR
from moongate.xet.groups import grouped, ungrouped
from moongate.xet.hashes import (
    ZERO,
    XetHash,
    chunk_hash,
    file_hash,
    hash_hex,
    parse_hash,
    term_hash,
    xorb_hash,
)
from moongate.xet.shard import Shard, ShardFile, ShardTerm, ShardXorb, read_shard, write_shard
from moongate.xet.xorb import encode_chunk
from vectors.xet.samples import HELLO, leaves_of, random_megabyte

A, B, C = (
    ("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6", 100),
    ("c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72", 200),
    ("0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37", 300),
)
HELLO_CHUNK = "a7cc7fbd5cfe32e077552ebacd696b21346b81476b5100c38e1712a2db6a4020"
HELLO_FILE = "7eba882906338d749ec3946b826d156d18863315cd048acd7f7ff24fadaec173"
HELLO_SHA256 = "c98c24b677eff44860afea6f493bbaec5bb1c4cbb209c6fc2bbb47f66ff2ad31"


def test_the_table_is_that_of_rust_gearhash() -> None:
    packed = np.array(GEAR, dtype="<u8").tobytes()
    assert (
        hashlib.sha256(packed).hexdigest()
        == "e1d3936666d7ae7a977c958e9afcc75f90aaca758ce5fbe4ece61dffefe1912c"
    )


def test_the_hex_string_of_a_hash() -> None:
    text = "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    assert hash_hex(XetHash(bytes(range(32)))) == text
    assert parse_hash(text) == bytes(range(32))


def test_the_chunk_hash_of_nothing() -> None:
    assert hash_hex(chunk_hash(b"")) == "e0f2cf784e7e5f10c34f84af150e9a5ff9664216debad915364d741049870f67"


def test_the_empty_file() -> None:
    assert chunk_lengths(b"") == []
    assert file_hash([]) == xorb_hash([]) == ZERO


def test_hello_world() -> None:
    leaves = leaves_of(HELLO)
    assert [(hash_hex(chunk), length) for chunk, length in leaves] == [(HELLO_CHUNK, 14)]
    assert hash_hex(xorb_hash(leaves)) == HELLO_CHUNK
    assert hash_hex(file_hash(leaves)) == HELLO_FILE
    verification = "4e07e79f045a6cad5ae8e2c293b7ab7b663a02ccb4dd77ad406f95d7024cd8f3"
    assert hash_hex(term_hash([leaves[0][0]])) == verification
    assert hashlib.sha256(HELLO).hexdigest() == HELLO_SHA256


def test_hello_world_as_a_xorb() -> None:
    data = encode_chunk(HELLO)
    assert data.hex() == "000e0000000e0000" + "48656c6c6f2c20576f726c64210a"
    assert read_leaves(memoryview(data)) == leaves_of(HELLO)


def test_hello_world_as_a_shard() -> None:
    chunk = parse_hash(HELLO_CHUNK)
    told = Shard(
        files=(
            ShardFile(
                parse_hash(HELLO_FILE), (ShardTerm(chunk, 14, 0, 1),), (term_hash([chunk]),), HELLO_SHA256
            ),
        ),
        xorbs=(ShardXorb(chunk, ((chunk, 14),)),),
    )
    data = write_shard(told)
    assert len(data) == 432
    assert (
        hashlib.sha256(data).hexdigest() == "b936b41177e477f57a3f938e24bd50473b3346f66cf50048830cfa9acc21a0b1"
    )
    assert "48f4ef77b6248cc9ecba3b496feaaf60fcc609b2cbc4b15b31adf26ff647bb2b" in data.hex()
    assert read_shard(data) == told


def test_a_million_equal_bytes() -> None:
    assert chunk_lengths(b"\x3b" * 1_000_000) == [131072] * 7 + [1_000_000 - 7 * 131072]


def test_the_random_megabyte() -> None:
    data = random_megabyte()
    assert (data[0], data[127], data[111111]) == (175, 132, 118)
    cuts = """84493 134421 144853 243318 271793 336457 467529 494581 582000 596735 616815 653164 678202
              724510 815591 827760 958832 991092 1000000"""
    assert list(accumulate(chunk_lengths(data))) == [int(cut) for cut in cuts.split()]
    leaves = leaves_of(data)
    assert [
        hash_hex(leaves[0][0]),
        hash_hex(xorb_hash(leaves)),
        hash_hex(file_hash(leaves)),
        hash_hex(term_hash(chunk for chunk, _ in leaves)),
    ] == [
        "6eca1e7dadaf08cca5d82d318c800f07c2ddcec115a7e8627e5edd9605b94b8d",
        "6f2ce16ca5e317f0100ff0e7e5bf40a0de9032e9ee1ad04b6b8ff4e36cdfbf6c",
        "3d17b2d7d64a0e011b6717a52d9a16bd2c3f05b743fa8adf52a7d75dafab6d89",
        "6daf15a7ed258b91f607e8f5e6723a8564292d12c8104c156f7bad9c255a0180",
    ]


@pytest.mark.parametrize(
    ("leaves", "root"),
    [
        ([A], A[0]),
        ([A, B, C], "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc"),
        ([A] * 4, "89f2ada89ff8c96763c6b25010e6dd76a4c05b1466207633ea559acf2093211b"),
        ([A] * 32, "0a0123c1617921883b7e13902095fcb86676e77c49120c33b233003b0af0e0a6"),
    ],
    ids=["one", "three", "four", "thirty-two"],
)
def test_trees(leaves: list[tuple[str, int]], root: str) -> None:
    assert hash_hex(xorb_hash([(parse_hash(text), length) for text, length in leaves])) == root


@pytest.mark.parametrize(
    ("leaves", "expected"),
    [
        ([A], "8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661"),
        ([A, B, C], "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715"),
    ],
    ids=["one", "three"],
)
def test_files_of_trees(leaves: list[tuple[str, int]], expected: str) -> None:
    assert hash_hex(file_hash([(parse_hash(text), length) for text, length in leaves])) == expected


def test_bytes_in_groups_of_four() -> None:
    assert list(grouped(bytes(range(10)))) == [0, 4, 8, 1, 5, 9, 2, 6, 3, 7]
    assert bytes(ungrouped(bytes([0, 4, 8, 1, 5, 9, 2, 6, 3, 7]))) == bytes(range(10))
