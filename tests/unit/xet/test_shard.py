"""Shards: the shapes that clients send, and those that nobody should."""

from __future__ import annotations

import struct

import pytest

from moongate.xet.hashes import ZERO, XetHash, keyed_chunk_hash
from moongate.xet.shard import (
    BadShard,
    Shard,
    ShardFile,
    ShardTerm,
    ShardXorb,
    dedup_answer,
    is_dedup_chunk,
    read_shard,
    write_shard,
)

XORB, CHUNK, FILE = (XetHash(bytes([n]) * 32) for n in (1, 2, 3))
TOLD = Shard(
    (ShardFile(FILE, (ShardTerm(XORB, 70_000, 0, 2),), (XetHash(b"v" * 32),), "ab" * 32),),
    (ShardXorb(XORB, ((CHUNK, 60_000), (FILE, 10_000))),),
)
DATA = write_shard(TOLD)


def test_a_shard_of_files_whose_xorbs_are_elsewhere() -> None:
    told = Shard(TOLD.files)
    assert read_shard(write_shard(told)) == told


def test_a_file_without_proof_or_sha256() -> None:
    told = Shard((ShardFile(FILE, TOLD.files[0].terms),))
    assert read_shard(write_shard(told)) == told


@pytest.mark.parametrize("says", [0, 200, 1 << 40])
@pytest.mark.parametrize(
    "follows", [b"", bytes(200), bytes(48 * 3 + 200)], ids=["nothing", "footer", "tables"]
)
def test_what_the_header_says_of_a_footer_is_not_believed(says: int, follows: bytes) -> None:
    data = DATA[:40] + struct.pack("<Q", says) + DATA[48:] + follows
    assert read_shard(data) == TOLD


def test_chunks_tell_where_they_start() -> None:
    chunks_at = len(DATA) - 48 * 3
    starts = [struct.unpack("<32sIIII", DATA[at : at + 48])[1:3] for at in (chunks_at, chunks_at + 48)]
    assert starts == [(0, 60_000), (60_000, 10_000)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DATA[:47],
        b"x" + DATA[1:],
        DATA[:32] + struct.pack("<Q", 3) + DATA[40:],
        DATA[: 48 + 36] + struct.pack("<I", 1 << 31) + DATA[48 + 40 :],
        write_shard(Shard((ShardFile(FILE, (ShardTerm(XORB, 1, 2, 2),)),))),
    ],
    ids=["empty", "short", "tag", "version", "many terms", "no chunks"],
)
def test_what_is_no_shard_is_refused(data: bytes) -> None:
    with pytest.raises(BadShard):
        read_shard(data)


def test_a_dedup_answer_keys_its_chunks() -> None:
    key = b"k" * 32
    data = dedup_answer(TOLD.xorbs, key, created=10, key_expiry=20)
    told = read_shard(data)
    assert [chunk for chunk, _ in told.xorbs[0].chunks] == [
        keyed_chunk_hash(one, key) for one in (CHUNK, FILE)
    ]
    assert read_shard(dedup_answer(TOLD.xorbs, ZERO, created=10, key_expiry=20)).xorbs == TOLD.xorbs
    assert struct.unpack("<Q", data[40:48]) == (200,)
    footer = data[-200:]
    version, files_at, xorbs_at = struct.unpack("<QQQ", footer[:24])
    assert (version, data[files_at : files_at + 32]) == (1, b"\xff" * 32)
    assert data[xorbs_at : xorbs_at + 32] == XORB
    assert footer[72:104] == key
    assert struct.unpack("<QQ", footer[104:120]) == (10, 20)
    assert struct.unpack("<Q", footer[-8:]) == (len(data) - 200,)


def test_which_chunks_may_be_asked_for() -> None:
    every = XetHash(bytes(24) + struct.pack("<Q", 5 * 1024))
    assert is_dedup_chunk(every, first_of_file=False)
    assert not is_dedup_chunk(CHUNK, first_of_file=False)
    assert is_dedup_chunk(CHUNK, first_of_file=True)
