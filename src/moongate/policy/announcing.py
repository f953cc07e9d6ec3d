"""Events for other programs: CloudEvents, made of what the audit log is told, and kept until they are sent.

    AnnouncingAudit ── Audit     writes the line first
         └── Outbox              then keeps the event for every webhook that wants it

Source: CloudEvents 1.0, JSON format, structured mode.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from moongate.core.errors import StoreError
from moongate.core.webhooks import DeliveryRow, HookRow
from moongate.hub.audit import KINDS as EVENTS
from moongate.hub.audit import Audit, AuditEvent
from moongate.hub.notes import write_down

PREFIX: Final = "io.moongate."

TYPES: Final[Mapping[str, str]] = {
    "approval.request": "request.opened",
    "approval.grant": "request.decided",
    "approval.refuse": "request.decided",
    "waiver.create": "waiver.created",
    "waiver.revoke": "waiver.revoked",
    "file.deny": "file.denied",
    "repo.deny": "repo.denied",
    "commit.deny": "commit.denied",
    "scan.detect": "content.detected",
    "policy.change": "policy.changed",
    "feed.change": "feed.changed",
    "recall.create": "recall.started",
    "recall.undo": "recall.undone",
    "repo.commit": "repo.committed",
}
"""Kinds of audit events that are announced, and what they are called then."""

TEST: Final = "webhook.test"
KINDS: Final = tuple(sorted({*TYPES.values(), TEST}))

MEANINGS: Final[Mapping[str, str]] = {
    **{kind: EVENTS[event] for event, kind in TYPES.items()},
    "request.decided": "an approval was given or refused",
}
"""What each kind tells, but for tests."""

_HOOKS_HOLD_SECONDS = 2.0


class HookShelf(Protocol):
    """What is needed of the index."""

    def hooks(self) -> list[HookRow]: ...
    def put_deliveries(self, deliveries: Sequence[DeliveryRow]) -> None: ...


class Outbox:
    """Keeps events for webhooks. Blocks; for any thread."""

    def __init__(self, shelf: HookShelf, source: str, clock: Callable[[], float] = time.time) -> None:
        """source: what events say that they come from, such as our public address."""
        self._shelf = shelf
        self._source = source
        self._clock = clock
        self._hooks: list[HookRow] = []
        self._hooks_until = 0.0

    def wants(self, event: AuditEvent) -> bool:
        """Whether some webhook wants it, as far as was known two seconds ago."""
        kind = TYPES.get(event.kind)
        return kind is not None and any(hook.wants(kind) for hook in self._known())

    def put(self, event: AuditEvent) -> None:
        """Keep an event for every webhook that wants it.

        Raises:
            StoreError: it could not be kept.
        """
        kind, now = TYPES[event.kind], self._clock()
        body = cloud_event(kind, _data(event), self._source, event.at or now, _subject(event))
        rows = [
            DeliveryRow(f"d-{secrets.token_hex(8)}", hook.id, kind, body, "waiting", now, now)
            for hook in self._known()
            if hook.wants(kind)
        ]
        if rows:
            self._shelf.put_deliveries(rows)

    def _known(self) -> list[HookRow]:
        now = self._clock()
        if now >= self._hooks_until:
            self._hooks = self._shelf.hooks()
            self._hooks_until = now + _HOOKS_HOLD_SECONDS
        return self._hooks


class AnnouncingAudit:
    """An audit whose events are announced, too. What cannot be announced is audited all the same."""

    def __init__(self, audit: Audit, outbox: Outbox) -> None:
        self._audit = audit
        self._outbox = outbox

    def note(self, event: AuditEvent) -> None:
        """See `Audit.note`. What is only noted is not announced: there is too much of it."""
        self._audit.note(event)

    def record(self, event: AuditEvent) -> None:
        """See `Audit.record`."""
        self._audit.record(event)
        self._announce(event)

    async def recorded(self, event: AuditEvent) -> None:
        """See `Audit.recorded`."""
        await self._audit.recorded(event)
        if event.kind in TYPES:
            await write_down(self._announce, event)

    def settled(self) -> Callable[[], bool]:
        """See `Audit.settled`."""
        return self._audit.settled()

    def _announce(self, event: AuditEvent) -> None:
        try:
            if self._outbox.wants(event):
                self._outbox.put(event)
        except StoreError:
            pass  # the line is written, and whoever reads the log finds it there


def cloud_event(kind: str, data: Mapping[str, Any], source: str, at: float, subject: str = "") -> str:
    """The JSON of one event."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": secrets.token_hex(16),
        "source": source,
        "type": PREFIX + kind,
        "time": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        **({"subject": subject} if subject else {}),
        "data": dict(data),
    }
    return json.dumps(event, ensure_ascii=False)


def _subject(event: AuditEvent) -> str:
    return event.subject or (str(event.repo) if event.repo is not None else "")


def _data(event: AuditEvent) -> dict[str, Any]:
    told: dict[str, Any] = {
        "event": event.kind,
        "actor": event.actor.name,
        "actor_kind": event.actor.kind,
        "repo": None if event.repo is None else str(event.repo),
        "repo_type": None if event.repo is None else event.repo.repo_type,
        "commit": event.commit_hash or None,
        "path": event.path or None,
        "digest": event.digest or None,
        "effect": event.effect or None,
        "rule": event.rule or None,
        "reason": event.reason or None,
        "subject": event.subject or None,
        "details": dict(event.details),
    }
    return {name: value for name, value in told.items() if value is not None}
