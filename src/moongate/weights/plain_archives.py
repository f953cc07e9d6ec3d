"""The members of archives that only put files behind one another: ar, cpio, and what a package of rpm has
before its cpio. Data is only pointed at.

Sources: ar(5), cpio(5); the file format of RPM 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged

MAX_MEMBERS: Final = 100_000
_MAX_NAME_BYTES = 64 << 10
_AR_LINE, _NEW_LINE, _OLD_LINE = 60, 110, 76
_KIND_MASK, _FOLDER, _LINK, _FILE = 0o170000, 0o040000, 0o120000, 0o100000
_LEAD_BYTES = 96
_HEADER_MARK = b"\x8e\xad\xe8"
_SCRIPTS = frozenset((1023, 1024, 1025, 1026, 1079, 1151, 1152))
_TEXT_TYPE, _TEXTS_TYPE = 6, 8
_MOST_ENTRIES, _MOST_STORE_BYTES = 1 << 16, 64 << 20


@dataclass(frozen=True, slots=True)
class PlainMember:
    """One member. kind: `file`, `folder`, `link`, `other`, and `rest` for what stands behind the archive."""

    name: str
    kind: str
    span: ByteSpan


class BadArchive(Exception):
    """A header is wrong; what came before has been given."""


def ar_members(content: Ranged) -> Iterator[PlainMember]:
    """Raises: BadArchive."""
    at, long_names = 8, b""
    for _ in range(MAX_MEMBERS):
        line = content.read(ByteSpan(at, at + _AR_LINE))
        if not line.strip():
            return
        if len(line) < _AR_LINE or line[58:] != b"`\n":
            raise BadArchive(f"no header at byte {at}")
        begins, length = at + _AR_LINE, _of_digits(line[48:58], 10)
        if begins + length > content.size_bytes:
            raise BadArchive(f"a member is longer than the archive at byte {at}")
        at = begins + length + length % 2
        raw = line[:16].rstrip(b" ")
        if raw == b"//":
            long_names = content.read(ByteSpan(begins, begins + min(length, 4 << 20)))
        elif raw.startswith(b"#1/"):
            name_bytes = min(_of_digits(raw[3:], 10), length)
            own = content.read(ByteSpan(begins, begins + min(name_bytes, _MAX_NAME_BYTES)))
            yield PlainMember(_text(own), "file", ByteSpan(begins + name_bytes, begins + length))
        elif raw[:1] == b"/" and raw[1:].isdigit():
            own = long_names[int(raw[1:]) :].split(b"\n", 1)[0][:_MAX_NAME_BYTES]
            yield PlainMember(_text(own.removesuffix(b"/")), "file", ByteSpan(begins, begins + length))
        else:
            name = _text(raw if raw in {b"/", b"/SYM64/"} else raw.removesuffix(b"/"))
            is_index = raw in {b"/", b"/SYM64/"}
            span = ByteSpan(begins, begins + length)
            yield PlainMember("(index)" if is_index else name, "other" if is_index else "file", span)
    raise BadArchive("there are more members than we follow")


def cpio_members(content: Ranged) -> Iterator[PlainMember]:
    """Raises: BadArchive."""
    at = 0
    for _ in range(MAX_MEMBERS):
        line = content.read(ByteSpan(at, at + _NEW_LINE))
        if line[:6] in {b"070701", b"070702"}:
            fields = [_of_digits(line[place : place + 8], 16) for place in range(6, _NEW_LINE, 8)]
            mode, length, name_bytes, name_at, step = fields[1], fields[6], fields[11], at + _NEW_LINE, 4
        elif line[:6] == b"070707":
            mode, name_bytes = _of_digits(line[18:24], 8), _of_digits(line[59:65], 8)
            length, name_at, step = _of_digits(line[65:76], 8), at + _OLD_LINE, 1
        else:
            raise BadArchive(f"no header at byte {at}")
        begins = _up(name_at + name_bytes, step)
        name = _text(content.read(ByteSpan(name_at, name_at + min(name_bytes, _MAX_NAME_BYTES))))
        at = _up(begins + length, step)
        if begins + length > content.size_bytes:
            raise BadArchive(f"a member is longer than the archive at byte {name_at}")
        if name == "TRAILER!!!" and not length:
            if at < content.size_bytes:
                yield PlainMember("(behind the archive)", "rest", ByteSpan(at, content.size_bytes))
            return
        kind = {_FOLDER: "folder", _LINK: "link", _FILE: "file", 0: "file"}.get(mode & _KIND_MASK, "other")
        yield PlainMember(name, kind, ByteSpan(begins, begins + length))
    raise BadArchive("there are more members than we follow")


def rpm_parts(content: Ranged) -> tuple[list[str], ByteSpan]:
    """The scripts that installing a package runs, and where its compressed files lie.

    Raises:
        BadArchive: a header is wrong.
    """
    _, at = _rpm_header(content, _LEAD_BYTES)
    scripts, at = _rpm_header(content, _up(at, 8))
    return scripts, ByteSpan(min(at, content.size_bytes), content.size_bytes)


def _rpm_header(content: Ranged, at: int) -> tuple[list[str], int]:
    head = content.read(ByteSpan(at, at + 16))
    if len(head) < 16 or not head.startswith(_HEADER_MARK):
        raise BadArchive(f"no header at byte {at}")
    count, store_bytes = struct.unpack_from(">II", head, 8)
    if count > _MOST_ENTRIES or store_bytes > _MOST_STORE_BYTES:
        raise BadArchive("a header is absurdly long")
    lines = content.read(ByteSpan(at + 16, at + 16 + 16 * count))
    store = content.read(ByteSpan(at + 16 + 16 * count, at + 16 + 16 * count + store_bytes))
    scripts = [
        _text(store[place : place + _MAX_NAME_BYTES])
        for tag, kind, place, _ in struct.iter_unpack(">IIII", lines[: len(lines) // 16 * 16])
        if tag in _SCRIPTS and kind in {_TEXT_TYPE, _TEXTS_TYPE}
    ]
    return scripts, at + 16 + 16 * count + store_bytes


def _up(at: int, step: int) -> int:
    return -(-at // step) * step


def _of_digits(raw: bytes, base: int) -> int:
    try:
        value = int(raw.strip(b" \x00") or b"0", base)
    except ValueError:
        raise BadArchive("a number is none") from None
    if value < 0:
        raise BadArchive("a number is none")
    return value


def _text(raw: bytes) -> str:
    return raw.split(b"\x00", 1)[0].decode("utf-8", "replace")
