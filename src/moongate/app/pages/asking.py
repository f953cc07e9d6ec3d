"""The hub's answers for a visitor: what the API would tell them, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from moongate.core.callers import Caller
from moongate.core.errors import BadRequest, UpstreamBroken
from moongate.hub.answers import Answer
from moongate.wire import routes

_NEXT = re.compile(r'<([^>]*)>;\s*rel="next"')


class Answers(Protocol):
    """What pages need of `hub.Repos`."""

    async def answer(self, route: routes.Route, query: str, caller: Caller) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Told:
    """An answer as values, and the raw query of the page after it, if there is one."""

    value: Any
    next_query: str | None = None


async def ask(
    answers: Answers,
    route: routes.Route,
    caller: Caller,
    pairs: Sequence[tuple[str, str]] = (),
    raw: str = "",
) -> Told:
    """What the API answers this caller.

    Raises:
        UpstreamBroken: it is no JSON.
        Otherwise as `Repos.answer`.
    """
    answer = await answers.answer(route, raw or urlencode(pairs), caller)
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise UpstreamBroken("the answer is no JSON") from None
    link = next((text for name, text in answer.headers if name.lower() == "link"), "")
    found = _NEXT.search(link)
    return Told(value, found[1].partition("?")[2] if found else None)


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping, empty where something else stands."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Mapping[str, Any]]:
    """The mappings of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A text, empty where something else stands."""
    return value if isinstance(value, str) else ""


def number(value: object) -> int:
    """A whole number, 0 where something else stands."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def start_of(written: str) -> int:
    """The row that a page of a list begins with, as its address says it.

    Raises:
        BadRequest: it is no number, or absurdly large.
    """
    if not written.isascii() or not written.isdecimal() or len(written) > 9:
        raise BadRequest("a number in the query is none, or absurdly large")
    return int(written)
