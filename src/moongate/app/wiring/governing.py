"""Who decides what may pass, on whose request, and who hears of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from moongate.app.admin.webhooks import Hooks
from moongate.app.governing import Governing, govern
from moongate.app.settings import Settings
from moongate.app.wiring.names import USER_AGENT
from moongate.app.wiring.stock import Stock
from moongate.hub.audit import Audit
from moongate.policy.announcing import AnnouncingAudit, Outbox
from moongate.policy.courier import Courier
from moongate.policy.desk import Desk
from moongate.store.serial import Serial
from moongate.upstream.posting import Poster


def open_desk(stock: Stock) -> Desk:
    """Requests and waivers of a home. Usable from any thread, beside a running gateway."""

    audit = announced(stock, stock.audit)
    changed, two = open_changes(stock).raise_it, stock.settings.two_approvers
    return Desk(stock.index, audit, time.time, two_persons=two, changed=changed)


def make_governing(stock: Stock, audit: Audit) -> tuple[Governing, Serial]:
    """What governs a gateway, and the number that all processes of its home share."""

    settings, changes = stock.settings, open_changes(stock)
    governing = govern(
        settings.policy,
        stock.index,
        audit,
        two_persons=settings.two_approvers,
        changes=lambda: changes.value,
        changed=changes.raise_it,
    )
    return governing, changes


def open_changes(stock: Stock) -> Serial:
    """The number that says to all processes of a home that something may pass no longer, or now may."""

    return Serial(stock.layout.home / "guard.serial")


def announced(stock: Stock, audit: Audit) -> Audit:
    """An audit log whose events are kept for webhooks, too."""

    return AnnouncingAudit(audit, Outbox(stock.index, source_of_events(stock.settings)))


@dataclass(frozen=True, slots=True)
class Announcing:
    """What brings events to webhooks, and what administrators do with those. Belongs to an event loop."""

    courier: Courier
    hooks: Hooks
    poster: Poster

    async def close(self) -> None:
        await self.courier.stop()
        await self.poster.close()


def announce_of(stock: Stock) -> Announcing:
    """The webhooks of a home. Nothing is sent before the courier is started."""

    settings = stock.settings
    poster = Poster(settings.webhook_allowed_hosts, settings.upstream_timeout_seconds, USER_AGENT)
    courier = Courier(stock.index, poster)
    hooks = Hooks(stock.index, courier, poster.check, source_of_events(settings), stock.audit)
    return Announcing(courier, hooks, poster)


def source_of_events(settings: Settings) -> str:
    return settings.public_url or f"http://{settings.host}:{settings.port}"
