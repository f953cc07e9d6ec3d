"""The front matter of a README: YAML between two lines of dashes, read within bounds.

Read as the Hub reads it, by YAML 1.2's rules: `no` is a word, a date is a text. There are no aliases, no
tags and no second document in a card; what is nested too deep, too long, or says a key twice is refused.
Values are what JSON can say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

import yaml
from yaml import events

from moongate.core.errors import BadRequest

Value: TypeAlias = bool | int | float | str | list["Value"] | dict[str, "Value"] | None
"""Whatever a card may hold."""

MAX_FRONT_MATTER_BYTES: Final = 2 << 20
"""Cards with results of many benchmarks take half of it."""

_MAX_DEPTH = 32
_MAX_EVENTS = 300_000
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Value] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadCard(BadRequest):
    """A README's front matter cannot be read."""


def front_matter(readme: str) -> dict[str, Value] | None:
    """The metadata of a README; None when it has none.

    Raises:
        BadCard: it is no YAML, not one mapping, or goes past our bounds; says where.
    """
    text = _fenced(readme)
    value = read_yaml(text) if text is not None else None
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadCard("the metadata must be a mapping of names to values")
    return value


def _fenced(readme: str) -> str | None:
    """What stands between the first line, if that is three dashes, and the next such line."""
    text = readme.removeprefix("\ufeff").lstrip().replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = text.partition("\n")
    if first.rstrip() != "---" or not rest:
        return None
    body = "\n" + rest
    end = body.find("\n---")
    while end >= 0:
        after = body.find("\n", end + 1)
        if not body[end + 4 : after if after >= 0 else len(body)].strip():
            return body[1:end]
        end = body.find("\n---", end + 1)
    raise BadCard("the metadata is opened by --- and never closed")


def read_yaml(text: str) -> Value:
    """The one value of a YAML document, within the bounds of a card.

    Raises:
        BadCard: as `front_matter`.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_FRONT_MATTER_BYTES:
        raise BadCard(f"the metadata is longer than {MAX_FRONT_MATTER_BYTES >> 20} MiB")
    try:
        return _Composer(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        where = _where(error.problem_mark or error.context_mark)
        raise BadCard(f"the metadata is no YAML: {error.problem or error.context}{where}") from None
    except (yaml.YAMLError, UnicodeError):
        raise BadCard("the metadata holds characters that YAML does not allow") from None


class _Composer:
    """Builds the value as the events come, so that nothing past a bound is ever built."""

    def __init__(self, told: Iterator[events.Event]) -> None:
        self._told = told
        self._left = _MAX_EVENTS

    def document(self) -> Value:
        value: Value = None
        documents = 0
        while not isinstance(event := self._next(), events.StreamEndEvent):
            if isinstance(event, events.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise BadCard(f"the metadata holds a second document{_where(event.start_mark)}")
            elif not isinstance(event, events.StreamStartEvent | events.DocumentEndEvent):
                value = self._value(event, 0)
        return value

    def _next(self) -> events.Event:
        self._left -= 1
        if self._left < 0:
            raise BadCard("the metadata holds absurdly many values")
        return next(self._told)

    def _value(self, event: events.Event, depth: int) -> Value:
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise BadCard(f"anchors and aliases are not taken in metadata{_where(event.start_mark)}")
        if getattr(event, "tag", None) not in (None, "!"):
            raise BadCard(f"type tags are not taken in metadata{_where(event.start_mark)}")
        if isinstance(event, events.ScalarEvent):
            return _text(event) if event.style else _plain(event)
        if depth >= _MAX_DEPTH:
            raise BadCard(f"the metadata is nested deeper than {_MAX_DEPTH} levels{_where(event.start_mark)}")
        if isinstance(event, events.SequenceStartEvent):
            return self._list(depth)
        return self._mapping(depth)

    def _list(self, depth: int) -> list[Value]:
        items: list[Value] = []
        while not isinstance(event := self._next(), events.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while not isinstance(event := self._next(), events.MappingEndEvent):
            if not isinstance(event, events.ScalarEvent):
                raise BadCard(f"a name in the metadata must be plain text{_where(event.start_mark)}")
            self._value(event, depth)
            key = _text(event)
            if key in found:
                raise BadCard(f"{key[:80]!r} is said twice{_where(event.start_mark)}")
            found[key] = self._value(self._next(), depth + 1)
        return found


def _plain(event: events.ScalarEvent) -> Value:
    text = _text(event)
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if abs(value) != float("inf") else None
    return None if _INFINITE.fullmatch(text) else text  # JSON has no such numbers


def _text(event: events.ScalarEvent) -> str:
    text: str = event.value
    text.encode()  # half a surrogate pair is no text
    return text


def _where(mark: yaml.Mark | None) -> str:
    return f" (line {mark.line + 2}, column {mark.column + 1})" if mark is not None else ""
