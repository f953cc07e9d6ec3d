"""Xorbs: up to 64 MiB of chunks, back to back, each with an 8-byte header; sometimes a footer behind them.

    header   version u8 = 0 · stored length u24 · scheme u8 · raw length u24
    footer   "XETBLOB" 1 · xorb hash · "XBLBHSH" 0 · n · n hashes · "XBLBBND" 1 · n
             · n ends of serialized chunks · n raw ends · n · two offsets · 16 reserved
             · length u32 (itself excluded)

Rules of this file:
- A reader trusts nothing: lengths are bounded before anything is decompressed (see `decoding`).
- A stored chunk that compression does not shrink is stored raw.
- Chunk ranges are half-open; so are the byte spans that belong to them.
- `groups` brings numpy, which takes long to load: it is imported when the first chunk is coded.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, chain
from typing import Final, Literal, NamedTuple

import lz4.frame

from moongate.core.errors import MoongateError
from moongate.core.spans import ByteSpan
from moongate.xet.bounds import MAX_CHUNK_BYTES
from moongate.xet.hashes import Leaf, XetHash

MAX_XORB_BYTES: Final = 64 << 20
MAX_XORB_CHUNKS: Final = 8192
HEADER_BYTES: Final = 8
MAX_STORED_BYTES: Final = MAX_XORB_BYTES + MAX_XORB_CHUNKS * HEADER_BYTES
"""The 64 MiB are of raw bytes: a full xorb that compression does not shrink has its headers on top."""

_FOOTER_MARK: Final = b"XETBLOB"
_HASH_MARK: Final = b"XBLBHSH"
_BOUNDS_MARK: Final = b"XBLBBND"
_HEADER: Final = struct.Struct("<Q")

Compression = Literal["auto", "none", "lz4", "bg4-lz4"]


class BadXorb(MoongateError):
    """Bytes that are no xorb, or not the one they were said to be."""


class Scheme(IntEnum):
    """How a chunk is stored."""

    NONE = 0
    LZ4 = 1
    BG4_LZ4 = 2


_SCHEMES: Final = tuple(Scheme)


class StoredChunk(NamedTuple):
    """One chunk as it lies in a xorb: where its data starts, how long it is, stored and raw."""

    data_start: int
    stored_bytes: int
    scheme: Scheme
    raw_bytes: int

    @property
    def end(self) -> int:
        return self.data_start + self.stored_bytes


ROW_WORDS: Final = 4
"""How many numbers a `StoredChunk` is."""


def rows_of(chunks: Iterable[StoredChunk]) -> array[int]:
    """Chunks as numbers, one after the other: many are kept, cut and handed on so at once."""
    return array("I", chain.from_iterable(chunks))


def chunks_in(rows: Sequence[int]) -> list[StoredChunk]:
    """The opposite of `rows_of`."""
    return [
        StoredChunk(rows[at], rows[at + 1], _SCHEMES[rows[at + 2]], rows[at + 3])
        for at in range(0, len(rows), ROW_WORDS)
    ]


@dataclass(frozen=True, slots=True)
class XorbLayout:
    """Where a xorb's chunks lie: serialized chunk i ends at `ends[i]`, its raw bytes at `raw_ends[i]`."""

    ends: tuple[int, ...]
    raw_ends: tuple[int, ...]

    @property
    def chunks(self) -> int:
        return len(self.ends)

    def span(self, first: int, end: int) -> ByteSpan:
        """The serialized bytes of chunks `first` up to, not including, `end`."""
        return ByteSpan(self.ends[first - 1] if first else 0, self.ends[end - 1] if end else 0)

    def raw_bytes(self, first: int, end: int) -> int:
        return (self.raw_ends[end - 1] if end else 0) - (self.raw_ends[first - 1] if first else 0)


def read_headers(data: memoryview) -> list[StoredChunk]:
    """The chunks of a xorb, or of a run of its chunks; a footer behind them is left alone.

    Raises:
        BadXorb: a header makes no sense, or the data ends in mid-chunk.
    """
    chunks: list[StoredChunk] = []
    at, end = 0, len(data)
    while at < end:
        if begins_footer(data[at:]):
            break
        chunk = _read_header(data, at, at)
        if chunk.end > end:
            raise BadXorb(f"a chunk at byte {at} goes beyond the end of its xorb")
        chunks.append(chunk)
        if len(chunks) > MAX_XORB_CHUNKS:
            raise BadXorb(f"a xorb of more than {MAX_XORB_CHUNKS} chunks")
        at = chunk.end
    return chunks


