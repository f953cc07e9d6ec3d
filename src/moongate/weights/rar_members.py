"""The members of a RAR archive by their headers, of both kinds (4 and 5); data is only pointed at.

What is stored can be read from there. What is compressed, encrypted or goes on in another volume cannot.
Sources: the technical note that RARLAB publishes about RAR 5, and that about RAR 3, whose headers RAR 4 has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Cursor, Ended, Ranged

MAX_MEMBERS: Final = 100_000
_MAX_HEADER_BYTES = 2 << 20
_OLD_BYTES, _NEW_BYTES = 7, 8
_STORED = 0x30
_OLD_MAIN, _OLD_FILE, _OLD_SERVICE, _OLD_END = 0x73, 0x74, 0x7A, 0x7B
_MAIN, _FILE, _SERVICE, _ENCRYPTION, _END = 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class RarMember:
    """One member. kind: `file`, `folder`, `link`, `service` (comments and streams beside the files).

    other_name: what else readers may call it. split: it begins or goes on in another volume.
    """

    name: str
    kind: str
    span: ByteSpan
    size_bytes: int
    stored: bool
    encrypted: bool
    split: bool = False
    target: str = ""
    other_name: str = ""


class BadRar(Exception):
    """A header that cannot be read; encrypted: for want of a password. What came before has been given."""

    def __init__(self, message: str, *, encrypted: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.encrypted = encrypted


def members(content: Ranged) -> Iterator[RarMember]:
    """Every member, in order, then what stands behind the archive, if anything, as a `rest`.

    Raises:
        BadRar: a header is wrong.
    """
    is_new = content.read(ByteSpan(0, _NEW_BYTES))[6:7] == b"\x01"
    try:
        yield from _new(content) if is_new else _old(content)
    except (Ended, struct.error, ValueError, IndexError):
        raise BadRar("a header is broken") from None


def _rest(content: Ranged, at: int) -> Iterator[RarMember]:
    if at < content.size_bytes:
        span = ByteSpan(at, content.size_bytes)
        yield RarMember("(behind the archive)", "rest", span, span.length, stored=True, encrypted=False)


def _old(content: Ranged) -> Iterator[RarMember]:
    at, size = _OLD_BYTES, content.size_bytes
    for _ in range(MAX_MEMBERS):
        if at >= size:
            return
        head = content.read(ByteSpan(at, at + 64))
        kind, flags, length = struct.unpack_from("<BHH", head, 2)
        if length < 7:
            raise BadRar(f"a header at byte {at} has no length")
        more = struct.unpack_from("<I", head, 7)[0] if flags & 0x8000 or kind == _OLD_FILE else 0
        if kind == _OLD_MAIN and flags & 0x80:
            raise BadRar("its headers are encrypted", encrypted=True)
        if kind in {_OLD_FILE, _OLD_SERVICE}:
            header = content.read(ByteSpan(at, at + length))
            if flags & 0x100:
                more |= struct.unpack_from("<I", header, 32)[0] << 32
            member = _old_member(header, flags, ByteSpan(at + length, at + length + more), size)
            yield _linked(content, member)
        at += length + more
        if kind == _OLD_END:
            yield from _rest(content, at)
            return
    raise BadRar("there are more members than we follow")


def _old_member(header: bytes, flags: int, span: ByteSpan, size_bytes: int) -> RarMember:
    if span.end > size_bytes and not flags & 2:
        raise BadRar("a member is longer than the archive")
    size, system, method, name_bytes, mode = struct.unpack_from("<IB9xBHI", header, 11)
    name_at = 40 if flags & 0x100 else 32
    raw, _, coded = header[name_at : name_at + name_bytes].partition(b"\x00")
    plain = raw.decode("utf-8", "replace")
    name = _wide_name(raw, coded) if flags & 0x200 and coded else plain
    is_link = system == 3 and mode & 0xF000 == 0xA000
    kind = (
        "service" if header[2] == _OLD_SERVICE
        else "folder" if flags & 0xE0 == 0xE0
        else "link" if is_link else "file"
    )  # fmt: skip
    return RarMember(
        name, kind, span, size, method == _STORED, bool(flags & 4), bool(flags & 3), other_name=plain
    )


def _linked(content: Ranged, member: RarMember) -> RarMember:
    """A link of RAR 4 has its target as its content."""
    if member.kind != "link" or not member.stored or member.encrypted:
        return member
    raw = content.read(ByteSpan(member.span.start, min(member.span.end, member.span.start + 4096)))
    return RarMember(
        member.name, "link", member.span, member.size_bytes, stored=True, encrypted=False,
        target=raw.decode("utf-8", "replace"), other_name=member.other_name,
    )  # fmt: skip


def _wide_name(plain: bytes, coded: bytes) -> str:
    """A name in UTF-16, told by how it differs from the plain one."""
    high, at, out = coded[0] << 8, 1, list[int]()
    flags = bits = 0
    while at < len(coded):
        if not bits:
            flags, at, bits = coded[at], at + 1, 8
            continue
        bits -= 2
        match flags >> bits & 3:
            case 0:
                out.append(coded[at])
                at += 1
            case 1:
                out.append(coded[at] | high)
                at += 1
            case 2:
                out.append(int.from_bytes(coded[at : at + 2], "little"))
                at += 2
            case _:
                count, at = coded[at], at + 1
                change = coded[at] if count & 0x80 else None
                at += count >> 7
                for _ in range((count & 0x7F) + 2):
                    letter = plain[len(out)]
                    out.append(letter if change is None else (letter + change) & 0xFF | high)
    return struct.pack(f"<{len(out)}H", *out).decode("utf-16-le", "replace")


def _number(c: Cursor) -> int:
    value = 0
    for place in range(10):
        byte = c.take(1)[0]
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value
    raise BadRar("a number is absurdly long")


def _new(content: Ranged) -> Iterator[RarMember]:
    c = Cursor(content, _NEW_BYTES)
    for _ in range(MAX_MEMBERS):
        if not c.left:
            return
        c.step(4)
        length = _number(c)
        if not 0 < length <= _MAX_HEADER_BYTES:
            raise BadRar("a header is absurdly long")
        end = c.at + length
        kind, flags = _number(c), _number(c)
        extra = _number(c) if flags & 1 else 0
        more = _number(c) if flags & 2 else 0
        if kind == _ENCRYPTION:
            raise BadRar("its headers are encrypted", encrypted=True)
        if kind in {_FILE, _SERVICE}:
            if end + more > content.size_bytes and not flags & 0x10:
                raise BadRar("a member is longer than the archive")
            yield _new_member(c, kind, flags, end - extra, ByteSpan(end, end + more))
        c.go(end + more)
        if kind == _END:
            yield from _rest(content, c.at)
            return
    raise BadRar("there are more members than we follow")


def _new_member(c: Cursor, kind: int, flags: int, extra_at: int, span: ByteSpan) -> RarMember:
    own, size, _ = _number(c), _number(c), _number(c)
    c.step((4 if own & 2 else 0) + (4 if own & 4 else 0))
    packing, _, name_bytes = _number(c), _number(c), _number(c)
    name = c.take(min(name_bytes, _MAX_HEADER_BYTES)).decode("utf-8", "replace")
    encrypted, target = False, None
    c.go(extra_at)
    while c.at < span.start:
        length = _number(c)
        end = c.at + length
        match _number(c):
            case 1:
                encrypted = True
            case 5:
                _, _, target_bytes = _number(c), _number(c), _number(c)
                target = c.take(min(target_bytes, _MAX_HEADER_BYTES)).decode("utf-8", "replace")
        c.go(end)
    said = "folder" if own & 1 else "link" if target is not None else "file"
    return RarMember(
        name, "service" if kind == _SERVICE else said, span, size, not packing >> 7 & 7, encrypted,
        bool(flags & 0x18), target or "",
    )  # fmt: skip
