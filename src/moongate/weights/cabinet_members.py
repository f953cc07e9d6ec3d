"""The members of a cabinet of Windows: stored, or compressed by MSZIP. LZX and Quantum are not read here.

Source: [MS-CAB].
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moongate.weights.ranged import Cursor, Ended, Ranged

MAX_MEMBERS: Final = 60_000
_HISTORY_BYTES = 32 << 10
_STORED, _MSZIP = 0, 1
_MAX_NAME_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _Folder:
    begins: int
    blocks: int
    method: int


class BadCabinet(Exception):
    """A header that cannot be, or a compression that is not known here."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def members(content: Ranged, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents, at most `max_bytes` of them in all.

    Raises:
        BadCabinet: it cannot be read, or not further.
    """
    try:
        yield from _members(content, max_bytes)
    except (Ended, struct.error, zlib.error, ValueError):
        raise BadCabinet("its header or data is broken") from None


def _members(content: Ranged, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    c = Cursor(content)
    files_at, folder_count, file_count, flags = struct.unpack("<16xI6xHHH4x", c.take(36))
    of_folder = of_block = 0
    if flags & 4:
        of_header, of_folder, of_block = struct.unpack("<HBB", c.take(4))
        c.step(of_header)
    for _ in range(2 * (flags & 1) + (flags & 2)):
        _name(c)
    folders = []
    for _ in range(folder_count):
        folders.append(_Folder(*struct.unpack("<IHH", c.take(8))))
        c.step(of_folder)
    c.go(files_at)
    files = []
    for _ in range(file_count):
        size, begins, number = struct.unpack("<IIH6x", c.take(16))
        files.append((_name(c), number, begins, size))
    yield from _given(content, folders, files, of_block, max_bytes)


def _given(
    content: Ranged, folders: list[_Folder], files: list[tuple[str, int, int, int]], of_block: int, left: int
) -> Iterator[tuple[str, bytes]]:
    for number, folder in enumerate(folders):
        own = [one for one in files if one[1] == number]
        if not own:
            continue
        data = _unpacked(content, folder, of_block, left)
        left -= len(data)
        for name, _, begins, size in own:
            if begins + size > len(data):
                raise BadCabinet("a member is longer than what is there")
            yield name, data[begins : begins + size]
    for name, number, _, _ in files:
        if number >= len(folders):
            raise BadCabinet(f"{name[:80]} lies in another cabinet, or in none")


def _name(c: Cursor) -> str:
    raw = c.peek(_MAX_NAME_BYTES)
    end = raw.find(b"\x00")
    if end < 0:
        raise BadCabinet("a name has no end")
    c.step(end + 1)
    return raw[:end].decode("utf-8", "replace")


def _unpacked(content: Ranged, folder: _Folder, of_block: int, max_bytes: int) -> bytes:
    method = folder.method & 15
    if method not in {_STORED, _MSZIP}:
        raise BadCabinet("it is packed in a way that is not read here")
    c, out = Cursor(content, folder.begins), bytearray()
    for _ in range(folder.blocks):
        packed, size = struct.unpack("<4xHH", c.take(8))
        c.step(of_block)
        data = c.take(packed)
        if method == _MSZIP:
            if not data.startswith(b"CK"):
                raise BadCabinet("a block has no mark")
            history = bytes(out[-_HISTORY_BYTES:])
            decoder = zlib.decompressobj(-15, zdict=history) if history else zlib.decompressobj(-15)
            data = decoder.decompress(data[2:], _HISTORY_BYTES)
        if len(data) != size:
            raise BadCabinet("a block has another length than it says")
        out += data
        if len(out) > max_bytes:
            raise BadCabinet("it unpacks to more than we look at")
    return bytes(out)
