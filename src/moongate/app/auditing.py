"""What the front door tells the audit log: who got which bytes, who was refused, what was changed.

    begins     whoever is about to get bytes of a file, before the first of them            (in the journal)
    finished   every exchange, after it ended: deliveries, tokens used from somewhere new   (noted)
    refused    who may not, before the answer goes out                                      (recorded)
    told       what a handler said has happened, before the answer goes out                 (recorded)

Many ranges of one file that one client reads are one line: it is written once the client asked for no
more of the file for `_QUIET_SECONDS`, at the latest after `_LONGEST_SECONDS`. Until then the journal knows
of it (`deliveries`), so that a kill -9 hides nobody who received bytes. Refusals of the same caller for the
same reason are counted after the first one, which was recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from moongate.app.deliveries import Begun, Journal, NoJournal, begun, begun_again
from moongate.app.exchange import Exchange, Record
from moongate.core.callers import Caller
from moongate.core.errors import AuthRequired, BadToken, MoongateError, NotAllowed, Recalled, StoreError
from moongate.core.records import FileAt
from moongate.hub.audit import Actor, Audit, AuditEvent, actor_of

_QUIET_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.5
_RENEW_SECONDS: Final = 10.0
_COMPLAIN_SECONDS: Final = 60.0
_REFUSAL_SECONDS: Final = 10.0
_USE_SECONDS: Final = 3600.0
_WRITTEN_ELSEWHERE: Final = ("RefusedByPolicy", "HeldByPolicy")
"""Refusals that the gate itself writes down, with its rules and verdicts."""

_KINDS_OF_TOKENS: Final = {"upstream": "hub"}
_MOST_OPEN: Final = 20_000
_MOST_KNOWN: Final = 20_000

AddressOf = Callable[[str | None, str | None], str]
"""A client's address, of the peer's and what proxies forwarded."""


log = structlog.get_logger("moongate.audit")


class Asker(Protocol):
    """Who asks, by what request: a `Record` is one."""

    @property
    def caller(self) -> Caller: ...
    @property
    def peer(self) -> str | None: ...
    @property
    def request_id(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def forwarded(self) -> str | None: ...


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
        details: dict[str, object] = {"way": self.way}
        if self.bytes:  # else it was cut off, and nobody counted what went before
            details["bytes"] = self.bytes
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
    """Belongs to one event loop; `settle` before it ends, and `forget` after the log was closed.

    begun: deliveries that the journal knows, until they are noted. under way: which of them each request is
    about. former: journals that go once the log wrote what they knew. stale: lines that a renewal drops.
    """

    def __init__(
        self,
        audit: Audit,
        address_of: AddressOf = lambda peer, _: peer or "",
        now: Callable[[], float] = time.time,
        journal: Journal | None = None,
    ) -> None:
        self._audit = audit
        self._address_of = address_of
        self._now = now
        self._journal = journal or NoJournal()
        self._begun: dict[Hashable, Begun] = {}
        self._under_way: dict[str, tuple[Hashable, ...]] = {}
        self._former: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        self._renewed = 0.0
        self._complained = 0.0
        self._stale_lines = 0
        self._open: dict[Hashable, _Delivery] = {}
        self._refusals: dict[Hashable, _Refusal] = {}
        self._used: dict[tuple[str, str], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begins(self, asker: Asker, *files: FileAt, way: str = "plain") -> tuple[Hashable, ...]:
        """Bytes of these files are about to go out, until `finished` is told of the same request.

        Returns what `begins_again` wants for the same asker's next request for the same files.
        """
        keys = tuple([_key(asker, file) for file in files])
        for key, file in zip(keys, files, strict=True):
            if key not in self._begun:
                address = self._address_of(asker.peer, asker.forwarded)
                actor = actor_of(asker.caller, address, asker.agent)
                self._begin(key, begun(actor, file, way, asker.request_id, self._now()))
        self._under_way[asker.request_id] = keys
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
        return keys

    def begins_again(self, request_id: str, keys: tuple[Hashable, ...]) -> bool:
        """As `begins`, while the journal knows what is about to go out; False: it does not any more."""
        for key in keys:
            if key not in self._begun:
                return False
        self._under_way[request_id] = keys
        return True

    def finished(self, record: Record, ended: float | None = None) -> None:
        """An exchange ended, now or at a time a moment ago."""
        keys = self._under_way.pop(record.request_id, ())
        is_cut = bool(keys and record.error)
        if record.caller.kind != "anonymous" and record.caller.method != "session":
            self._note_use(record)
        if record.method == "HEAD" or (record.file is None and not record.reconstructed):
            is_sent = record.sent_bytes or record.error  # of what was cut, the last piece is not counted
            if record.route == "GitUploadPack" and is_sent and record.status == 200:
                self._audit.note(self._event(record, "git.fetch", {"bytes": record.sent_bytes}))
            return
        ended = self._now() if ended is None else ended
        is_plain = not record.route.startswith("Cas")
        is_sent = is_plain and (record.sent_bytes or is_cut) and record.status in (200, 206)
        if record.file is not None and is_sent:
            key = keys[0] if len(keys) == 1 else _key(record, record.file)
            self._add(key, record, record.file, record.sent_bytes, ended)
        for file, size_bytes in record.reconstructed:
            self._add(_key(record, file), record, file, size_bytes, ended)
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
        self._close(list(self._open))
        self._close_refusals(float("inf"))

    def forget(self) -> None:
        """Lets the journal go, after the log was closed, when the log has all that it told."""
        if not self._under_way and self._audit.settled()():
            self._journal.end()
            for _, forget in self._former:
                forget()

    def _begin(self, key: Hashable, one: Begun) -> None:
        self._begun[key] = one
        try:
            self._journal.append(one.line)
        except StoreError as error:
            if self._now() - self._complained >= _COMPLAIN_SECONDS:
                log.warning("deliveries that begin cannot be written down", why=error.message)
                self._complained = self._now()

    def _close(self, keys: Sequence[Hashable]) -> None:
        """Notes deliveries; what is still under way of them begins anew."""
        under_way = {key: word for word, those in self._under_way.items() for key in those}
        for key in keys:
            self._audit.note(self._open.pop(key).event())
            before = self._begun.pop(key, None)
            if before is None:
                continue
            self._stale_lines += 1
            if key in under_way:
                self._begin(key, begun_again(before, under_way[key], self._now()))

    def _renew(self, now: float) -> None:
        """Goes on in a journal of what is under way; the former one goes once the log wrote what it knew."""
        idle = self._begun.keys() - self._open.keys()
        if idle:  # asked for, and nothing was sent
            going = {key for those in self._under_way.values() for key in those}
            for key in idle - going:
                del self._begun[key]
                self._stale_lines += 1
        if self._stale_lines and now - self._renewed >= _RENEW_SECONDS:
            is_written = self._audit.settled()
            try:
                forget = self._journal.renew([one.line for one in self._begun.values()])
            except StoreError as error:
                log.warning("the journal of deliveries could not be renewed", why=error.message)
            else:
                self._former.append((is_written, forget))
                self._stale_lines = 0
            self._renewed = now
        gone = [one for one in self._former if one[0]()]
        for one in gone:
            self._former.remove(one)
            one[1]()

    def _add(self, key: Hashable, record: Record, file: FileAt, size_bytes: int, ended: float) -> None:
        delivery = self._open.get(key)
        if delivery is None:
            if len(self._open) >= _MOST_OPEN:
                self.settle()
            way = "xet" if record.reconstructed else "plain"
            before = self._begun.get(key)
            request_id = record.request_id if before is None else before.request_id
            delivery = _Delivery(self._actor(record), file, way, request_id, ended, ended)
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
        self._close(done)
        self._close_refusals(now)
        self._renew(now)
        if self._open or self._refusals or self._begun or self._former or self._stale_lines:
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
        caller = record.caller
        name = caller.token_id or caller.key  # Hub tokens and signed tokens have no id of ours
        key, now = (name, record.peer or ""), self._now()
        if now - self._used.get(key, -_USE_SECONDS) < _USE_SECONDS:
            return
        if len(self._used) >= _MOST_KNOWN:
            self._used.clear()
        self._used[key] = now
        details = {} if caller.token_id else {"token": _KINDS_OF_TOKENS.get(caller.kind, "signed")}
        self._audit.note(
            AuditEvent(
                "token.use",
                self._actor(record),
                subject=name,
                request_id=record.request_id,
                details=details,
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


def _key(asker: Asker, file: FileAt) -> Hashable:
    """By what deliveries to the same client of the same file are the same."""
    caller, entry = asker.caller, file.entry
    return (
        entry.etag,
        entry.path,
        file.commit_hash,
        file.repo.repo_type,  # a repository is hashed anew each time, and its words once
        file.repo.repo_id,
        caller.key,
        caller.token_id,
        asker.peer,
    )
