"""Where a file is cut into chunks: GearHash, from 8 KiB to 128 KiB, 64 KiB on average.

A cut follows the first byte at which a chunk is at least 8 KiB long and the rolling hash has its 16 high bits
zero, or the 128 KiB-th byte, or the last. The hash of a byte depends on the 64 bytes up to it and on
nothing else, and a chunk is hashed from 65 bytes before its least length on; so all places where a cut *may*
fall can be found for a whole buffer at once, and the chunks then follow from a walk over those few places.

The hash is the sum of T[byte] << age over the ages 0 to 63, and that sum can be made in any order. A sieve
takes the ages in steps of 16 first, exactly; after that only the 32 high bits matter, and what is lost below
them is less than one unit of the 16 bits that are looked at. It lets through one place in 32768 on random
bytes, and those are hashed exactly.

With the extra `fast`, a compiled loop takes the bytes one by one instead, which is several times as fast.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from moongate.xet.bounds import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES
from moongate.xet.compiled import FRESH, borrowed, fed_bytes
from moongate.xet.gear import GEAR

_WINDOW: Final = 64
_LEAD: Final = _WINDOW - 1
_STRIDE_BYTES: Final = 32 << 10  # the working set of a stride stays in a core's second-level cache
_MOST_SUSPECTS: Final = 256  # from here on it is cheaper to hash the whole stride exactly

_Bytes = npt.NDArray[np.uint8]
_Hashes = npt.NDArray[np.uint64]
_Places = npt.NDArray[np.intp]

_TABLE = np.array(GEAR, dtype=np.uint64)
_LIMIT = np.uint64(1 << 48)
_AGES = np.arange(_WINDOW, dtype=np.intp)
_AGE_SHIFTS = _AGES.astype(np.uint64)
_SHIFTS = [np.uint64(1 << power) for power in range(6)]

# One unit less in the 16 high bits of every value adds one to those of the hash, modulo 2**64. So what the
# sieve lost, less than a unit, cannot take a hash of zero below zero, and "zero or one" is the question.
_SIEVE_TABLE = _TABLE - _LIMIT
_SIEVE_LIMIT = np.uint32(1 << 17)
_SIXTEEN = np.uint64(16)
_SIEVE_SHIFTS = [np.uint32(1 << power) for power in range(4)]


class Chunker:
    """Cuts a stream. Feed it pieces of any length; it tells the lengths of chunks as they are sure."""

    def __init__(self) -> None:
        with borrowed() as loops:
            self._way: _Way = _Sieving() if loops is None else _Looping()

    def feed(self, data: bytes | memoryview) -> list[int]:
        """The lengths of the chunks that end in these bytes."""
        return self._way.feed(data)

    def finish(self) -> list[int]:
        """The length of the last chunk; nothing when the stream ended at a cut. The chunker is new again."""
        rest = self._way.finish()
        return [rest] if rest else []


class _Way(Protocol):
    def feed(self, data: bytes | memoryview) -> list[int]: ...

    def finish(self) -> int:
        """How many bytes are behind the last cut."""


class _Looping:
    def __init__(self) -> None:
        self._state = FRESH

    def feed(self, data: bytes | memoryview) -> list[int]:
        with borrowed() as loops:
            if loops is None:  # there were some when the stream began
                raise MemoryError("no memory for one more instance")
            lengths, self._state = loops.cut(data, self._state)
        return lengths

    def finish(self) -> int:
        rest, self._state = fed_bytes(self._state), FRESH
        return rest


class _Sieving:
    def __init__(self) -> None:
        self._sieve = _Sieve()
        self._reset()

    def _reset(self) -> None:
        self._tail = b""  # the last bytes before the ones that come: the window of the next hash
        self._fed = 0
        self._start = 0

    def feed(self, data: bytes | memoryview) -> list[int]:
        lengths: list[int] = []
        seam = self._tail + bytes(data[:_LEAD])
        self._walk(np.frombuffer(seam, dtype=np.uint8), self._fed - len(self._tail), lengths)
        if len(data) > _LEAD:
            self._walk(np.frombuffer(data, dtype=np.uint8), self._fed, lengths)
            seam = bytes(data[-_LEAD:])
        self._tail = seam[-_LEAD:]
        self._fed += len(data)
        while self._fed - self._start >= MAX_CHUNK_BYTES:
            self._end_at(self._start + MAX_CHUNK_BYTES, lengths)
        return lengths

    def finish(self) -> int:
        rest = self._fed - self._start
        self._reset()
        return rest

    def _walk(self, data: _Bytes, offset: int, lengths: list[int]) -> None:
        """Cut at the places in `data`, whose first byte is the stream's byte `offset`."""
        for start in range(0, len(data) - _LEAD, _STRIDE_BYTES):
            for place in self._sieve.places(data[start : start + _STRIDE_BYTES + _LEAD]):
                self._cut(offset + start + place + 1, lengths)

    def _cut(self, end: int, lengths: list[int]) -> None:
        while end - self._start > MAX_CHUNK_BYTES:
            self._end_at(self._start + MAX_CHUNK_BYTES, lengths)
        if end - self._start >= MIN_CHUNK_BYTES:
            self._end_at(end, lengths)

    def _end_at(self, end: int, lengths: list[int]) -> None:
        lengths.append(end - self._start)
        self._start = end


