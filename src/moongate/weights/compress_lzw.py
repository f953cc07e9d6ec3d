"""Unpacks what `compress` of Unix wrote (`.Z`): LZW with codes of 9 to 16 bits.

It is read in Python, code by code, so how many are read is bounded; what is longer is told as cut.
Source: compress(1) of POSIX; codes come in groups of eight of one width, and a group is filled up when the
width changes.
"""

from __future__ import annotations

from typing import Final

MOST_CODES: Final = 8_000_000
_CLEAR = 256
_BLOCKS = 0x80


def unpacked_lzw(data: bytes, max_bytes: int) -> tuple[bytes, bool, bool]:
    """What comes out, at most `max_bytes`; whether more would have come; whether it is broken."""
    flags = data[2] if len(data) > 2 else 0
    widest, blocks = flags & 31, bool(flags & _BLOCKS)
    if not 9 <= widest <= 16:
        return b"", False, True
    words = [bytes((letter,)) for letter in range(256)]
    table = words + ([b""] if blocks else [])
    out, length, last, at, left = list[bytes](), 0, b"", 3, MOST_CODES
    while at < len(data):
        width = _width(len(table) + bool(last), widest)
        if length > max_bytes or left <= 0:
            return b"".join(out)[:max_bytes], True, False
        group = int.from_bytes(data[at : at + width], "little")
        there = len(data[at : at + width]) * 8 // width
        at += width
        for place in range(there):
            code = group >> place * width & (1 << width) - 1
            left -= 1
            if blocks and code == _CLEAR:
                table, last = [*words, b""], b""
                break
            if code > len(table) or (code == len(table) and not last):
                return b"".join(out)[:max_bytes], False, True
            word = table[code] if code < len(table) else last + last[:1]
            if last and len(table) < 1 << widest:
                table.append(last + word[:1])
            out.append(word)
            length += len(word)
            last = word
            if _width(len(table) + 1, widest) != width or length > max_bytes:
                break
    return b"".join(out)[:max_bytes], length > max_bytes, False


def _width(entries: int, widest: int) -> int:
    return min(max(9, (entries - 1).bit_length()), widest)
