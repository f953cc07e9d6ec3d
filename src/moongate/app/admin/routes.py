"""The admin API under `/api/moongate/v1/`: who may, which operation, what it was asked, what is written down.

For administrators: a token with scope `admin`, or anybody on this machine while we listen on loopback.
Other sites' pages are turned away by what browsers say of them (Origin, Sec-Fetch-Site), so that a visitor's
browser cannot be made to act here.
Everything that may take a while runs in a thread.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from aiohttp import hdrs, web
from pydantic import ValidationError

from moongate.app.admin.jobs import JobBoard
from moongate.app.admin.models import Model
from moongate.app.admin.openapi import openapi
from moongate.app.admin.operations import BASE, Asked, Operation
from moongate.app.admin.table import admin_operations
from moongate.app.dispatch import MethodAbsent
from moongate.app.door import Door
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.replies import JSON_TYPE, Reply, json_reply
from moongate.core.errors import Absent, BadRequest, NotAllowed
from moongate.core.names import RepoId, parse_repo

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_MAX_BODY_BYTES = 1 << 20
_MAX_QUERY_FIELDS = 32
_SUBJECTS = ("name", "place", "team", "user", "pattern", "subject")
"""What an operation's query or body calls that which it is about."""
_MADE = ("token.create", "trust.create")
"""What is known by an id that the answer tells."""


class AdminRoutes:
    """Handles every path under the admin prefix."""

    def __init__(self, gateway: Gateway, door: Door) -> None:
        self._gateway = gateway
        self._door = door
        self.jobs = JobBoard(gateway.settings.home / "jobs")
        self.operations = admin_operations(gateway, self.jobs)

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        """Answers a request under the prefix.

        Raises:
            AuthRequired, ScopeMissing: not an administrator.
            NotAllowed: another site's page asks.
            BadRequest: the body or query is not what the operation takes.
            Absent, MethodAbsent: there is no such operation.
        """
        self._refuse_foreign_pages(exchange)
        path = exchange.path.removeprefix(BASE).rstrip("/")
        try:
            operation, part = self._find(exchange.method, path)
        except (Absent, MethodAbsent):
            # strangers are not told what there is
            self._door.require("admin", exchange.caller, exchange.request)
            if path == "/openapi.json":
                return json_reply(200, openapi(self.operations), exchange.request_id)
            raise
        self._door.require(operation.permission, exchange.caller, exchange.request)
        address = self._door.address_of(exchange.peer, exchange.forwarded)
        query, body = _query(exchange.query, operation), await _body(exchange, operation)
        asked = Asked(part, query, body, exchange, address)
        await self._ask_policy(operation, asked)
        answer = await operation.run(asked)
        if operation.audited:
            _tell(operation.audited, asked, answer)
        told = answer.model_dump_json().encode()
        return Reply(operation.status, (JSON_TYPE,), told, request_id=exchange.request_id, shared=False)

    async def _ask_policy(self, operation: Operation, asked: Asked) -> None:
        """Return when the rules let this caller administer the repository that is to be changed, if any is.

        Raises:
            RefusedByPolicy, HeldByPolicy: they do not.
        """
        gate = self._gateway.guarding.gate
        if not operation.administers or gate.is_off:
            return
        repo = _administered(asked, operation.administers)
        if repo is not None:
            await asyncio.to_thread(gate.may_change, "admin", repo, asked.exchange.caller)

    def _find(self, method: str, path: str) -> tuple[Operation, str]:
        wanted = "GET" if method == "HEAD" else method
        allowed = []
        for operation in self.operations:
            stem, brace, _ = operation.path.partition("{")
            part = path.removeprefix(stem) if brace else ""
            if path != operation.path and not (brace and path.startswith(stem) and part and "/" not in part):
                continue
            if operation.method == wanted:
                return operation, unquote(part)
            allowed.append(operation.method)
        if allowed:
            raise MethodAbsent(allowed)
        raise Absent(f"the admin API has no such operation; {BASE}/openapi.json lists them")

    def _refuse_foreign_pages(self, exchange: Exchange) -> None:
        headers = exchange.request.headers
        origin, site = headers.get(hdrs.ORIGIN), headers.get("Sec-Fetch-Site")
        foreign = origin is not None and origin != self._door.base_url(exchange.request)
        if foreign or site in ("cross-site", "same-site"):
            raise NotAllowed("Pages of other sites may not use the admin API.")
        if exchange.caller.method == "session" and not exchange.is_read and origin is None is site:
            raise NotAllowed(
                "A browser's session changes nothing here unless the browser says which page asks."
            )


def _tell(kind: str, asked: Asked, answer: Model) -> None:
    """Has an operation written down that changed something."""
    told = answer.model_dump()
    if told.get("removed") is False or told.get("revoked") is False or told.get("added") is False:
        return
    body = {} if asked.body is None else asked.body.model_dump(exclude_none=True)
    given = {**asked.query, **body}
    repo = given.pop("repo", None)
    subject = asked.part or next((str(given[name]) for name in _SUBJECTS if given.get(name)), "")
    if kind in _MADE:
        subject = str(told["id"])
    asked.exchange.tell(
        kind, parse_repo(str(repo)) if repo else None, subject=subject, details={**given, "way": "admin api"}
    )


def _query(raw: str, operation: Operation) -> dict[str, str]:
    try:
        query = dict(parse_qsl(raw, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError:
        raise BadRequest(f"the query has more than {_MAX_QUERY_FIELDS} keys") from None
    unknown = set(query) - set(operation.query)
    if unknown:
        raise BadRequest(f"unknown query key: {min(unknown)[:40]!r}")
    return query


async def _body(exchange: Exchange, operation: Operation) -> Model | None:
    if operation.takes is None:
        return None
    raw = await read_body(exchange, _MAX_BODY_BYTES)
    kind = exchange.request.content_type
    if kind != "application/json":
        raise BadRequest("the body must be JSON, with Content-Type: application/json")
    try:
        return operation.takes.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{where + ': ' if where else ''}{first['msg']}") from None


def _administered(asked: Asked, name: str) -> RepoId | None:
    """The repository that is named so; None for a namespace, or when nothing is."""
    place = str(asked.query.get(name) or getattr(asked.body, name, ""))
    return parse_repo(place) if "/" in place or (place and name == "repo") else None