class _Views:
    """The parts of a sieve's buffers that a stride of `count` bytes uses; made once for the usual stride."""

    def __init__(self, hashes: _Hashes, shifted: _Hashes, count: int) -> None:
        self.hashes = hashes[:count]
        self.older, self.newer, self.shifted = hashes[: count - 16], hashes[16:count], shifted[: count - 16]
        halves = self.newer.view("<u4")
        self.upper, self.lower = halves[65::2], halves[:-64:2]
        both = shifted.view("<u4")
        self.high, spare = both[: count - 48], both[len(shifted) :]
        self.steps, self.last = [], self.high
        for shift in _SIEVE_SHIFTS:
            n, high = int(shift), self.last
            self.steps.append((high[:-n], shift, spare[: len(high) - n], high[n:]))
            self.last = high[n:]


class _Sieve:
    """Finds the places of a stride; holds the buffers for it, so that none is made twice."""

    def __init__(self) -> None:
        self._hashes = np.empty(_STRIDE_BYTES + _LEAD, dtype=np.uint64)
        self._shifted = np.empty_like(self._hashes)
        self._usual = _Views(self._hashes, self._shifted, len(self._hashes))

    def places(self, stride: _Bytes) -> list[int]:
        """Indices of bytes where the hash of the 64 bytes up to there has its high bits zero, ascending."""
        suspects = self._suspects(stride)
        if not len(suspects):
            return []
        if len(suspects) > _MOST_SUSPECTS:
            return self._exact(stride)
        windows = stride[suspects[:, np.newaxis] - _AGES]
        hashes = np.left_shift(_TABLE[windows], _AGE_SHIFTS).sum(axis=1, dtype=np.uint64)
        return list(map(int, suspects[hashes < _LIMIT]))

    def _suspects(self, stride: _Bytes) -> _Places:
        usual = len(stride) == len(self._hashes)
        views = self._usual if usual else _Views(self._hashes, self._shifted, len(stride))
        np.take(_SIEVE_TABLE, stride, out=views.hashes, mode="clip")
        np.left_shift(views.older, _SIXTEEN, out=views.shifted)
        np.add(views.newer, views.shifted, out=views.newer)  # ages 0 and 16
        np.add(views.upper, views.lower, out=views.high)  # the high half, of ages 0, 16, 32 and 48
        for older, shift, shifted, newer in views.steps:
            np.left_shift(older, shift, out=shifted)
            np.add(newer, shifted, out=newer)
        return np.flatnonzero(views.last < _SIEVE_LIMIT) + _LEAD

    def _exact(self, stride: _Bytes) -> list[int]:
        """The same for all bytes of a stride, by doubling: H2n[i] = Hn[i] + (Hn[i-n] << n)."""
        h, t = self._hashes[: len(stride)], self._shifted
        np.take(_TABLE, stride, out=h, mode="clip")
        for shift in _SHIFTS:
            n = int(shift)
            np.left_shift(h[:-n], shift, out=t[: len(h) - n])
            np.add(h[n:], t[: len(h) - n], out=h[n:])
        return list(map(int, np.flatnonzero(h[_LEAD:] < _LIMIT) + _LEAD))


def chunk_lengths(data: bytes | memoryview) -> list[int]:
    """The chunk lengths of a whole file in memory."""
    chunker = Chunker()
    return chunker.feed(data) + chunker.finish()
