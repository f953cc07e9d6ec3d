"""Undoes what archivers do to programs before they compress them: calls with absolute addresses (BCJ, BCJ2).

The filters with one stream are liblzma's own; they are given data as an xz stream that stores it, for that is
the only way to name the newer ones. BCJ2 has four streams and is read here.
Sources: the .xz file format; Bcj2.txt of the LZMA SDK.
"""

from __future__ import annotations

import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

_STORED_BYTES = 64 << 10
_CALL = re.compile(rb"[\xe8\xe9]|(?<=\x0f)[\x80-\x8f]")
_START_RANGE, _TOP, _MODEL_BITS, _MOVE_BITS = 0xFFFFFFFF, 1 << 24, 11, 5

FILTERS: Final = {
    b"\x03": 3, b"\x03\x03\x01\x03": 4, b"\x03\x03\x02\x05": 5, b"\x03\x03\x04\x01": 6,
    b"\x03\x03\x05\x01": 7, b"\x03\x03\x07\x01": 8, b"\x03\x03\x08\x05": 9,
    b"\x04": 4, b"\x05": 5, b"\x06": 6, b"\x07": 7, b"\x08": 8, b"\x09": 9, b"\x0a": 10, b"\x0b": 11,
}  # fmt: skip
"""By their names in 7z, old and new: delta, x86, PowerPC, IA64, ARM, Thumb, SPARC, ARM64, RISC-V."""


def unfiltered(identity: bytes, properties: bytes, data: bytes) -> bytes:
    """Data as it was before the filter.

    Raises:
        lzma.LZMAError: the liblzma that is here does not know the filter, or not these properties.
    """
    own = bytes((FILTERS[identity], len(properties))) + properties
    header = bytes((0, 1)) + own + b"\x21\x01\x16"
    header += bytes(-(len(header)) % 4)
    header = bytes((len(header) // 4,)) + header[1:]
    flags = b"\x00\x00"
    pieces = [b"\xfd7zXZ\x00", flags, struct.pack("<I", zlib.crc32(flags))]
    pieces += [header, struct.pack("<I", zlib.crc32(header))]
    for at in range(0, len(data), _STORED_BYTES):
        piece = data[at : at + _STORED_BYTES]
        pieces += [b"\x01" if not at else b"\x02", struct.pack(">H", len(piece) - 1), piece]
    pieces.append(b"\x00")
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(b"".join(pieces))


def joined_calls(main: bytes, calls: bytes, jumps: bytes, choices: bytes, size_bytes: int) -> bytes:
    """What BCJ2 had taken apart: `main` with the targets of calls and jumps put back where `choices` say.

    Raises:
        ValueError: the streams do not fit one another.
    """
    out = bytearray()
    chosen = _Choices(choices)
    targets = {True: _targets(calls), False: _targets(jumps)}
    at, last = 0, 0
    while at < len(main) and len(out) < size_bytes:
        if last == 0x0F and main[at] & 0xF0 == 0x80:
            found = at
        else:
            match = _CALL.search(main, at)
            found = match.start() if match else -1
        if found < 0:
            out += main[at:]
            break
        out += main[at : found + 1]
        before = main[found - 1] if found > at else last
        at, last = found + 1, main[found]
        if len(out) >= size_bytes:
            break
        place = before if last == 0xE8 else 256 if last == 0xE9 else 257
        if chosen.bit(place):
            absolute = next(targets[last == 0xE8], None)
            if absolute is None:
                raise ValueError("a target is missing")
            target = (absolute - (len(out) + 4)) & 0xFFFFFFFF
            out += target.to_bytes(4, "little")
            last = target >> 24
    return bytes(out[:size_bytes])


def _targets(data: bytes) -> Iterator[int]:
    return (target for (target,) in struct.iter_unpack(">I", data[: len(data) // 4 * 4]))


class _Choices:
    """The bits of a range coder, each with the probability of its place."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 5 or data[0]:
            raise ValueError("no range coder")
        self._data, self._at = data, 5
        self._code, self._range = int.from_bytes(data[1:5], "big"), _START_RANGE
        self._chances = [1 << (_MODEL_BITS - 1)] * 258

    def bit(self, place: int) -> bool:
        if self._range < _TOP:
            if self._at >= len(self._data):
                raise ValueError("the range coder ends early")
            self._range = self._range << 8 & 0xFFFFFFFF
            self._code = (self._code << 8 | self._data[self._at]) & 0xFFFFFFFF
            self._at += 1
        chance = self._chances[place]
        bound = (self._range >> _MODEL_BITS) * chance
        if self._code < bound:
            self._range = bound
            self._chances[place] = chance + (((1 << _MODEL_BITS) - chance) >> _MOVE_BITS)
            return False
        self._range -= bound
        self._code -= bound
        self._chances[place] = chance - (chance >> _MOVE_BITS)
        return True
