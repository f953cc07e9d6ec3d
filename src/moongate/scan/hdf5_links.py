"""Finds what leads out of an HDF5 file: external links, and data that lies in other files.

Both are messages with a strict shape, so they are found by it wherever they lie, in objects that no walk from
the root would reach, in what was deleted, and in files that readers take and a strict walk would not. A walk
sees less than that. What a shape cannot show is a message that lies compressed; only the names of a group's
members can be, and a group with such names is told.

Source: HDF5 File Format Specification 3.0: III.E and III.G (heaps), IV.A.2.g (links), IV.A.2.h (external
data), IV.A.2.i (layout, virtual).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

_STEP_BYTES = 8 << 20
_LONGEST = 1 << 10
_LONGEST_LIST = 1 << 20
_FURTHEST_BLOCK = 64 << 20
_EXTERNAL_LINK = re.compile(rb"\x01[\x08-\x1f]\x40")
# The header of a message before it: of eight bytes in old files, of four or six in new ones.
_HEADER = rb"(?:\x00[\s\S]{2}[\x00-\x07]\x00\x00\x00|[\s\S]{2}[\x00-\x07](?:[\s\S]{2})?)"
_EXTERNAL_DATA = re.compile(rb"\x07" + _HEADER + rb"\x01\x00\x00\x00")
_VIRTUAL = re.compile(rb"\x08" + _HEADER + rb"[\x04\x05]\x03")
# The header of a heap whose objects go through filters: its version, how long a name for an object is, and
# how long the description of the filters is, which is none as a rule.
_FILTERED_HEAP = re.compile(rb"FRHP\x00[\x01-\x40]\x00(?!\x00\x00)[\x00-\xff]{2}")
_TEXT = re.compile(rb"[\x20-\x7e]+\Z")


def hdf5_begins(content: Ranged) -> int | None:
    """Where a file begins that has a block of its user's before it; None where there is none.

    Readers look at 512, 1024, 2048 and so on.
    """
    at = 512
    while at + len(SIGNATURE) <= content.size_bytes and at <= _FURTHEST_BLOCK:
        if content.read(ByteSpan(at, at + len(SIGNATURE))) == SIGNATURE:
            return at
        at *= 2
    return None


def outside_files(content: Ranged) -> Iterator[tuple[str, int]]:
    """The names of files that a file leads to, and where it says so."""
    width = _width(content)
    at = 0
    while at < content.size_bytes:
        data = content.read(ByteSpan(at, at + _STEP_BYTES + _LONGEST))
        for found in _EXTERNAL_LINK.finditer(data, 0, min(len(data), _STEP_BYTES)):
            name = _linked(data, found.start())
            if name:
                yield name, at + found.start()
        for found in _EXTERNAL_DATA.finditer(data, 0, min(len(data), _STEP_BYTES)):
            name = _heaped(content, data, found.end(), width)
            if name:
                yield name, at + found.start()
        for found in _VIRTUAL.finditer(data, 0, min(len(data), _STEP_BYTES)):
            for name in _mapped(content, data, found.end(), width):
                yield name, at + found.start()
        at += _STEP_BYTES


def compressed_links(content: Ranged) -> int | None:
    """Where a heap says that what it holds is compressed; None where none does."""
    at = 0
    while at < content.size_bytes:
        data = content.read(ByteSpan(at, at + _STEP_BYTES + 16))
        if found := _FILTERED_HEAP.search(data):
            return at + found.start()
        at += _STEP_BYTES
    return None


def _width(content: Ranged) -> int:
    """How many bytes an address takes, by the superblock."""
    head = content.read(ByteSpan(0, 16))
    if not head.startswith(SIGNATURE) or len(head) < 16:
        return 8
    width = head[13] if head[8] < 2 else head[9]
    return width if width in {2, 4, 8} else 8


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


def _heaped(content: Ranged, data: bytes, at: int, width: int) -> str | None:
    """The first file of a list of external data, whose names lie in a local heap."""
    if at + 4 + 4 * width > len(data):
        return None
    slots, used = struct.unpack_from("<HH", data, at)
    heap_at = int.from_bytes(data[at + 4 : at + 4 + width], "little")
    if not 0 < used <= slots <= 1024 or heap_at >= content.size_bytes:
        return None
    heap = content.read(ByteSpan(heap_at, heap_at + 32))
    if len(heap) < 32 or heap[:4] != b"HEAP":
        return None
    data_at = int.from_bytes(heap[8 + 2 * width : 8 + 3 * width], "little")
    name_at = data_at + int.from_bytes(data[at + 4 + width : at + 4 + 2 * width], "little")
    if name_at >= content.size_bytes:
        return None
    name = content.read(ByteSpan(name_at, name_at + _LONGEST)).split(b"\x00", 1)[0]
    return name.decode("ascii") if _TEXT.match(name) else None


def _mapped(content: Ranged, data: bytes, at: int, width: int) -> Iterator[str]:
    """The files that a virtual dataset takes its values from; `.` is the file itself."""
    heap_at = int.from_bytes(data[at : at + width], "little")
    wanted = int.from_bytes(data[at + width : at + width + 4], "little")
    if at + width + 4 > len(data) or heap_at >= content.size_bytes:
        return
    heap = content.read(ByteSpan(heap_at, heap_at + _LONGEST_LIST))
    if heap[:4] != b"GCOL":
        return
    place = 8 + width
    while place + 8 + width <= len(heap):
        index = int.from_bytes(heap[place : place + 2], "little")
        size = int.from_bytes(heap[place + 8 : place + 8 + width], "little")
        place += 8 + width
        if index == wanted:
            yield from _sources(heap[place : place + size], width)
            return
        if not index:
            return
        place += -(-size // 8) * 8


def _sources(block: bytes, width: int) -> Iterator[str]:
    """The files of a list: each name is followed at once by the path of a dataset in it."""
    seen: set[bytes] = set()
    for found in re.finditer(rb"([\x20-\x7e]{1,1024})\x00[\x20-\x7e]{1,1024}\x00", block[1 + width :]):
        name = found.group(1)
        if name not in seen and _is_file(name):
            seen.add(name)
            yield name.decode("ascii")


def _is_file(name: bytes) -> bool:
    return name != b"." and (b"." in name or b"%b" in name or name.startswith((b"/", b"\\")) or b":" in name)
