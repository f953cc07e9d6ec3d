"""`ChunkFlow`: the raw chunks of a file's terms, in order, from segments that may still be growing.

For a thread. Bounded memory: one read of a segment at a time, and where the chunks of open segments lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from moongate.store.segments import Segment, Segments
from moongate.xet.decoding import fitting, new_decoder
from moongate.xet.hashes import XetHash
from moongate.xet.xorb import HEADER_BYTES, BadXorb, StoredChunk, whole_chunks

_READ_BYTES = 1 << 20
_OPEN_SEGMENTS = 16

_NOTHING: list[StoredChunk] = []

Patience = Callable[[XetHash, int], None]
"""Called when a chunk of a xorb is not here yet. Returns when to look again, or raises why it never comes."""


class ChunkFlow:
    """Reads raw chunks. Close it; one thread at a time. What it has open is not evicted."""

    def __init__(self, segments: Segments, patience: Patience) -> None:
        self._segments = segments
        self._patience = patience
        self._open: dict[str, _Open] = {}
        self._decoder = new_decoder()
        self._buffer = self._decoder.stored[:_READ_BYTES]

    def close(self) -> None:
        """Let go of every segment. May be called twice."""
        while self._open:
            self._open.popitem()[1].close()

    def chunks(self, xorb: XetHash, first: int, end: int) -> Iterator[memoryview]:
        """The raw chunks `first` up to `end`, each as soon as it is here; it holds until the next one.

        Raises:
            BadXorb: the bytes are no chunks, or not as many as their segment tells.
            MoongateError: what the patience raises.
        """
        for run in self.runs(xorb, first, end):
            yield from run

    def runs(self, xorb: XetHash, first: int, end: int) -> Iterator[list[memoryview]]:
        """As `chunks`, many at a time. They hold until the next run is asked for."""
        while first < end:
            found = self._at(xorb, first)
            chunks = _NOTHING if found is None else found.read(first, end, self._buffer)
            if not chunks:
                self._patience(xorb, first)
                continue
            first += len(chunks)
            while chunks:
                some = fitting(chunks)
                yield self._decoder.decode(chunks[:some])
                chunks = chunks[some:]

    def together(self) -> memoryview | bytes:
        """The run that was asked for last, in one piece; it holds as long as that."""
        return self._decoder.together()

    def skip_to(self, xorb: XetHash, first: int, offset_bytes: int, end: int) -> tuple[int, int]:
        """The chunk that holds raw byte `offset_bytes` of those from `first` on, and where in it that is.

        Reads headers alone. Raises as `chunks`.
        """
        while first < end:
            found = self._at(xorb, first)
            raw_bytes = None if found is None else found.raw_bytes(first)
            if raw_bytes is None:
                self._patience(xorb, first)
                continue
            if offset_bytes < raw_bytes:
                break
            offset_bytes -= raw_bytes
            first += 1
        return first, offset_bytes

    def _at(self, xorb: XetHash, chunk: int) -> _Open | None:
        for segment in self._segments.cover(xorb, chunk, chunk + 1):
            return self._opened(segment)
        return None

    def _opened(self, segment: Segment) -> _Open | None:
        known = self._open.get(segment.path)
        if known is not None and (known.is_whole or known.is_there()):
            return known
        if known is not None:
            self._open.pop(segment.path).close()
        fd = self._segments.open(segment)
        if fd is None:
            return None
        while len(self._open) >= _OPEN_SEGMENTS:
            self._open.pop(next(iter(self._open))).close()
        self._open[segment.path] = opened = _Open(segment, fd)
        return opened


class _Open:
    """One open segment; `_ends` tells where its chunks lie, as far as they were looked at."""

    def __init__(self, segment: Segment, fd: int) -> None:
        self.segment = segment
        self._fd = fd
        self._ends = [0]

    def close(self) -> None:
        os.close(self._fd)

    @property
    def is_whole(self) -> bool:
        return os.fstat(self._fd).st_size >= self.segment.length

    def is_there(self) -> bool:
        """Whether this is still the file of that name."""
        try:
            return Path(self.segment.path).stat().st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def read(self, first: int, end: int, buffer: memoryview) -> list[StoredChunk]:
        """Read whole chunks from `first` on, before `end`: as many as are here and fit, or none."""
        at, size_bytes = first - self.segment.first, self._size()
        if not self._walk(at, size_bytes):
            return _NOTHING
        start = self._ends[at]
        count = os.preadv(self._fd, [buffer[: max(0, size_bytes - start)]], start)
        chunks = whole_chunks(buffer[:count], min(end, self.segment.end) - first)
        known = len(self._ends) - 1 - at
        self._ends += [start + chunk.end for chunk in chunks[known:]]
        if not chunks:
            self._check_end(first, size_bytes)
        return chunks

    def raw_bytes(self, chunk: int) -> int | None:
        """How long a chunk is, decoded; None when its header is not here yet."""
        at = chunk - self.segment.first
        size_bytes = self._size()
        if not self._walk(at, size_bytes):
            return None
        header = os.pread(self._fd, HEADER_BYTES, self._ends[at])
        if len(header) < HEADER_BYTES or self._ends[at] + HEADER_BYTES > size_bytes:
            self._check_end(chunk, size_bytes)
            return None
        return int.from_bytes(header[5:8], "little")

    def _walk(self, at: int, size_bytes: int) -> bool:
        """Look at headers until it is known where chunk number `at` begins."""
        while len(self._ends) <= at:
            start = self._ends[-1]
            header = memoryview(os.pread(self._fd, HEADER_BYTES, start))
            end = start + _chunk_end(header, 0)
            if len(header) < HEADER_BYTES or end > size_bytes:
                self._check_end(self.segment.first + len(self._ends) - 1, size_bytes)
                return False
            self._ends.append(end)
        return True

    def _size(self) -> int:
        return min(os.fstat(self._fd).st_size, self.segment.length)

    def _check_end(self, chunk: int, size_bytes: int) -> None:
        if size_bytes == self.segment.length:
            raise BadXorb(f"chunk {chunk} of a xorb is not where its segment tells")


def _chunk_end(data: memoryview, start: int) -> int:
    """Where a chunk that begins at `start` ends; beyond the data when its header is cut off."""
    if start + HEADER_BYTES > len(data):
        return len(data) + 1
    return start + HEADER_BYTES + int.from_bytes(data[start + 1 : start + 4], "little")
