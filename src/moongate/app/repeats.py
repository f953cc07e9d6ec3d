"""A request that comes again, byte for byte but for its range: known without being parsed.

A client that reads a file in pieces sends one head over and over, and only the two numbers of its `Range`
change. Parsing a head anew costs more than all the rest of an answer from the fast lane.

The bytes of a head say all that its parser would find, provided that it begins where the last request ended.
Only `Range: bytes=first-last` on a line of its own is cut out; any other spelling is part of the head.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

_MOST_BYTES = 4 << 10
_MOST_RANGE_BYTES = 40
_RANGE = re.compile(rb"\r\n[Rr]ange: bytes=([0-9]{1,19})-([0-9]{1,19})\r\n")
NO_RANGE = (-1, -1)

Known = TypeVar("Known")


class LastHead(Generic[Known]):
    """What is known of the head that came last on a connection."""

    __slots__ = ("_after", "_before", "known")

    def __init__(self) -> None:
        self._before = self._after = b""
        self.known: Known | None = None
        """None: nothing is, whatever comes."""

    def asks(self, head: bytes) -> tuple[int, int] | None:
        """The first and last byte that it asks for, when it is that head; `NO_RANGE`: for no range.

        None when it is another head, or none is known.
        """
        before, after = self._before, self._after
        if not after:
            return NO_RANGE if head == before and before else None
        if not (head.startswith(before) and head.endswith(after)):
            return None
        asked = head[len(before) : -len(after)]
        first, _, last = asked.partition(b"-")
        if len(asked) > _MOST_RANGE_BYTES or not (first.isdigit() and last.isdigit()):
            return None
        return int(first), int(last)

    def note(self, head: bytes, asked_range: str | None, known: Known) -> None:
        """Know this of a head, whatever range it asks for next time; unless its range is not a plain one.

        `asked_range`: the value of its `Range` header, as a parser found it.
        """
        cut = _RANGE.search(head)
        plain = None if cut is None else f"bytes={cut[1].decode()}-{cut[2].decode()}"
        if plain != asked_range or len(head) > _MOST_BYTES:
            return
        self.known = known
        self._before, self._after = (head, b"") if cut is None else (head[: cut.start(1)], head[cut.end(2) :])
