"""Inflates deflate64, which old programs write into zip and 7z: deflate with matches of up to 65,538 bytes
and a window of 64 KiB.

It is read in Python, symbol by symbol, so how many are read is bounded; what is longer is told as cut.
Source: RFC 1951; the APPNOTE of PKWARE for code 285 (16 more bits) and the distances 30 and 31.
"""

from __future__ import annotations

from typing import Final

MOST_STEPS: Final = 6_000_000
"""Symbols, some seconds of them; a block with tables of its own counts as a few thousand."""

_TABLE_STEPS = 4_000
_BASES = (3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163,
          195, 227, 3)  # fmt: skip
_EXTRA = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 16)
_FAR_EXTRA = (0, 0, *(place // 2 for place in range(30)))
_FAR = tuple(1 + sum(1 << bits for bits in _FAR_EXTRA[:place]) for place in range(32))
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_LONGEST_CODE = 15


class Broken(Exception):
    """No stream of deflate64, or one that ends early."""


class _Bits:
    """The input, lowest bit first. Behind its end come zeros, until somebody looks how far it went."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.hold = self.count = self.at = 0

    def fill(self) -> None:
        self.hold |= int.from_bytes(self.data[self.at : self.at + 8], "little") << self.count
        self.at += 8
        self.count += 64
        if self.at - self.count // 8 > len(self.data):
            raise Broken

    def take(self, bits: int) -> int:
        if self.count < bits:
            self.fill()
        value = self.hold & ((1 << bits) - 1)
        self.hold >>= bits
        self.count -= bits
        return value

    def symbol(self, table: list[int], bits: int) -> int:
        if self.count < bits:
            self.fill()
        told = table[self.hold & ((1 << bits) - 1)]
        if not told:
            raise Broken
        self.hold >>= told & 15
        self.count -= told & 15
        return told >> 4

    def used(self) -> int:
        return self.at - self.count // 8


def inflate64(data: bytes, max_bytes: int, most_steps: int = MOST_STEPS) -> tuple[bytes, bool, bool, int]:
    """What comes out, at most `max_bytes`; whether more would have come; whether it is broken; input used."""
    out, bits, steps = bytearray(), _Bits(data), most_steps
    try:
        final = False
        while not final and steps > 0 and len(out) <= max_bytes:
            final = bool(bits.take(1))
            kind = bits.take(2)
            if kind == 0:
                _stored(bits, out)
            elif kind == 3:
                raise Broken
            else:
                steps -= _TABLE_STEPS
                steps = _block(bits, out, _tables(bits) if kind == 2 else _FIXED, steps, max_bytes)
        is_whole = final and steps > 0 and len(out) <= max_bytes
        if bits.used() > len(data):
            raise Broken
    except (Broken, IndexError):
        return bytes(out[:max_bytes]), False, True, min(bits.used(), len(data))
    return bytes(out[:max_bytes]), not is_whole, False, bits.used()


def _stored(bits: _Bits, out: bytearray) -> None:
    bits.take(bits.count % 8)
    length, check = bits.take(16), bits.take(16)
    begins = bits.used()
    if length ^ check != 0xFFFF or begins + length > len(bits.data):
        raise Broken
    out += bits.data[begins : begins + length]
    bits.at, bits.hold, bits.count = begins + length, 0, 0


def _block(
    bits: _Bits, out: bytearray, tables: tuple[list[int], int, list[int], int], steps: int, max_bytes: int
) -> int:
    """One block, until it ends, or the bounds are reached; the steps that are left."""
    table, wide, far_table, far_wide = tables
    while steps > 0 and len(out) <= max_bytes:
        steps -= 1
        symbol = bits.symbol(table, wide)
        if symbol < 256:
            out.append(symbol)
        elif symbol == 256:
            return steps
        else:
            length = _BASES[symbol - 257] + bits.take(_EXTRA[symbol - 257])
            far = bits.symbol(far_table, far_wide)
            back = _FAR[far] + bits.take(_FAR_EXTRA[far])
            if back > len(out):
                raise Broken
            piece = out[len(out) - back : len(out) - back + length]
            out += piece if len(piece) == length else (piece * (length // back + 1))[:length]
    return steps


def _tables(bits: _Bits) -> tuple[list[int], int, list[int], int]:
    literals, fars, codes = bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4
    lengths = [0] * 19
    for place in _ORDER[:codes]:
        lengths[place] = bits.take(3)
    table, wide = _table(lengths)
    told: list[int] = []
    while len(told) < literals + fars:
        symbol = bits.symbol(table, wide)
        if symbol < 16:
            told.append(symbol)
        elif symbol == 16:
            told += [told[-1]] * (3 + bits.take(2))
        else:
            told += [0] * (3 + bits.take(3) if symbol == 17 else 11 + bits.take(7))
    if len(told) > literals + fars:
        raise Broken
    return *_table(told[:literals]), *_table(told[literals:])


def _table(lengths: list[int]) -> tuple[list[int], int]:
    """By the next bits: the symbol, and the length of its code in the lowest four; 0 where there is none."""
    wide = max(lengths, default=0) or 1
    table = [0] * (1 << wide)
    code = 0
    for length in range(1, min(wide, _LONGEST_CODE) + 1):
        for symbol, own in enumerate(lengths):
            if own == length:
                if code >> length:
                    raise Broken
                begins = int(format(code, f"0{length}b")[::-1], 2)
                table[begins :: 1 << length] = [symbol << 4 | length] * (1 << (wide - length))
                code += 1
        code <<= 1
    return table, wide


_FIXED: Final = (*_table([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8), *_table([5] * 32))
