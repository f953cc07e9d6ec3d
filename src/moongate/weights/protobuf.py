"""Steps through the wire format of protocol buffers without a schema: fields, not messages.

Length-delimited values are only pointed at. Source: Protocol Buffers encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Cursor, Ended, Ranged

MAX_FIELDS: Final = 2_000_000
MAX_GROUPS: Final = 100


class BadMessage(Exception):
    """The bytes are no message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. value: of a varint or fixed number; span: where length-delimited bytes lie in content."""

    number: int
    value: int
    span: ByteSpan | None


def fields(content: Ranged, span: ByteSpan, window_bytes: int = 4096) -> Iterator[Field]:
    """The fields of the message at `span`.

    Raises:
        BadMessage: it is none.
    """
    cursor = Cursor(content, span.start, window_bytes)
    try:
        while cursor.at < span.end:
            key = _varint(cursor)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise BadMessage("a field has no number")
            if kind == 0:
                yield Field(number, _varint(cursor), None)
            elif kind in {1, 5}:
                yield Field(number, int.from_bytes(cursor.take(8 if kind == 1 else 4), "little"), None)
            elif kind == 2:
                length = _varint(cursor)
                at = cursor.at
                if at + length > span.end:
                    raise BadMessage("a field is longer than its message")
                yield Field(number, 0, ByteSpan(at, at + length))
                cursor.go(at + length)
            elif kind == 3:
                _step_over_group(cursor, span.end, number)
            else:
                raise BadMessage("a field is of no known kind")
    except Ended:
        raise BadMessage("a message is cut off") from None


def _step_over_group(cursor: Cursor, end: int, number: int) -> None:
    """Past a group, which readers that do not know it step over."""
    open_groups = [number]
    while open_groups:
        if cursor.at >= end or len(open_groups) > MAX_GROUPS:
            raise BadMessage("a group does not end")
        key = _varint(cursor)
        kind = key & 7
        if kind == 3:
            open_groups.append(key >> 3)
        elif kind == 4:
            if open_groups.pop() != key >> 3:
                raise BadMessage("a group ends that did not begin")
        elif kind == 0:
            _varint(cursor)
        elif kind in {1, 5}:
            cursor.take(8 if kind == 1 else 4)
        elif kind == 2:
            length = _varint(cursor)
            cursor.go(cursor.at + length)
        else:
            raise BadMessage("a field is of no known kind")


def _varint(cursor: Cursor) -> int:
    value = 0
    for place in range(10):
        byte = cursor.take(1)[0]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value
    raise BadMessage("a number is absurdly long")
