"""The directory of a zip archive and the header before each member, as they stand, lies included.

Readers of zip disagree: some go by the directory at the end, some by the header before the data, some by
neither. This one reads both and says where they differ, so that whoever judges can refuse the difference.
Nothing is decompressed here. Source: APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged

MAX_MEMBERS: Final = 100_000
MAX_DIRECTORY_BYTES: Final = 32 << 20
STORED, DEFLATED, DEFLATE64, BZIP2, LZMA, ZSTD, XZ = 0, 8, 9, 12, 14, 93, 95

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_TAIL_BYTES = 1 << 10
_COMMENT_BYTES = 65_535
_ENCRYPTED = 1
_UNICODE_PATH = 0x7075


class BadZip(Exception):
    """No directory that could be read."""


@dataclass(frozen=True, slots=True)
class Member:
    """One line of the directory. Offsets count from the start of the content.

    other_name: what it is called by the readers that take a name in Unicode from its extra fields.
    """

    name: str
    method: int
    flags: int
    crc: int
    packed_bytes: int
    size_bytes: int
    header_at: int
    is_link: bool
    other_name: str = ""

    @property
    def is_encrypted(self) -> bool:
        return bool(self.flags & _ENCRYPTED)

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/") and self.size_bytes == 0


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before a member's data, and where that begins."""

    name: str
    method: int
    flags: int
    packed_bytes: int
    data_at: int
    beginning: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """All members, and where the archive lies in the content.

    starts_at: bytes before the archive. ends_at: where the end record ends; more may follow.
    """

    members: tuple[Member, ...]
    starts_at: int
    ends_at: int
    directory_at: int
    oddities: tuple[str, ...]


def read_directory(content: Ranged) -> Directory:
    """The directory that the last end record leads to.

    Raises:
        BadZip: there is none, or it cannot be one.
    """
    at, end = _find_end(content)
    _, _, _, _, count, length, offset, comment = end
    ends_at = at + _END.size + comment
    oddities: list[str] = []
    directory_end, count, length, offset = _end64(content, at, count, length, offset)
    if length > MAX_DIRECTORY_BYTES or count > MAX_MEMBERS or length > directory_end:
        raise BadZip("the directory is longer than we follow")
    directory_at = directory_end - length
    starts_at = directory_at - offset
    data = content.read(ByteSpan(directory_at, directory_end))
    if length and (starts_at < 0 or not data.startswith(b"PK\x01\x02")):
        data, starts_at, directory_at = content.read(ByteSpan(offset, offset + length)), 0, offset
        oddities.append("the directory is not where the end record says")
    members = tuple(_entries(data, starts_at))
    if len(members) != count:
        oddities.append(f"the end record counts {count} members, the directory holds {len(members)}")
    return Directory(members, starts_at, ends_at, directory_at, tuple(oddities))


def _find_end(content: Ranged) -> tuple[int, tuple[int, ...]]:
    size = content.size_bytes
    for reach in (_TAIL_BYTES, _COMMENT_BYTES + _END.size):
        start = max(0, size - reach)
        tail = content.read(ByteSpan(start, size))
        found = tail.rfind(b"PK\x05\x06")
        while found >= 0:
            if found + _END.size <= len(tail):
                record = _END.unpack_from(tail, found)
                return start + found, (0, *record[1:])
            found = tail.rfind(b"PK\x05\x06", 0, found)
        if start == 0:
            break
    raise BadZip("there is no end record")


def _end64(content: Ranged, at: int, count: int, length: int, offset: int) -> tuple[int, int, int, int]:
    """Where the directory ends, and the values of the end record, by the 64-bit records if there are any."""
    locator = content.read(ByteSpan(max(0, at - 20), at))
    if len(locator) != 20 or not locator.startswith(b"PK\x06\x07"):
        return at, count, length, offset
    place = struct.unpack_from("<Q", locator, 8)[0]
    for start in (place, at - 20 - _END64.size):
        if 0 <= start <= content.size_bytes:
            data = content.read(ByteSpan(start, start + _END64.size))
            if len(data) == _END64.size and data.startswith(b"PK\x06\x06"):
                return start, *_wider(_END64.unpack(data), count, length, offset)
    raise BadZip("the 64-bit end record is not where it should be")


