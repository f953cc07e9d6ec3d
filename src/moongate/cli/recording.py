"""What commands tell the audit log of a home: who sits at this machine, and what they did."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moongate.app.wiring.stock import Stock
    from moongate.hub.audit import Actor, AuditEvent


def local_actor() -> Actor:
    """Whoever runs this command."""
    from moongate.hub.audit import Actor

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return Actor(name, "local", agent="moongate")


def written(house: Stock, kind: str, **more: Any) -> None:
    """Has it written down that this was done here; see `hub.audit.AuditEvent` for what can be said.

    Raises:
        StoreError: it could not be written.
    """
    from moongate.hub.audit import AuditEvent

    record(house, AuditEvent(kind, local_actor(), **more))


def record(house: Stock, event: AuditEvent) -> None:
    """As `written`, for an event that somebody else made. A running gateway announces it to webhooks.

    Raises:
        StoreError: it could not be written.
    """
    from moongate.app.wiring.governing import announced

    announced(house, house.audit).record(event)
