"""One operation of the admin API, as a value: what it is called by, what it takes, gives and needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from moongate.app.admin.models import Model
from moongate.app.exchange import Exchange
from moongate.app.permissions import Permission
from moongate.core.errors import BadRequest
from moongate.hub.audit import Actor, actor_of

BASE = "/api/moongate/v1"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to one operation: the piece of its path in braces, its query, and its body as the model.

    address: from where they ask, whatever proxies are in between.
    """

    part: str
    query: Mapping[str, str]
    body: Any  # a value of the operation's `takes`
    exchange: Exchange
    address: str = ""

    @property
    def actor(self) -> Actor:
        """Who asks, for the record."""
        return actor_of(self.exchange.caller, self.address, self.exchange.agent)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    path: below `/api/moongate/v1`; may hold one piece in braces, at its end.
    audited: the kind of event (`hub.audit.KINDS`) that is written down when it changed something. Feeds,
        requests, waivers, recalls, webhooks and the rules are written down by whoever changes them.
    administers: what its query or body calls the repository that it administers; the policy is asked before.
        Recalls are not asked about: no rule may keep dangerous content served.
    """

    method: str
    path: str
    summary: str
    run: Callable[[Asked], Awaitable[Model]]
    gives: type[Model]
    takes: type[Model] | None = None
    query: tuple[str, ...] = ()
    status: int = 200
    permission: Permission | None = None
    audited: str = ""
    administers: str = ""


def needing(permission: Permission, *operations: Operation) -> tuple[Operation, ...]:
    """These operations, with what they need; one that needs nothing stated is answered to nobody."""
    return tuple(replace(operation, permission=permission) for operation in operations)


def required(query: Mapping[str, str], name: str) -> str:
    """A field of the query that has to be there.

    Raises:
        BadRequest: it is not.
    """
    value = query.get(name)
    if not value:
        raise BadRequest(f"the query lacks {name!r}")
    return value


def fields(row: object, model: type[Model]) -> dict[str, object]:
    """Those attributes of a row that the model shows."""
    return {name: getattr(row, name) for name in model.model_fields}
