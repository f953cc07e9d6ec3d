"""Xorbs that are not what they should be: each is refused before it costs anything."""

from __future__ import annotations

import random
import struct

import lz4.frame
import pytest

from moongate.core.spans import ByteSpan
from moongate.xet.bounds import MAX_CHUNK_BYTES
from moongate.xet.decoding import decode_chunk, verify_xorb
from moongate.xet.hashes import ZERO, chunk_hash, xorb_hash
from moongate.xet.xorb import (
    MAX_XORB_CHUNKS,
    BadXorb,
    Scheme,
    encode_chunk,
    footer,
    layout_of,
    read_headers,
)

RAW = [random.Random(1).randbytes(10_000), b"a" * 20_000, random.Random(2).randbytes(30_001)]
LEAVES = [(chunk_hash(raw), len(raw)) for raw in RAW]
BODY = b"".join(encode_chunk(raw) for raw in RAW)


def header(stored: int, raw: int, scheme: int = 0, version: int = 0) -> bytes:
    return bytes([version]) + stored.to_bytes(3, "little") + bytes([scheme]) + raw.to_bytes(3, "little")


def test_the_layout_tells_spans_and_lengths() -> None:
    layout = layout_of(read_headers(memoryview(BODY)))
    assert layout.chunks == 3
    assert layout.span(0, 3) == ByteSpan(0, len(BODY))
    assert layout.span(0, 1) == ByteSpan(0, 10_008)
    assert layout.raw_bytes(1, 3) == 50_001
    part = memoryview(BODY)[layout.span(1, 2).start : layout.span(1, 2).end]
    assert bytes(decode_chunk(part, read_headers(part)[0])) == RAW[1]


def test_what_does_not_shrink_is_stored_raw() -> None:
    assert [chunk.scheme for chunk in read_headers(memoryview(BODY))] == [
        Scheme.NONE,
        Scheme.LZ4,
        Scheme.NONE,
    ]


def test_a_footer_is_left_alone() -> None:
    expected = xorb_hash(LEAVES)
    foot = footer(expected, LEAVES, layout_of(read_headers(memoryview(BODY))))
    assert foot[:8] == b"XETBLOB\x01"
    assert foot[8:40] == expected
    assert struct.unpack("<I", foot[-4:])[0] == len(foot) - 4 == 92 + 40 * len(LEAVES)
    assert verify_xorb(memoryview(BODY + foot), expected) == LEAVES


def test_a_footer_points_at_its_sections() -> None:
    foot = footer(xorb_hash(LEAVES), LEAVES, layout_of(read_headers(memoryview(BODY))))
    body = foot[:-4]
    count, hashes_at, bounds_at = struct.unpack("<III", body[-28:-16])
    assert count == len(LEAVES)
    assert body[len(body) - hashes_at :][:7] == b"XBLBHSH"
    assert body[len(body) - bounds_at :][:7] == b"XBLBBND"


@pytest.mark.parametrize(
    "data",
    [
        header(5, 5)[:7],
        header(5, 5) + b"1234",
        header(5, 5, version=1) + b"12345",
        header(5, 5, scheme=3) + b"12345",
        header(0, 5),
        header(5, 0) + b"12345",
        header(5, MAX_CHUNK_BYTES + 1) + b"12345",
        header(2 * MAX_CHUNK_BYTES + 1, 5),
        (header(1, 1) + b"x") * (MAX_XORB_CHUNKS + 1),
    ],
    ids=["cut header", "cut data", "version", "scheme", "no data", "no bytes", "raw", "stored", "chunks"],
)
def test_headers_that_make_no_sense(data: bytes) -> None:
    with pytest.raises(BadXorb):
        read_headers(memoryview(data))


def packed(raw: bytes) -> bytes:
    return lz4.frame.compress(
        raw, block_size=lz4.frame.BLOCKSIZE_MAX64KB, block_linked=False, store_size=False
    )


@pytest.mark.parametrize(
    ("stored", "raw_bytes", "scheme"),
    [
        (b"12345", 6, 0),
        (packed(b"a" * 100), 99, 1),
        (packed(b"a" * 100), 101, 1),
        (packed(b"a" * 100)[:-5], 100, 1),
        (b"no frame at all", 100, 1),
        (packed(b"a" * 100), 99, 2),
        (packed(bytes(50 << 20))[: 2 * MAX_CHUNK_BYTES], 1000, 1),
    ],
    ids=["none", "longer", "shorter", "cut", "garbage", "grouped", "bomb"],
)
def test_a_chunk_must_give_the_length_it_tells(stored: bytes, raw_bytes: int, scheme: int) -> None:
    data = memoryview(header(len(stored), raw_bytes, scheme) + stored)
    with pytest.raises(BadXorb):
        decode_chunk(data, read_headers(data)[0])


def test_another_xorb_is_not_this_one() -> None:
    with pytest.raises(BadXorb):
        verify_xorb(memoryview(BODY), xorb_hash(LEAVES[:2]))
    with pytest.raises(BadXorb):
        verify_xorb(memoryview(b""), xorb_hash(LEAVES))
    assert verify_xorb(memoryview(b""), ZERO) == []


@pytest.mark.parametrize("size_bytes", [0, MAX_CHUNK_BYTES + 1])
def test_a_chunk_has_its_bounds(size_bytes: int) -> None:
    with pytest.raises(ValueError, match="a chunk has 1 to"):
        encode_chunk(bytes(size_bytes))
