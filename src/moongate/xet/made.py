"""Chunks made of a file's plain bytes, for who speaks Xet while the xorbs themselves cannot be had.

A client puts a file together from raw chunks as it would from the xorbs' own: it looks at how many chunks a
range has and where those begin that a term begins with, and believes the rest. So of a reconstruction that is
known, every range can be made anew from the file: as many chunks, stored raw, with the same bytes at every
term's beginning. Of a file without one a reconstruction can be made up.

    made file   [range 0][range 1]…   one stream of all ranges, in which data addresses count
    range       runs of chunks: those of a term, or chunks that no term needs, of one zero byte each
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moongate.core.digests import Etag
from moongate.core.spans import ByteSpan
from moongate.xet.bounds import MAX_CHUNK_BYTES
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import Term
from moongate.xet.xorb import HEADER_BYTES

_TERM_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """Chunks in a row that hold `raw_bytes` of the file from `start` on; None: zeros that nobody needs."""

    chunks: int
    raw_bytes: int
    start: int | None

    @property
    def stored_bytes(self) -> int:
        return self.raw_bytes + HEADER_BYTES * self.chunks

    def parts(self, position: int, end: int) -> Iterator[bytes | ByteSpan]:
        """Its bytes from `position` to `end`, as they are stored: bytes, or spans of the file."""
        each, longer = divmod(self.raw_bytes, self.chunks)
        cut = longer * (each + 1 + HEADER_BYTES)
        while position < end:
            if position < cut:
                number, offset = divmod(position, each + 1 + HEADER_BYTES)
                length = each + 1
            else:
                number, offset = divmod(position - cut, each + HEADER_BYTES)
                number, length = longer + number, each
            raw_start = number * each + min(number, longer)
            if offset < HEADER_BYTES:
                header = _header(length)[offset:][: end - position]
                part: bytes | ByteSpan = header
                taken = len(header)
            else:
                offset -= HEADER_BYTES
                taken = min(length - offset, end - position)
                begin = raw_start + offset
                part = bytes(taken)
                if self.start is not None:
                    part = ByteSpan(self.start + begin, self.start + begin + taken)
            yield part
            position += taken


@dataclass(frozen=True, slots=True)
class MadeRange:
    """Chunks `first` up to `end` of a xorb, made; `span` is where they are in the stream of all ranges."""

    xorb: XetHash
    first: int
    end: int
    span: ByteSpan
    runs: tuple[Run, ...]

    def parts(self, position: int, end: int) -> Iterator[bytes | ByteSpan]:
        """What is stored from `position` to `end` of the stream: bytes, or spans of the file."""
        at = self.span.start
        for run in self.runs:
            start, stop = max(position - at, 0), min(end - at, run.stored_bytes)
            if start < stop:
                yield from run.parts(start, stop)
            at += run.stored_bytes


@dataclass(frozen=True, slots=True)
class MadeRanges:
    """All ranges of a file. `key` tells these from those that anything else would have been made of."""

    key: str
    ranges: tuple[MadeRange, ...]

    def parts(self, position: int, end: int) -> Iterator[bytes | ByteSpan]:
        """What is stored from `position` to `end` of the stream: bytes, or spans of the file."""
        at = bisect_right(self.ranges, position, key=lambda one: one.span.start) - 1
        while position < end:
            stop = min(end, self.ranges[at].span.end)
            yield from self.ranges[at].parts(position, stop)
            position, at = stop, at + 1


def made_up_terms(etag: Etag, size_bytes: int) -> tuple[Term, ...]:
    """A reconstruction of a file of which none is known: the same for the same content, at any time."""
    terms = []
    for number, start in enumerate(range(0, size_bytes, _TERM_BYTES)):
        length = min(_TERM_BYTES, size_bytes - start)
        xorb = XetHash(hashlib.sha256(f"moongate made {etag} {number}".encode()).digest())
        terms.append(Term(xorb, length, 0, -(-length // MAX_CHUNK_BYTES)))
    return tuple(terms)


def make_ranges(
    etag: Etag, terms: Sequence[Term], ranges: Mapping[XetHash, Iterable[tuple[int, int]]]
) -> MadeRanges | None:
    """Every range of a file, made of its plain bytes; None when terms overlap in a way that needs the xorbs.

    ranges: the chunks of each fetch range, by xorb.
    """
    starts: dict[XetHash, dict[tuple[int, int], tuple[int, int]]] = {}
    position = 0
    for term in terms:
        starts.setdefault(term.xorb, {})[term.start, term.end] = position, term.unpacked_bytes
        position += term.unpacked_bytes
    made: list[MadeRange] = []
    at = 0
    for xorb, pairs in ranges.items():
        for first, end in sorted(pairs):
            runs = _runs(first, end, starts.get(xorb, {}))
            if runs is None:
                return None
            stop = at + sum(run.stored_bytes for run in runs)
            made.append(MadeRange(xorb, first, end, ByteSpan(at, stop), runs))
            at = stop
    told = "".join(f"{one.xorb.hex()} {one.first} {one.end} {one.runs}\n" for one in made)
    return MadeRanges(hashlib.sha256(f"moongate made {etag}\n{told}".encode()).hexdigest(), tuple(made))


def structure_key(terms: Sequence[Term], ranges: Mapping[XetHash, Iterable[tuple[int, int]]]) -> str:
    """What a client that asks again for the addresses of a file takes to be unchanged."""
    hasher = hashlib.sha256()
    for term in terms:
        hasher.update(b"%b %d %d %d\n" % (term.xorb, term.start, term.end, term.unpacked_bytes))
    for xorb, pairs in sorted(ranges.items()):
        hasher.update(b"%b %b\n" % (xorb, repr(sorted(pairs)).encode()))
    return hasher.hexdigest()


def _runs(first: int, end: int, terms: Mapping[tuple[int, int], tuple[int, int]]) -> tuple[Run, ...] | None:
    runs: list[Run] = []
    at = first
    for (start, stop), (position, raw_bytes) in sorted(terms.items()):
        if stop <= first or start >= end:
            continue
        chunks = stop - start
        if start < at or stop > end or not chunks <= raw_bytes <= chunks * MAX_CHUNK_BYTES:
            return None
        if start > at:
            runs.append(Run(start - at, start - at, None))
        runs.append(Run(chunks, raw_bytes, position))
        at = stop
    if at < end:
        runs.append(Run(end - at, end - at, None))
    return tuple(runs)


def _header(length: int) -> bytes:
    """The header of a chunk that is stored raw."""
    size = length.to_bytes(3, "little")
    return b"\0" + size + b"\0" + size
