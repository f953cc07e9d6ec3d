"""Requests that come again, byte for byte but for their range: known without being parsed.

A client that reads a file in pieces sends one head over and over, and only the two numbers of its `Range`
change. Parsing a head anew costs more than all the rest of an answer from the fast lane.

The bytes of a head say all that its parser would find, provided that it begins where the last request ended.
Only `Range: bytes=first-last` on a line of its own is cut out; any other spelling is part of the head.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

_KEPT = 1024
_MOST_BYTES = 4 << 10
_RANGE = re.compile(rb"\r\n[Rr]ange: bytes=([0-9]{1,19})-([0-9]{1,19})\r\n")

Known = TypeVar("Known")


class Repeats(Generic[Known]):
    """What is known of heads that came lately."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def clear(self) -> None:
        self._known.clear()

    def find(self, head: bytes) -> tuple[Known, int, int] | None:
        """What is known of a head, and the first and last byte that it asks for this time; None: nothing is.

        Both are -1 when it asks for no range.
        """
        cut = _RANGE.search(head)
        if cut is None:
            known = self._known.get(head)
            return None if known is None else (known, -1, -1)
        begin, end = cut.span(1)[0], cut.end(2)
        known = self._known.get(head[:begin] + head[end:])
        return None if known is None else (known, int(cut[1]), int(cut[2]))

    def note(self, head: bytes, asked_range: str | None, known: Known) -> None:
        """Know this of a head, whatever range it asks for next time; unless its range is not a plain one.

        `asked_range`: the value of its `Range` header, as a parser found it.
        """
        cut = _RANGE.search(head)
        plain = None if cut is None else f"bytes={cut[1].decode()}-{cut[2].decode()}"
        if plain != asked_range or len(head) > _MOST_BYTES:
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[head if cut is None else head[: cut.start(1)] + head[cut.end(2) :]] = known
