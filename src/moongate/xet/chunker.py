"""Where a file is cut into chunks: GearHash, from 8 KiB to 128 KiB, 64 KiB on average.

A cut follows the first byte at which a chunk is at least 8 KiB long and the rolling hash has its 16 high bits
zero, or the 128 KiB-th byte, or the last. The hash of a byte depends on the 64 bytes up to it and on
nothing else, and a chunk is hashed from 65 bytes before its least length on; so all places where a cut *may*
fall can be found for a whole buffer at once, and the chunks then follow from a walk over those few places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from moongate.xet.gear import GEAR

MIN_CHUNK_BYTES: Final = 8 << 10
MAX_CHUNK_BYTES: Final = 128 << 10

_WINDOW: Final = 64
_STRIDE_BYTES: Final = 32 << 10  # the working set of a stride stays in a core's cache
_FEED_BYTES: Final = 8 << 20
_LIMIT = np.uint64(1 << 48)
_TABLE = np.array(GEAR, dtype=np.uint64)
_SHIFTS = [np.uint64(1 << power) for power in range(6)]


class Chunker:
    """Cuts a stream. Feed it pieces of any length; it tells the lengths of chunks as they are sure."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._tail = b""  # the last bytes before the ones that come: the window of the next hash
        self._fed = 0
        self._start = 0

    def feed(self, data: bytes | memoryview) -> list[int]:
        """The lengths of the chunks that end in these bytes."""
        lengths: list[int] = []
        view = memoryview(data)
        for begin in range(0, len(view), _FEED_BYTES):
            self._feed(view[begin : begin + _FEED_BYTES], lengths)
        return lengths

    def finish(self) -> list[int]:
        """The length of the last chunk; nothing when the stream ended at a cut. The chunker is new again."""
        rest = self._fed - self._start
        self._reset()
        return [rest] if rest else []

    def _feed(self, piece: memoryview, lengths: list[int]) -> None:
        joined = np.frombuffer(self._tail + piece, dtype=np.uint8)
        offset = self._fed - len(self._tail)
        end = self._fed + len(piece)
        for place in _places(joined):
            self._cut(offset + place + 1, lengths)
        while end - self._start >= MAX_CHUNK_BYTES:
            self._end_at(self._start + MAX_CHUNK_BYTES, lengths)
        self._fed = end
        self._tail = bytes(joined[-(_WINDOW - 1) :])

    def _cut(self, end: int, lengths: list[int]) -> None:
        while end - self._start > MAX_CHUNK_BYTES:
            self._end_at(self._start + MAX_CHUNK_BYTES, lengths)
        if end - self._start >= MIN_CHUNK_BYTES:
            self._end_at(end, lengths)

    def _end_at(self, end: int, lengths: list[int]) -> None:
        lengths.append(end - self._start)
        self._start = end


def chunk_lengths(data: bytes | memoryview) -> list[int]:
    """The chunk lengths of a whole file in memory."""
    chunker = Chunker()
    return chunker.feed(data) + chunker.finish()


def _places(data: npt.NDArray[np.uint8]) -> Iterator[int]:
    """Indices of bytes at which the hash of the 64 bytes up to there has its high bits zero, ascending.

    Doubling: with H1 the table's value of each byte, H2n[i] = Hn[i] + (Hn[i-n] << n) is the hash of the last
    2n bytes; six steps over an array give the hash of 64 for every byte of it.
    """
    lead = _WINDOW - 1
    hashes = np.empty(_STRIDE_BYTES + lead, dtype=np.uint64)
    shifted = np.empty_like(hashes)
    for start in range(0, len(data) - lead, _STRIDE_BYTES):
        stride = data[start : start + _STRIDE_BYTES + lead]
        count = len(stride)
        h, t = hashes[:count], shifted[:count]
        np.take(_TABLE, stride, out=h, mode="clip")
        for shift in _SHIFTS:
            n = int(shift)
            np.left_shift(h[:-n], shift, out=t[:-n])
            np.add(h[n:], t[:-n], out=h[n:])
        yield from (np.flatnonzero(h[lead:] < _LIMIT) + (start + lead)).tolist()
