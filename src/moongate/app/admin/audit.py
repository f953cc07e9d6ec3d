"""The admin API's operations on the audit log, and on recalls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final, Protocol

from moongate.app.admin import audit_models as models
from moongate.app.admin.models import Model
from moongate.app.admin.operations import Asked, Operation, needing
from moongate.core.errors import BadRequest
from moongate.hub.audit_checkpoint import Verifier
from moongate.hub.audit_desk import AuditDesk, Search, wanted_of
from moongate.hub.audit_log import AuditLog
from moongate.hub.audit_verify import Verified
from moongate.hub.recalling import Recall, Recalling, Target, Trace, target_of
from moongate.hub.recalls import SURE_SECONDS

_MOST_LINES: Final = 1000
_SEARCHED: Final = ("kind", "user", "repo", "digest", "since", "until", "before", "limit")


class PublicKey(Verifier, Protocol):
    """The public half of the gateway's key."""

    @property
    def pem(self) -> str: ...


def audit_operations(
    desk: AuditDesk, log: AuditLog, key: Callable[[], PublicKey], recalling: Recalling
) -> tuple[Operation, ...]:
    """The operations. key: whose signature checkpoints bear."""
    admin, new, report = _AdminAudit(desk, log, key, recalling), models.NewRecall, models.RecallReport
    pages = ("after", "limit")
    return needing(
        "admin",
        Operation("GET", "/audit", "Search it", admin.search_audit, models.AuditLines, query=_SEARCHED),
        Operation("GET", "/audit-lines", "As hashed", admin.raw_audit, models.RawLines, query=pages),
        Operation("GET", "/audit-verification", "Check it", admin.verify_audit, models.Verification),
        Operation("GET", "/audit-checkpoints", "What was signed", admin.checkpoints, models.Checkpoints),
        Operation("POST", "/audit-checkpoints", "Sign the end", admin.checkpoint, models.Checkpoints),
        Operation("GET", "/audit-key", "Who signs", admin.audit_key, models.AuditKey),
        Operation("GET", "/recalls", "What was recalled", admin.recalls, models.Recalls),
        Operation("POST", "/recalls", "Recall", admin.recall, report, new, status=201),
        Operation("GET", "/recalls/{id}", "Who received it", admin.show_recall, report),
        Operation("DELETE", "/recalls/{id}", "Take it back", admin.undo_recall, models.Recall),
    )


class _AdminAudit:
    def __init__(
        self, desk: AuditDesk, log: AuditLog, key: Callable[[], PublicKey], recalling: Recalling
    ) -> None:
        self._desk = desk
        self._log = log
        self._key = key
        self._recalling = recalling

    async def search_audit(self, asked: Asked) -> Model:
        query = asked.query
        wanted = _wanted(query)
        before = _number(query["before"]) if query.get("before") else None
        limit = min(_number(query.get("limit", "100")), _MOST_LINES)
        return models.AuditLines(lines=await asyncio.to_thread(self._desk.search, wanted, limit, before))

    async def raw_audit(self, asked: Asked) -> Model:
        after = _number(asked.query.get("after", "0"))
        limit = min(_number(asked.query.get("limit", str(_MOST_LINES))), _MOST_LINES)
        lines = await asyncio.to_thread(self._desk.raw, after, limit)
        return models.RawLines(lines=[line.decode() for line in lines], last=after + len(lines))

    async def verify_audit(self, _: Asked) -> Model:
        return verification(await asyncio.to_thread(lambda: self._desk.verify([self._key()])))

    async def checkpoints(self, _: Asked) -> Model:
        notes = await asyncio.to_thread(self._desk.checkpoints)
        return models.Checkpoints(checkpoints=[note.note() for note in notes])

    async def checkpoint(self, _: Asked) -> Model:
        made = await asyncio.to_thread(self._log.checkpoint)
        return models.Checkpoints(checkpoints=[made.note()] if made is not None else [])

    async def audit_key(self, _: Asked) -> Model:
        key = await asyncio.to_thread(self._key)
        return models.AuditKey(id=key.id, pem=key.pem)

    async def recalls(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._recalling.recalls)
        return models.Recalls(recalls=[recall_model(row) for row in rows])

    async def show_recall(self, asked: Asked) -> Model:
        row = await asyncio.to_thread(self._recalling.show, asked.part)
        return report(row, await asyncio.to_thread(self._recalling.trace, target_of(row)))

    async def recall(self, asked: Asked) -> Model:
        """Answers once no process serves it any more."""
        wanted: models.NewRecall = asked.body
        target = await asyncio.to_thread(self._recalling.target, wanted.target)
        if wanted.dry_run:
            row = imagined(target, wanted.reason)
        else:
            row = await asyncio.to_thread(self._recalling.recall, target, wanted.reason, asked.actor)
            await asyncio.sleep(SURE_SECONDS)
        return report(row, await asyncio.to_thread(self._recalling.trace, target))

    async def undo_recall(self, asked: Asked) -> Model:
        return recall_model(await asyncio.to_thread(self._recalling.undo, asked.part, asked.actor))


def imagined(target: Target, reason: str) -> Recall:
    """The recall that a dry run would have made."""
    return Recall("", target.digest, target.repo, target.commit_hash, reason, "", time.time())


def recall_model(row: Recall) -> models.Recall:
    """A recall as it is told."""
    told = {**asdict(row), "repo": None if row.repo is None else str(row.repo)}
    return models.Recall(commit=told.pop("commit_hash"), **told)


def report(row: Recall, trace: Trace) -> models.RecallReport:
    """A recall and its trace as they are told."""
    return models.RecallReport(
        recall=recall_model(row),
        receivers=[models.ReceiverModel(**asdict(one)) for one in trace.receivers],
        places=[
            models.Place(repo=str(file.repo), commit=file.commit_hash, path=file.entry.path)
            for file in trace.places
        ],
        deployments=[models.Deployment(name=one.name, where=one.where) for one in trace.deployments],
        audit_began_at=trace.began_at,
    )


def verification(found: Verified) -> models.Verification:
    """What verifying found, as it is told."""
    return models.Verification(
        sound=found.is_sound,
        lines=found.lines,
        first=found.began_at,
        last=found.last,
        signed_to=found.signed_to,
        checkpoints=found.checkpoints,
        problems=[models.AuditProblem(seq=one.seq, what=one.what) for one in found.problems],
        more_problems=found.more_problems,
    )


def _wanted(query: Mapping[str, str]) -> Search:
    return wanted_of(
        query.get("kind"),
        query.get("user"),
        query.get("repo"),
        query.get("digest"),
        _seconds(query.get("since")),
        _seconds(query.get("until")),
    )


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise BadRequest(f"not a time in seconds since the epoch: {text[:20]!r}") from None
    if not 0 <= value < 1e11:
        raise BadRequest(f"not a time in seconds since the epoch: {text[:20]!r}")
    return value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(f"not a number: {text[:20]!r}")
    return int(text)
