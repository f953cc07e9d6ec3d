"""Reads tables of a flat buffer where they lie, and believes no offset.

Source: the FlatBuffers documentation, "FlatBuffer Internals".
"""

from __future__ import annotations

from typing import Final

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged

MOST_ITEMS: Final = 100_000
MOST_TEXT_BYTES: Final = 4096
_BLOCK_BYTES = 64 << 10
_MOST_BLOCKS = 64


class BadBuffer(Exception):
    """An offset leads out of the file, or more is claimed than anybody writes."""


class FlatBuffer:
    """A file of one root table. Places are byte offsets; 0 stands for what is not there."""

    def __init__(self, content: Ranged) -> None:
        self._content = content
        self._blocks: dict[int, bytes] = {}

    def root(self) -> int:
        return self._number(0, 4)

    def value(self, table: int, field: int, width: int) -> int:
        """The number in a field of a table, 0 where it is left out."""
        at = self._field(table, field)
        return self._number(at, width) if at else 0

    def table(self, table: int, field: int) -> int:
        """The place of what a field refers to."""
        at = self._field(table, field)
        return at + self._number(at, 4) if at else 0

    def tables(self, table: int, field: int) -> list[int]:
        """The places of the tables of a vector."""
        vector = self.table(table, field)
        if not vector:
            return []
        count = self._number(vector, 4)
        if count > MOST_ITEMS:
            raise BadBuffer
        places = range(vector + 4, vector + 4 + 4 * count, 4)
        return [at + self._number(at, 4) for at in places]

    def text(self, table: int, field: int) -> str:
        at = self.table(table, field)
        if not at:
            return ""
        return self._read(at + 4, min(self._number(at, 4), MOST_TEXT_BYTES)).decode("utf-8", "replace")

    def _field(self, table: int, field: int) -> int:
        virtual = table - int.from_bytes(self._read(table, 4), "little", signed=True)
        if virtual < 0 or 6 + 2 * field > self._number(virtual, 2):
            return 0
        place = self._number(virtual + 4 + 2 * field, 2)
        return table + place if place else 0

    def _number(self, at: int, width: int) -> int:
        return int.from_bytes(self._read(at, width), "little")

    def _read(self, at: int, length: int) -> bytes:
        """Raises: BadBuffer."""
        if at < 0 or at + length > self._content.size_bytes:
            raise BadBuffer
        block = at // _BLOCK_BYTES
        if block not in self._blocks:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            begins = block * _BLOCK_BYTES
            end = min(self._content.size_bytes, begins + _BLOCK_BYTES + MOST_TEXT_BYTES)
            self._blocks[block] = self._content.read(ByteSpan(begins, end))
        begins = at - block * _BLOCK_BYTES
        data = self._blocks[block][begins : begins + length]
        if len(data) < length:
            raise BadBuffer
        return data
