"""A person's request on its way to a page, and what a page answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from moongate.app.exchange import Exchange
from moongate.core.callers import Caller
from moongate.hub.audit import Actor, actor_of

THEME_COOKIE: Final = "moongate_theme"


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asks for what. `form` holds the fields of a checked form, and is empty for a read.

    is_admin: may administrate this gateway, by a token or as the user of this machine.
    """

    exchange: Exchange
    caller: Caller
    is_admin: bool
    query: Mapping[str, str]
    form: Mapping[str, str] = field(default_factory=dict)


def actor_of_visit(visit: Visit) -> Actor:
    """Who asks, for the record."""
    return actor_of(visit.caller, visit.exchange.peer, visit.exchange.agent)


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: its template, its title, the section it belongs to, and the values it shows."""

    template: str
    title: str
    values: Mapping[str, object]
    section: str = ""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Sent:
    """The visitor is sent to another page of ours, with headers that set cookies."""

    href: str
    cookies: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Bytes as they are: a sheet, a picture."""

    headers: Sequence[tuple[str, str]]
    body: bytes
    status: int = 200


PageAnswer = Shown | Sent | Given
