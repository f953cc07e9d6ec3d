"""`ChunkRange`: a run of chunks of one xorb and the bytes they take, and the algebra that sharing needs.

Chunk ranges and byte spans are half-open. Where a chunk lies in its xorb is known only where some range
begins or ends; union and difference make no other cuts, so every result knows its bytes, too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from moongate.core.spans import ByteSpan

_PACKED = struct.Struct("<IIII")


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Chunks `first` up to, not including, `end` of a xorb, which are the bytes `span` of it."""

    first: int
    end: int
    span: ByteSpan


def union(ranges: Iterable[ChunkRange]) -> list[ChunkRange]:
    """The same chunks in order, what touches or overlaps joined."""
    joined: list[ChunkRange] = []
    for one in sorted(ranges, key=_place):
        if joined and one.first <= joined[-1].end:
            last = joined[-1]
            if one.end > last.end:
                joined[-1] = _range(last.first, one.end, last.span.start, one.span.end)
        else:
            joined.append(one)
    return joined


def difference(ranges: Iterable[ChunkRange], without: Iterable[ChunkRange]) -> list[ChunkRange]:
    """The chunks of `ranges` that `without` does not have."""
    left: list[ChunkRange] = []
    cuts = union(without)
    at = 0
    for one in union(ranges):
        first, start = one.first, one.span.start
        while at < len(cuts) and cuts[at].end <= first:
            at += 1
        for cut in cuts[at:]:
            if cut.first >= one.end:
                break
            if cut.first > first:
                left.append(_range(first, cut.first, start, cut.span.start))
            first, start = cut.end, cut.span.end
        if first < one.end:
            left.append(_range(first, one.end, start, one.span.end))
    return left


def total_bytes(ranges: Iterable[ChunkRange]) -> int:
    """What the chunks take; of ranges that do not overlap."""
    return sum(one.span.length for one in ranges)


def pack(ranges: Iterable[ChunkRange]) -> bytes:
    """Ranges as the index keeps them."""
    return b"".join(_PACKED.pack(one.first, one.end, one.span.start, one.span.end) for one in ranges)


def unpack(packed: bytes) -> list[ChunkRange]:
    """The opposite of `pack`."""
    return [_range(*four) for four in _PACKED.iter_unpack(packed)]


def _place(one: ChunkRange) -> tuple[int, int]:
    return one.first, one.end


def _range(first: int, end: int, start: int, stop: int) -> ChunkRange:
    return ChunkRange(first, end, ByteSpan(start, max(start, stop)))
