"""What the pickle machine puts on its stack instead of objects: nothing here is ever an object of a pickle.

Text and small numbers stand for themselves. Everything else is one of these, or `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Value: TypeAlias = object
"""str, int, float, bool, None, bytes (short), tuple of values, or one of the classes below."""

MAX_KEPT_TEXT: Final = 512
MAX_KEPT_ITEMS: Final = 64
HEAVIEST: Final = 1 << 60


class Unknown:
    """A value that the machine did not work out."""

    __slots__ = ()


UNKNOWN: Final = Unknown()


@dataclass(slots=True, eq=False)
class Blob:
    """A long text or byte string: only where it lies and how it begins."""

    at: int
    length: int
    head: bytes
    is_text: bool


@dataclass(slots=True, eq=False)
class Import:
    """What find_class would be asked for."""

    module: str
    name: str
    at: int
    opcode: str

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Call:
    """The result of a call: REDUCE, INST, OBJ, NEWOBJ or NEWOBJ_EX."""

    callee: Value
    arguments: Value
    at: int
    opcode: str
    state: Value = UNKNOWN


@dataclass(slots=True, eq=False)
class Made:
    """A list, dict, set or long tuple; only the first items, a dict's keys and values in turn.

    weight: how many values it would be if nothing in it were shared.
    """

    kind: str
    items: list[Value] = field(default_factory=list)
    weight: int = 1

    def add(self, values: list[Value]) -> None:
        self.weight = min(HEAVIEST, self.weight + weight_of(values))
        room = MAX_KEPT_ITEMS - len(self.items)
        if room > 0:
            self.items += values[:room]

    def get(self, key: str) -> Value:
        """What a dict holds under a text; UNKNOWN if it does not, or it was not kept."""
        keys = self.items[::2]
        return self.items[2 * keys.index(key) + 1] if key in keys else UNKNOWN


@dataclass(slots=True, eq=False)
class Persistent:
    """An object that the loader, not the pickle, provides."""

    identity: Value
    at: int


def weight_of(values: Sequence[Value], depth: int = 2) -> int:
    """How many values those are, what they hold counted in."""
    weight = len(values)
    for value in values:
        if type(value) is Made:
            weight += value.weight
        elif type(value) is tuple and depth:
            weight += weight_of(value, depth - 1)
    return weight


def describe(value: Value, depth: int = 3) -> str:
    """A value in words, bounded: values may be deep, wide, or contain themselves."""
    match value:
        case Blob():
            return f"<{value.length} {'bytes of text' if value.is_text else 'bytes'}>"
        case Import():
            return value.dotted
        case str() | bytes():
            return repr(value[:120]) + ("…" if len(value) > 120 else "")
        case Call() | Made() | Persistent() | tuple() if depth == 0:
            return "…"
        case Call():
            inside = describe(value.arguments, depth - 1)
            return describe(value.callee, depth - 1) + (inside if inside.startswith("(") else f"(*{inside})")
        case Made():
            return f"{value.kind}[{_listed(value.items, depth)}]"
        case Persistent():
            return f"persistent({describe(value.identity, depth - 1)})"
        case tuple():
            return f"({_listed(value, depth)})"
        case None | bool() | int() | float():
            return repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "<a long number>"
        case _:
            return "?"


def _listed(values: Sequence[Value], depth: int) -> str:
    shown = ", ".join(describe(value, depth - 1) for value in values[:6])
    return f"{shown}, …" if len(values) > 6 else shown
