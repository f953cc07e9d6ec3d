"""The members of a tar archive by their headers, pax and GNU long names included; data is only pointed at.

Source: POSIX ustar and pax; GNU tar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged

MAX_MEMBERS: Final = 200_000
_BLOCK = 512
_MAX_NAME_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member. kind: `file`, `folder`, `link` (hard or symbolic), `other`."""

    name: str
    kind: str
    span: ByteSpan
    target: str


class BadTar(Exception):
    """A header whose checksum or number is wrong; what came before has been given."""


def is_header(block: bytes) -> bool:
    """Whether a block of 512 bytes is a header with the right checksum."""
    if len(block) < _BLOCK or not block[0]:
        return False
    try:
        claimed = _number(block[148:156])
    except ValueError:
        return False
    return claimed == sum(block[:148]) + 8 * 32 + sum(block[156:_BLOCK])


def members(content: Ranged) -> Iterator[TarMember]:
    """Every member, in order.

    Raises:
        BadTar: a header is wrong.
    """
    at, long_name, long_target, count = 0, "", "", 0
    size = content.size_bytes
    while at + _BLOCK <= size:
        block = content.read(ByteSpan(at, at + _BLOCK))
        at += _BLOCK
        if not any(block):
            continue
        if not is_header(block):
            raise BadTar(f"no header at byte {at - _BLOCK}")
        length, letter = _number(block[124:136]), block[156:157]
        if not 0 <= length <= size - at:
            raise BadTar(f"a member is longer than the archive at byte {at - _BLOCK}")
        span = ByteSpan(at, at + length)
        at += -(-length // _BLOCK) * _BLOCK
        if letter in b"LK" and letter:
            text = _text(content.read(ByteSpan(span.start, min(span.end, span.start + _MAX_NAME_BYTES))))
            long_name, long_target = (text, long_target) if letter == b"L" else (long_name, text)
            continue
        if letter in b"xg" and letter:
            words = _pax(content.read(ByteSpan(span.start, min(span.end, span.start + _MAX_NAME_BYTES))))
            long_name, long_target = words.get("path", long_name), words.get("linkpath", long_target)
            continue
        prefix = _text(block[345:500]) if block[257:262] == b"ustar" else ""
        name = long_name or (f"{prefix}/" if prefix else "") + _text(block[:100])
        yield TarMember(name, _kind(letter), span, long_target or _text(block[157:257]))
        long_name = long_target = ""
        count += 1
        if count > MAX_MEMBERS:
            raise BadTar("there are more members than we follow")


def _kind(letter: bytes) -> str:
    if letter in {b"0", b"\x00", b"7", b"S"}:
        return "file"
    return {b"5": "folder", b"1": "link", b"2": "link"}.get(letter, "other")


def _number(raw: bytes) -> int:
    if raw[:1] in {b"\x80", b"\xff"}:
        return int.from_bytes(raw[1:], "big")
    return int(raw.strip(b" \x00") or b"0", 8)


def _text(raw: bytes) -> str:
    return raw.split(b"\x00", 1)[0].decode("utf-8", "replace")


def _pax(raw: bytes) -> dict[str, str]:
    words: dict[str, str] = {}
    at = 0
    while at < len(raw):
        space = raw.find(b" ", at, at + 20)
        if space < 0 or not raw[at:space].isdigit() or int(raw[at:space]) <= 0:
            break
        line = raw[space + 1 : at + int(raw[at:space]) - 1]
        key, _, value = line.partition(b"=")
        words[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at += int(raw[at:space])
    return words