def _wider(record: tuple[int, ...], count: int, length: int, offset: int) -> tuple[int, int, int]:
    """The 32-bit values where they are enough, as most readers take them."""
    return (
        record[7] if count == 0xFFFF else count,
        record[8] if length == 0xFFFFFFFF else length,
        record[9] if offset == 0xFFFFFFFF else offset,
    )


def _entries(data: bytes, starts_at: int) -> Iterator[Member]:
    at = 0
    while at + _ENTRY.size <= len(data) and data[at : at + 4] == b"PK\x01\x02":
        record = _ENTRY.unpack_from(data, at)
        flags, method, crc, packed, size = record[3], record[4], record[7], record[8], record[9]
        name_bytes, extra_bytes, comment_bytes = record[10], record[11], record[12]
        made_by, attributes, header_at = record[1] >> 8, record[15], record[16]
        name_at = at + _ENTRY.size
        extra = data[name_at + name_bytes : name_at + name_bytes + extra_bytes]
        size, packed, header_at = _wide(extra, size, packed, header_at)
        is_link = made_by == 3 and (attributes >> 16) & 0xF000 == 0xA000
        name = _name(data[name_at : name_at + name_bytes], flags)
        other = _other_name(extra)
        yield Member(name, method, flags, crc, packed, size, starts_at + header_at, is_link, other)
        at = name_at + name_bytes + extra_bytes + comment_bytes


def _wide(extra: bytes, size: int, packed: int, header_at: int) -> tuple[int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        if tag == 1:
            values = list(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            if size == 0xFFFFFFFF and values:
                size = values.pop(0)
            if packed == 0xFFFFFFFF and values:
                packed = values.pop(0)
            if header_at == 0xFFFFFFFF and values:
                header_at = values.pop(0)
        at += 4 + length
    return size, packed, header_at


def _other_name(extra: bytes) -> str:
    """The name in a field of Info-ZIP's, whether or not its checksum is that of the usual name."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        if tag == _UNICODE_PATH:
            return extra[at + 9 : at + 4 + length].decode("utf-8", "replace")
        at += 4 + length
    return ""


def read_header(content: Ranged, member: Member, beginning_bytes: int = 0) -> Header | None:
    """What stands before a member's data, with the first bytes of it; None if no header is there."""
    reach = _LOCAL.size + len(member.name.encode("utf-8", "surrogateescape")) + 64 + beginning_bytes
    if member.header_at < 0:
        return None
    data = content.read(ByteSpan(member.header_at, member.header_at + reach))
    if len(data) < _LOCAL.size or data[:4] != b"PK\x03\x04":
        return None
    record = _LOCAL.unpack_from(data)
    flags, method, packed, size, name_bytes, extra_bytes = (record[i] for i in (2, 3, 7, 8, 9, 10))
    begins = _LOCAL.size + name_bytes + extra_bytes
    if begins + beginning_bytes > len(data):
        start = member.header_at
        data += content.read(ByteSpan(start + len(data), start + begins + beginning_bytes))
    extra = data[_LOCAL.size + name_bytes : begins]
    _, packed, _ = _wide(extra, size, packed, 0)
    name = _name(data[_LOCAL.size : _LOCAL.size + name_bytes], flags)
    beginning = data[begins : begins + min(beginning_bytes, member.packed_bytes)]
    return Header(name, method, flags, packed, member.header_at + begins, beginning)


def _name(raw: bytes, flags: int) -> str:
    """Names are UTF-8 when they say so or could be; anything else by the old code page."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")
