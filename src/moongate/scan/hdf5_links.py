"""Finds what leads out of an HDF5 file: external links, and data that lies in other files.

Both are messages with a strict shape, so they are found by it, without walking the file's tree; what only
looks like one does not fit. Source: HDF5 File Format Specification 3.0, IV.A.2.g and IV.A.2.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged

_STEP_BYTES = 8 << 20
_LONGEST = 1 << 10
_EXTERNAL_LINK = re.compile(rb"\x01[\x08-\x1f]\x40")
# The header of a message before it: of eight bytes in old files, of four or six in new ones.
_EXTERNAL_DATA = re.compile(
    rb"\x07(?:\x00[\s\S]{2}[\x00-\x07]\x00\x00\x00|[\s\S]{2}[\x00-\x07](?:[\s\S]{2})?)\x01\x00\x00\x00"
)
_TEXT = re.compile(rb"[\x20-\x7e]+\Z")


def outside_files(content: Ranged) -> Iterator[tuple[str, int]]:
    """The names of files that a file leads to, and where it says so."""
    at = 0
    while at < content.size_bytes:
        data = content.read(ByteSpan(at, at + _STEP_BYTES + _LONGEST))
        for found in _EXTERNAL_LINK.finditer(data, 0, min(len(data), _STEP_BYTES)):
            name = _linked(data, found.start())
            if name:
                yield name, at + found.start()
        for found in _EXTERNAL_DATA.finditer(data, 0, min(len(data), _STEP_BYTES)):
            name = _heaped(content, data, found.end())
            if name:
                yield name, at + found.start()
        at += _STEP_BYTES


def _linked(data: bytes, at: int) -> str | None:
    flags = data[at + 1]
    place = at + 3 + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(data[place : place + width], "little")
    place += width
    if not 0 < length <= _LONGEST // 2 or place + length + 2 > len(data):
        return None
    name, info = data[place : place + length], place + length
    size = struct.unpack_from("<H", data, info)[0]
    told = data[info + 2 : info + 2 + size]
    parts = told[1:].split(b"\x00")
    if told[:1] != b"\x00" or len(parts) != 3 or parts[2] or not _TEXT.match(name):
        return None
    return parts[0].decode("ascii") if _TEXT.match(parts[0]) and _TEXT.match(parts[1]) else None


def _heaped(content: Ranged, data: bytes, at: int) -> str | None:
    """The first file of a list of external data, whose names lie in a local heap."""
    if at + 12 + 24 > len(data):
        return None
    slots, used, heap_at = struct.unpack_from("<HHQ", data, at)
    if not 0 < used <= slots <= 1024 or heap_at >= content.size_bytes:
        return None
    heap = content.read(ByteSpan(heap_at, heap_at + 32))
    if len(heap) < 32 or heap[:4] != b"HEAP":
        return None
    name_at = struct.unpack_from("<Q", heap, 24)[0] + struct.unpack_from("<Q", data, at + 12)[0]
    if name_at >= content.size_bytes:
        return None
    name = content.read(ByteSpan(name_at, name_at + _LONGEST)).split(b"\x00", 1)[0]
    return name.decode("ascii") if _TEXT.match(name) else None
