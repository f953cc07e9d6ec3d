"""CRC-64/NVME: what a client says of a xorb's serialized bytes before it sends them.

Many equally long lanes of the data go side by side, eight bytes a step, and are joined in pairs: the
checksum of A and B together is that of A, moved on by the length of B, and that of B. All of it is linear,
so moving on is a table.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.uint64]

_POLYNOMIAL: Final = 0x9A6C9329AC4BC9B5
_ONES: Final = (1 << 64) - 1
_LANES: Final = 1024
_WORD_BYTES: Final = 8
_MOST_LANE_BYTES: Final = 4096
_WIDE: Final = 16
_NARROW: Final = 8


class Crc64:
    """A checksum that grows. Not for several threads at once."""

    def __init__(self) -> None:
        self._state = _ONES

    @property
    def value(self) -> int:
        """The checksum of all that was added."""
        return self._state ^ _ONES

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        view = memoryview(data).cast("B")
        while lane_bytes := min(_MOST_LANE_BYTES, len(view) // (_LANES * _WORD_BYTES) * _WORD_BYTES):
            block, view = view[: _LANES * lane_bytes], view[_LANES * lane_bytes :]
            self._state = _moved(self._state, len(block)) ^ _of_lanes(block, lane_bytes)
        table, state = _byte_table(), self._state
        for byte in view:
            state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
        self._state = state


def crc64_nvme(data: bytes | bytearray | memoryview) -> int:
    """The checksum of these bytes."""
    crc = Crc64()
    crc.update(data)
    return crc.value


def _of_lanes(block: memoryview, lane_bytes: int) -> int:
    """The checksum of a block from a state of zero."""
    words = np.frombuffer(block, dtype="<u8").reshape(_LANES, lane_bytes // _WORD_BYTES)
    states: _Words = np.zeros(_LANES, dtype=np.uint64)
    tables = _tables(_WORD_BYTES, _WIDE)
    for column in np.ascontiguousarray(words.T):
        states = _looked_up(tables, states ^ column)
    length = lane_bytes
    while len(states) > 1:
        states = _looked_up(_tables(length, _NARROW), states[0::2]) ^ states[1::2]
        length *= 2
    return int(states[0])


def _moved(state: int, length: int) -> int:
    """A state, moved on by so many bytes of zero."""
    return _applied(_images(length), state)


def _looked_up(tables: _Words, states: _Words) -> _Words:
    part = "<u2" if len(tables) == 64 // _WIDE else "u1"
    parts: npt.NDArray[Any] = np.ascontiguousarray(states).view(part).reshape(-1, len(tables))
    found: _Words = tables[0].take(parts[:, 0])
    for index in range(1, len(tables)):
        found ^= tables[index].take(parts[:, index])
    return found


@lru_cache(maxsize=64)
def _tables(length: int, bits: int) -> _Words:
    """For each part of a state, of so many bits, what each value of it becomes `length` zero bytes later."""
    count = 64 // bits
    images = np.array(_images(length), dtype=np.uint64).reshape(count, bits)
    tables: _Words = np.zeros((count, 1 << bits), dtype=np.uint64)
    for part in range(count):
        for bit in range(bits):
            half = 1 << bit
            tables[part, half : 2 * half] = tables[part, :half] ^ images[part, bit]
    return tables


@lru_cache(maxsize=256)
def _images(length: int) -> tuple[int, ...]:
    """What each single bit of a state becomes `length` zero bytes later."""
    if length == 1:
        table = _byte_table()
        return tuple(table[(1 << bit) & 0xFF] ^ ((1 << bit) >> 8) for bit in range(64))
    half = _images(length // 2)
    twice = tuple(_applied(half, image) for image in half)
    return tuple(_applied(_images(1), image) for image in twice) if length % 2 else twice


def _applied(images: tuple[int, ...], state: int) -> int:
    result = 0
    while state:
        lowest = state & -state
        result ^= images[lowest.bit_length() - 1]
        state ^= lowest
    return result


@lru_cache(maxsize=1)
def _byte_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        state = byte
        for _ in range(8):
            state = (state >> 1) ^ (_POLYNOMIAL if state & 1 else 0)
        table.append(state)
    return tuple(table)
