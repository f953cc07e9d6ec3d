"""`Segment`: a run of whole chunks of one xorb, at rest as one file, and the name that says which."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange
from moongate.xet.hashes import XetHash

LEAD_SUFFIX = ".lead"
CUT_SUFFIX = ".cut"

_NAME = re.compile(r"(0|[1-9]\d{0,9})-([1-9]\d{0,9})_(0|[1-9]\d{0,9})-([1-9]\d{0,9})")
_MAX = 1 << 32


@dataclass(frozen=True, slots=True)
class Segment:
    """Chunks `first` up to `end` of a xorb: byte for byte its bytes `span`. The file may still be growing."""

    xorb: XetHash
    first: int
    end: int
    span: ByteSpan
    path: str

    @property
    def length(self) -> int:
        """Bytes of the complete file."""
        return self.span.length

    @property
    def chunks(self) -> ChunkRange:
        return ChunkRange(self.first, self.end, self.span)


def segment_at(folder: str, xorb: XetHash, first: int, end: int, span: ByteSpan) -> Segment:
    """The segment with these chunks, in its xorb's folder."""
    return Segment(xorb, first, end, span, f"{folder}/{first}-{end}_{span.start}-{span.end}")


def read_name(folder: str, xorb: XetHash, name: str) -> Segment | None:
    """The segment that a file's name tells of; None when it is no such name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    first, end, start, stop = map(int, found.groups())
    if not (first < end < _MAX and start < stop < _MAX):
        return None
    return Segment(xorb, first, end, ByteSpan(start, stop), f"{folder}/{name}")
