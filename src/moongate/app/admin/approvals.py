"""The admin API's operations on requests and waivers. An approver of a namespace decides about its holds."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict

from moongate.app.admin import policy_models as models
from moongate.app.admin.models import Model
from moongate.app.admin.operations import Asked, Operation, needing
from moongate.core.approvals import REQUEST_STATES, Request, RequestState, Terms, Waiver
from moongate.core.errors import BadRequest, ScopeMissing
from moongate.hub.audit import Actor
from moongate.policy.desk import Desk, NewWaiver


def approval_operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations, with what they need."""
    admin, decision = _AdminApprovals(desk), models.NewDecision
    return (
        *needing(
            "approve",
            Operation("GET", "/approvals", "What waits for approval", admin.requests, models.Requests, None,
                      ("state",)),
            Operation("GET", "/approvals/{id}", "One request", admin.request, models.Request),
            Operation("POST", "/approvals/{id}", "Grant or refuse", admin.decide, models.Decided, decision),
            Operation("GET", "/waivers", "Dated exceptions", admin.waivers, models.Waivers, None, ("ended",)),
            Operation("DELETE", "/waivers/{id}", "Take one back", admin.revoke, models.Waiver),
        ),
        *needing(
            "admin",
            Operation("POST", "/waivers", "Make one", admin.waive, models.Waiver, models.NewWaiver, (), 201),
        ),
    )  # fmt: skip


class _AdminApprovals:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def requests(self, asked: Asked) -> Model:
        rows = await asyncio.to_thread(self._desk.requests, _state(asked.query.get("state", "open")))
        caller = asked.exchange.caller
        shown = [row for row in rows if caller.approves(_namespace(row.repo))]
        return models.Requests(requests=[request_model(row) for row in shown])

    async def request(self, asked: Asked) -> Model:
        return request_model(await self._mine(asked))

    async def decide(self, asked: Asked) -> Model:
        wanted: models.NewDecision = asked.body
        request, by = await self._mine(asked), _who(asked)
        if wanted.decision == "refuse":
            refused = await asyncio.to_thread(self._desk.refuse, request.id, wanted.comment, by)
            return models.Decided(request=request_model(refused), waiver=None)
        terms = None if wanted.terms is None else terms_of(wanted.terms)
        granted = await asyncio.to_thread(self._desk.grant, request.id, terms, by)
        waiver = None if granted.waiver is None else waiver_model(granted.waiver)
        return models.Decided(request=request_model(granted.request), waiver=waiver, also=list(granted.also))

    async def waivers(self, asked: Asked) -> Model:
        ended = asked.query.get("ended", "false") == "true"
        rows = await asyncio.to_thread(lambda: self._desk.waivers(ended=ended))
        caller = asked.exchange.caller
        shown = [row for row in rows if caller.approves(_namespace(row.repo))]
        return models.Waivers(waivers=[waiver_model(row) for row in shown])

    async def waive(self, asked: Asked) -> Model:
        wanted: models.NewWaiver = asked.body
        new = NewWaiver(
            terms_of(wanted.terms),
            wanted.lifts,
            wanted.repo,
            wanted.commit_hash,
            wanted.path,
            wanted.digest,
            wanted.action,
            tuple(wanted.rules),
        )
        return waiver_model(await asyncio.to_thread(self._desk.add_waiver, new, _who(asked)))

    async def revoke(self, asked: Asked) -> Model:
        waiver = await asyncio.to_thread(self._desk.waiver, asked.part)
        _refuse_others(asked, waiver.repo)
        return waiver_model(await asyncio.to_thread(self._desk.revoke_waiver, waiver.id, _who(asked)))

    async def _mine(self, asked: Asked) -> Request:
        request = await asyncio.to_thread(self._desk.request, asked.part)
        _refuse_others(asked, request.repo)
        return request


def request_model(request: Request) -> models.Request:
    """A request as the API shows it."""
    told = asdict(request)
    proposal, by = told.pop("proposal"), told.pop("proposed_by")
    del told["key"]
    proposed = None if proposal is None else models.Proposed(**proposal, by=by)
    return models.Request(**told, proposed=proposed)


def waiver_model(waiver: Waiver) -> models.Waiver:
    """A waiver as the API shows it."""
    return models.Waiver(**asdict(waiver))


def terms_of(told: models.Terms) -> Terms:
    """Terms that begin now."""
    expires_at = time.time() + told.expires_seconds
    return Terms(told.scope, told.subject, expires_at, told.comment, told.finding)


def _who(asked: Asked) -> Actor:
    return asked.actor


def _refuse_others(asked: Asked, repo: str) -> None:
    if not asked.exchange.caller.approves(_namespace(repo)):
        raise ScopeMissing("You are no approver for this namespace.")


def _namespace(repo: str) -> str:
    """Of a repository as the index writes it, `models/acme/tiny`."""
    parts = repo.split("/")
    return parts[1] if len(parts) == 3 else ""


def _state(word: str) -> RequestState | None:
    if word == "all":
        return None
    if word not in REQUEST_STATES:
        raise BadRequest(f"the state is one of {', '.join(REQUEST_STATES)} or all")
    return word
