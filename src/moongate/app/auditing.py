"""What the front door tells the audit log: who got which bytes, who was refused, what was changed.

    finished   every exchange, after it ended: deliveries, tokens used from somewhere new   (noted)
    refused    who may not, before the answer goes out                                      (recorded)
    told       what a handler said has happened, before the answer goes out                 (recorded)

Many ranges of one file that one client reads are one line: it is written once the client asked for no
more of the file for `_QUIET_SECONDS`, at the latest after `_LONGEST_SECONDS`. A kill -9 loses the
deliveries of that time, which nobody was told are written down. Refusals of the same caller for the same
reason are counted after the first one, which was recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final

from moongate.app.exchange import Exchange, Record
from moongate.core.errors import AuthRequired, BadToken, MoongateError, NotAllowed, Recalled
from moongate.core.records import FileAt
from moongate.hub.audit import Actor, Audit, AuditEvent, actor_of

_QUIET_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.5
_REFUSAL_SECONDS: Final = 10.0
_USE_SECONDS: Final = 3600.0
_WRITTEN_ELSEWHERE: Final = ("RefusedByPolicy", "HeldByPolicy")
"""Refusals that the gate itself writes down, with its rules and verdicts."""

_MOST_OPEN: Final = 20_000
_MOST_KNOWN: Final = 20_000

AddressOf = Callable[[str | None, str | None], str]
"""A client's address, of the peer's and what proxies forwarded."""


@dataclass(slots=True)
class _Delivery:
    """What one client got of one file, so far."""

    actor: Actor
    file: FileAt
    way: str
    request_id: str
    began: float
    ended: float
    bytes: int = 0
    ranges: int = 0
    broken: int = 0

    def event(self) -> AuditEvent:
        entry = self.file.entry
        details: dict[str, object] = {"bytes": self.bytes, "way": self.way}
        if self.ranges > 1:
            details["ranges"] = self.ranges
        if self.broken:
            details["broken_off"] = self.broken
        if entry.size_bytes > self.bytes:
            details["of"] = entry.size_bytes
        if entry.xet_hash is not None:
            details["xet"] = entry.xet_hash
        return AuditEvent(
            "file.deliver",
            self.actor,
            self.file.repo,
            self.file.commit_hash,
            entry.path,
            entry.etag,
            request_id=self.request_id,
            details=details,
            at=self.ended,
        )


@dataclass(slots=True)
class _Refusal:
    """A refusal that was recorded, and how often it was repeated since."""

    event: AuditEvent
    until: float
    more: int = 0


class Auditing:
    """Belongs to one event loop; `settle` before it ends."""

    def __init__(
        self,
        audit: Audit,
        address_of: AddressOf = lambda peer, _: peer or "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._audit = audit
        self._address_of = address_of
        self._now = now
        self._open: dict[Hashable, _Delivery] = {}
        self._refusals: dict[Hashable, _Refusal] = {}
        self._used: dict[tuple[str, str], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def finished(self, record: Record, ended: float | None = None) -> None:
        """An exchange ended, now or at a time a moment ago."""
        if record.caller.token_id:
            self._note_use(record)
        if record.method == "HEAD" or (record.file is None and not record.reconstructed):
            if record.route == "GitUploadPack" and record.sent_bytes and record.status == 200:
                self._audit.note(self._event(record, "git.fetch", {"bytes": record.sent_bytes}))
            return
        ended = self._now() if ended is None else ended
        is_plain = not record.route.startswith("Cas")
        if record.file is not None and is_plain and record.sent_bytes and record.status in (200, 206):
            self._add(record, record.file, record.sent_bytes, ended)
        for file, size_bytes in record.reconstructed:
            self._add(record, file, size_bytes, ended)
        if self._timer is None and self._open:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    async def refused(self, exchange: Exchange, error: MoongateError) -> None:
        """Somebody may not; what policy refused is written down where it decides.

        Raises:
            StoreError: it could not be written.
        """
        if not isinstance(error, NotAllowed) or type(error).__name__ in _WRITTEN_ELSEWHERE:
            return
        if isinstance(error, AuthRequired) and exchange.caller.kind == "anonymous" and exchange.repo is None:
            return  # nobody said who they are, and nothing is told of what they asked for
        event = self._refusal(exchange, error)
        key = (event.kind, event.actor, exchange.repo, event.digest, type(error))
        known, now = self._refusals.get(key), self._now()
        if known is not None and known.until > now:
            known.more += 1
            return
        if len(self._refusals) >= _MOST_KNOWN:
            self._close_refusals(float("inf"))
        if known is not None:
            self._close_refusal(known)
        self._refusals[key] = _Refusal(event, now + _REFUSAL_SECONDS)
        await self._audit.recorded(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    async def told(self, exchange: Exchange) -> None:
        """Writes down what a handler said has happened.

        Raises:
            StoreError: it could not be written.
        """
        actor = self._actor(exchange)
        events = [
            AuditEvent(
                one.kind,
                actor,
                one.repo,
                one.commit_hash,
                digest=one.digest,
                reason=one.reason,
                subject=one.subject,
                request_id=exchange.request_id,
                details=one.details,
            )
            for one in exchange.happened
        ]
        exchange.happened.clear()
        await asyncio.gather(*(self._audit.recorded(event) for event in events))

    def settle(self) -> None:
        """Notes all that is still open."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for delivery in self._open.values():
            self._audit.note(delivery.event())
        self._open.clear()
        self._close_refusals(float("inf"))

    def _add(self, record: Record, file: FileAt, size_bytes: int, ended: float) -> None:
        caller = record.caller
        key = (
            file.entry.etag,
            file.entry.path,
            file.commit_hash,
            file.repo,
            caller.key,
            caller.token_id,
            record.peer,
        )
        delivery = self._open.get(key)
        if delivery is None:
            if len(self._open) >= _MOST_OPEN:
                self.settle()
            way = "xet" if record.reconstructed else "plain"
            delivery = _Delivery(self._actor(record), file, way, record.request_id, ended, ended)
            self._open[key] = delivery
        delivery.bytes += size_bytes
        delivery.ranges += 1
        delivery.broken += bool(record.error)
        delivery.ended = ended

    def _look(self) -> None:
        """Notes deliveries that nobody adds to any more, or that have been open for long."""
        self._timer = None
        now = self._now()
        done = [
            key
            for key, one in self._open.items()
            if now - one.ended >= _QUIET_SECONDS or now - one.began >= _LONGEST_SECONDS
        ]
        for key in done:
            self._audit.note(self._open.pop(key).event())
        self._close_refusals(now)
        if self._open or self._refusals:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _close_refusals(self, now: float) -> None:
        for key in [key for key, one in self._refusals.items() if one.until <= now]:
            self._close_refusal(self._refusals.pop(key))

    def _close_refusal(self, refusal: _Refusal) -> None:
        if refusal.more:
            event = refusal.event
            details = {**event.details, "repeated": refusal.more}
            self._audit.note(
                AuditEvent(event.kind, event.actor, event.repo, reason=event.reason, details=details)
            )

    def _note_use(self, record: Record) -> None:
        key = (record.caller.token_id, record.peer or "")
        now = self._now()
        if now - self._used.get(key, -_USE_SECONDS) < _USE_SECONDS:
            return
        if len(self._used) >= _MOST_KNOWN:
            self._used.clear()
        self._used[key] = now
        self._audit.note(
            AuditEvent(
                "token.use", self._actor(record), subject=record.caller.token_id, request_id=record.request_id
            )
        )

    def _actor(self, record: Record) -> Actor:
        return actor_of(record.caller, self._address_of(record.peer, record.forwarded), record.agent)

    def _refusal(self, exchange: Exchange, error: NotAllowed) -> AuditEvent:
        told: dict[str, object] = {"method": exchange.method, "route": exchange.route}
        if not isinstance(error, Recalled):
            kind = "token.refuse" if isinstance(error, BadToken) else "repo.deny"
            return self._event(exchange, kind, told, error)
        event = self._event(exchange, "file.deny", told, error)
        event = replace(event, rule=f"recall {error.recall_id}")
        if exchange.file is None:
            return event
        entry = exchange.file.entry
        return replace(event, commit_hash=exchange.file.commit_hash, path=entry.path, digest=entry.etag)

    def _event(
        self, record: Record, kind: str, details: dict[str, object], error: MoongateError | None = None
    ) -> AuditEvent:
        return AuditEvent(
            kind,
            self._actor(record),
            record.repo,
            effect="" if error is None else "deny",
            reason="" if error is None else f"{type(error).__name__}: {error.message}",
            request_id=record.request_id,
            details=details,
        )
