"""`ChunkFlow`: the raw chunks of a file's terms, in order, from segments that may still be growing.

For a thread. Bounded memory: one read of a segment at a time, and where the chunks of open segments lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from moongate.store.segments import Segment, Segments
from moongate.xet.hashes import XetHash
from moongate.xet.xorb import HEADER_BYTES, BadXorb, decode_chunk, read_headers

_READ_BYTES = 1 << 20
_OPEN_SEGMENTS = 16

Patience = Callable[[XetHash, int], None]
"""Called when a chunk of a xorb is not here yet. Returns when to look again, or raises why it never comes."""


class ChunkFlow:
    """Reads raw chunks. Close it; one thread at a time. What it has open is not evicted."""

    def __init__(self, segments: Segments, patience: Patience) -> None:
        self._segments = segments
        self._patience = patience
        self._open: dict[str, _Open] = {}

    def close(self) -> None:
        """Let go of every segment. May be called twice."""
        while self._open:
            self._open.popitem()[1].close()

    def chunks(self, xorb: XetHash, first: int, end: int) -> Iterator[bytes | memoryview]:
        """The raw chunks `first` up to `end`, each as soon as it is here.

        Raises:
            BadXorb: the bytes are no chunks, or not as many as their segment tells.
            MoongateError: what the patience raises.
        """
        while first < end:
            found = self._at(xorb, first)
            until = first if found is None else min(end, found.segment.end)
            data, lengths = (memoryview(b""), []) if found is None else found.read(first, until)
            if found is None or not lengths:
                self._patience(xorb, first)
                continue
            chunks = read_headers(data[: lengths[-1]])
            if len(chunks) != len(lengths) - 1:
                raise BadXorb(f"chunk {first} of a xorb is none")
            for chunk in chunks:
                yield decode_chunk(data, chunk)
            first += len(chunks)

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

    def read(self, first: int, end: int) -> tuple[memoryview, list[int]]:
        """Whole chunks from `first` on, as many as are here and one read takes, and where they begin and end.

        Fewer than two such places: none is here.
        """
        at = first - self.segment.first
        size_bytes = self._size()
        if not self._walk(at, size_bytes):
            return memoryview(b""), []
        start = self._ends[at]
        data = memoryview(os.pread(self._fd, min(_READ_BYTES, size_bytes - start), start))
        places = [0]
        while first < end and (stop := _chunk_end(data, places[-1])) <= len(data):
            places.append(stop)
            first += 1
            at += 1
            if at == len(self._ends):
                self._ends.append(start + stop)
        if len(places) < 2:
            self._check_end(first, size_bytes)
            return data, []
        return data, places

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
