"""YAML as plain values that remember their lines, so that every complaint can name one.

A strict part of YAML: one document, no key twice, no anchors (they can be nested until nothing holds them),
texts as keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from moongate.core.errors import BadRequest

MAX_BYTES: Final = 1 << 20
_MAX_DEPTH = 24

Place: TypeAlias = tuple[str | int, ...]
"""A way into a document: keys and positions."""


class BadPolicy(BadRequest):
    """A policy that is malformed. One line a problem, each with its file and line; no secret in any."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file's values; `lines` has the line of everything in it, from 1."""

    name: str
    value: Any  # plain YAML values
    lines: dict[Place, int]

    def line(self, place: Sequence[str | int]) -> int:
        """The line of a place, or of what is nearest above it."""
        way = tuple(place)
        while way and way not in self.lines:
            way = way[:-1]
        return self.lines.get(way, 1)

    def complaint(self, place: Sequence[str | int], words: str) -> str:
        """`acme.yaml:12: words`."""
        return f"{self.name}:{self.line(place)}: {words}"


def read_yaml(name: str, text: str) -> Document:
    """The document of a text; `name` is for complaints.

    Raises:
        BadPolicy: it is too long, not YAML, or of the parts of YAML that are not taken.
    """
    if len(text) > MAX_BYTES:
        raise BadPolicy(f"{name}:1: longer than {MAX_BYTES >> 20} MiB")
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            value = None if node is None else _value(name, loader, node, (), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadPolicy(f"{name}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise BadPolicy(f"{name}:1: not YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, RecursionError) as error:  # a date that is none; nested beyond reason
        raise BadPolicy(f"{name}:1: not YAML that can be read: {type(error).__name__}") from None
    return Document(name, value, lines)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """SafeLoader that gives no meaning to aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not taken here", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


def _value(name: str, loader: _Loader, node: yaml.Node, place: Place, lines: dict[Place, int]) -> Any:
    line = lines.setdefault(place, node.start_mark.line + 1)
    if len(place) > _MAX_DEPTH:
        raise BadPolicy(f"{name}:{line}: nested too deep")
    if isinstance(node, yaml.SequenceNode):
        return [_value(name, loader, item, (*place, at), lines) for at, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, at = loader.construct_object(key_node), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise BadPolicy(f"{name}:{at}: a key must be a text; write it in quotes")
        if key in found:
            raise BadPolicy(f"{name}:{at}: {key[:60]!r} stands there twice")
        lines[*place, key] = at
        found[key] = _value(name, loader, value_node, (*place, key), lines)
    return found
