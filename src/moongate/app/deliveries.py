"""Tells the audit log which files went to whom, when their answers have ended."""

from __future__ import annotations

from moongate.app.exchange import Record
from moongate.hub.audit import Audit, AuditEvent, actor_of

_DELIVERED = (200, 206)


class Deliveries:
    """Told of every finished exchange; takes note of those in which a file went out."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def __call__(self, record: Record) -> None:
        file = record.file
        if file is None or record.method != "GET" or record.status not in _DELIVERED:
            return
        if record.route.startswith("Cas"):
            details: dict[str, object] = {"xet": True}
        elif record.sent_bytes:
            details = {"bytes": record.sent_bytes, "status": record.status}
        else:
            return
        if record.error:
            details["broken_off"] = record.error
        self._audit.note(
            AuditEvent(
                "file.deliver",
                actor_of(record.caller, record.peer, record.agent),
                file.repo,
                file.commit_hash,
                file.entry.path,
                file.entry.etag,
                request_id=record.request_id,
                details=details,
            )
        )