def whole_chunks(data: memoryview, most: int = MAX_XORB_CHUNKS) -> list[StoredChunk]:
    """The first chunks, `most` of them, of a piece of a xorb, up to one that is cut off, or to a footer.

    Raises:
        BadXorb: a header makes no sense.
    """
    chunks: list[StoredChunk] = []
    at, end = 0, len(data)
    while len(chunks) < most and at + HEADER_BYTES <= end and not (data[at] and begins_footer(data[at:])):
        chunk = _read_header(data, at, at)
        if chunk.end > end:
            break
        chunks.append(chunk)
        at = chunk.end
    return chunks


def begins_footer(data: memoryview) -> bool:
    """Whether a footer stands here, where a chunk could."""
    return bytes(data[: len(_FOOTER_MARK)]) == _FOOTER_MARK


def layout_of(chunks: Sequence[StoredChunk]) -> XorbLayout:
    """Where these chunks end, serialized and raw."""
    return XorbLayout(
        tuple(chunk.end for chunk in chunks), tuple(accumulate(chunk.raw_bytes for chunk in chunks))
    )


def encode_chunk(raw: bytes | memoryview, compression: Compression = "auto") -> bytes:
    """One chunk with its header; stored raw when compression does not shrink it."""
    if not 0 < len(raw) <= MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk has 1 to {MAX_CHUNK_BYTES} bytes, not {len(raw)}")
    from moongate.xet.groups import grouped  # noqa: PLC0415 - see above

    scheme, stored = Scheme.NONE, bytes(raw)
    for candidate in _CANDIDATES[compression]:
        packed = _compress(grouped(raw) if candidate is Scheme.BG4_LZ4 else raw)
        if len(packed) < len(stored):
            scheme, stored = candidate, packed
    return (
        b"\0" + len(stored).to_bytes(3, "little") + bytes([scheme]) + len(raw).to_bytes(3, "little") + stored
    )


def footer(expected: XetHash, leaves: Sequence[Leaf], layout: XorbLayout) -> bytes:
    """The footer of a xorb with these chunks."""
    count = len(leaves)
    hashes = _HASH_MARK + b"\0" + struct.pack("<I", count) + b"".join(leaf for leaf, _ in leaves)
    bounds = _BOUNDS_MARK + b"\1" + struct.pack(f"<I{2 * count}I", count, *layout.ends, *layout.raw_ends)
    tail_bytes = 4 + 4 + 4 + 16
    from_end = (len(hashes) + len(bounds) + tail_bytes, len(bounds) + tail_bytes)
    body = _FOOTER_MARK + b"\1" + expected + hashes + bounds + struct.pack("<III16x", count, *from_end)
    return body + struct.pack("<I", len(body))


_CANDIDATES: dict[Compression, tuple[Scheme, ...]] = {
    "auto": (Scheme.LZ4, Scheme.BG4_LZ4),
    "none": (),
    "lz4": (Scheme.LZ4,),
    "bg4-lz4": (Scheme.BG4_LZ4,),
}


def read_header(header: bytes, at: int) -> StoredChunk:
    """The chunk whose header begins at byte `at`.

    Raises:
        BadXorb: it makes no sense.
    """
    return _read_header(header, 0, at)


def _read_header(data: memoryview | bytes, offset: int, at: int) -> StoredChunk:
    """The chunk whose header is at `offset` of the data, and at byte `at` of what is counted in."""
    if offset + HEADER_BYTES > len(data):
        raise BadXorb(f"a chunk header at byte {at} is cut off")
    (word,) = _HEADER.unpack_from(data, offset)  # version u8 · stored u24 · scheme u8 · raw u24, least first
    version, stored, scheme, raw = word & 0xFF, word >> 8 & 0xFFFFFF, word >> 32 & 0xFF, word >> 40
    if version != 0 or scheme > Scheme.BG4_LZ4:
        raise BadXorb(f"a chunk header at byte {at} of unknown version or scheme")
    if not 0 < raw <= MAX_CHUNK_BYTES or not 0 < stored <= 2 * MAX_CHUNK_BYTES:
        raise BadXorb(f"a chunk header at byte {at} tells impossible lengths")
    return StoredChunk(at + HEADER_BYTES, stored, _SCHEMES[scheme], raw)


def _compress(raw: bytes | memoryview) -> bytes:
    packed: bytes = lz4.frame.compress(
        bytes(raw), block_size=lz4.frame.BLOCKSIZE_MAX64KB, block_linked=False, store_size=False
    )
    return packed
