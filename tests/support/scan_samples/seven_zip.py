"""Writes small 7z archives with stored members."""

from __future__ import annotations

import struct
import zlib


def _number(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    return bytes((0x80 | value >> 8, value & 0xFF)) if value < 0x4000 else b"\xff" + struct.pack("<Q", value)


def seven_zipped(members: dict[str, bytes], coder: bytes = b"\x00") -> bytes:
    """One folder for each member. coder: what the header says they are packed with; the bytes stay as they are."""
    packed = b"".join(members.values())
    count = _number(len(members))
    sizes = b"".join(_number(len(data)) for data in members.values())
    folders = b"".join(b"\x01" + bytes((len(coder),)) + coder for _ in members)
    names = b"\x00" + b"".join(name.encode("utf-16-le") + b"\x00\x00" for name in members)
    header = b"\x01\x04"
    header += b"\x06" + _number(0) + count + b"\x09" + sizes + b"\x00"
    header += b"\x07\x0b" + count + b"\x00" + folders + b"\x0c" + sizes + b"\x00\x00"
    header += b"\x05" + count + b"\x11" + _number(len(names)) + names + b"\x00\x00"
    start = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + packed + header
