"""Reading the chunks of a Xet file from complete segments, in order, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from moongate.core.errors import StoreError
from moongate.store.index import ReconstructionRow
from moongate.store.segments import Segment, Segments, chunk_ends
from moongate.xet.decoding import decode_chunk
from moongate.xet.hashes import XetHash
from moongate.xet.xorb import BadXorb, read_headers

_READ_BYTES = 1 << 20
_OPEN_SEGMENTS = 16


class ChunksLost(StoreError):
    """Chunks that a file needs are not here."""


class BadSegment(StoreError):
    """A segment that cannot be read, or whose bytes are no chunks."""


class ChunkReader:
    """Reads raw chunks. Close it; one thread at a time. What it has open is not evicted."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._open: dict[str, tuple[int, list[int]]] = {}

    def __enter__(self) -> ChunkReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of every segment. May be called twice."""
        for fd, _ in self._open.values():
            os.close(fd)
        self._open.clear()

    def chunks_of(self, row: ReconstructionRow) -> Iterator[bytes | memoryview]:
        """The raw chunks of a whole file.

        Raises:
            ChunksLost, BadSegment: from the chunk on of which that is so.
        """
        for term in row.terms:
            yield from self.chunks(term.xorb, term.start, term.end)

    def chunks(self, xorb: XetHash, first: int, end: int) -> Iterator[bytes | memoryview]:
        """The raw chunks `first` up to `end` of a xorb; raises as `chunks_of`."""
        for segment in self._segments.cover(xorb, first, end):
            if segment.first > first:
                break
            stop = min(end, segment.end)
            yield from self._read(segment, first - segment.first, stop - segment.first)
            first = stop
        if first < end:
            raise ChunksLost(f"chunk {first} of a xorb is not here")

    def _read(self, segment: Segment, at: int, end: int) -> Iterator[bytes | memoryview]:
        fd, ends = self._opened(segment)
        while at < end:
            until = at + 1
            while until < end and ends[until + 1] - ends[at] <= _READ_BYTES:
                until += 1
            try:
                data = memoryview(os.pread(fd, ends[until] - ends[at], ends[at]))
                for chunk in read_headers(data):
                    yield decode_chunk(data, chunk)
            except OSError as error:
                raise BadSegment(f"cannot be read at byte {ends[at]}: {error.strerror}") from error
            except BadXorb as error:
                raise BadSegment(error.message) from error
            at = until

    def _opened(self, segment: Segment) -> tuple[int, list[int]]:
        known = self._open.get(segment.path)
        if known is not None:
            return known
        fd = self._segments.open(segment)
        if fd is None or os.fstat(fd).st_size < segment.length:
            if fd is not None:
                os.close(fd)
            raise ChunksLost(f"chunk {segment.first} of a xorb is not here")
        try:
            ends = chunk_ends(segment)
        except OSError as error:
            os.close(fd)
            raise BadSegment(f"cannot be read: {error.strerror}") from error
        if len(ends) - 1 != segment.end - segment.first or ends[-1] != segment.length:
            os.close(fd)
            raise BadSegment(f"its bytes are not the {segment.end - segment.first} chunks of its name")
        while len(self._open) >= _OPEN_SEGMENTS:
            os.close(self._open.pop(next(iter(self._open)))[0])
        self._open[segment.path] = fd, ends
        return fd, ends
