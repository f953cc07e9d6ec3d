"""The admin API's operations on feeds of threat intelligence.

Feeds are added and removed on the gateway's own machine: an address to fetch and a place to read a secret
from are not for whoever has a token.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict

from moongate.app.admin import feed_models as models
from moongate.app.admin.models import Gone, Model
from moongate.app.admin.operations import Asked, Operation, needing, required
from moongate.core.feeds import FeedRow
from moongate.core.verdicts import Finding
from moongate.hub.audit import Audit, AuditEvent
from moongate.hub.intelligence import Intelligence, Subject
from moongate.scan.feeds import refreshing
from moongate.scan.feeds.ledger import FeedLedger
from moongate.scan.feeds.options import FeedOptions
from moongate.scan.feeds.subjects import read_subject


def feed_operations(
    ledger: FeedLedger, refresher: refreshing.Refresher, intelligence: Intelligence, audit: Audit
) -> tuple[Operation, ...]:
    """The operations."""
    admin, name = _AdminFeeds(ledger, refresher, intelligence, audit), models.FeedName
    subject = ("subject",)
    return needing(
        "admin",
        Operation("GET", "/feeds", "Threat intelligence, and how old it is", admin.list, models.Feeds),
        Operation("GET", "/feeds/check", "What feeds know", admin.check, models.Checked, query=subject),
        Operation("GET", "/feeds/hunt", "What is kept and known to feeds", admin.hunt, models.Hunted),
        Operation("POST", "/feeds/refresh", "Fetch one now", admin.refresh, models.Refreshed, name),
        Operation("POST", "/feeds/approve", "Let it count", admin.approve, models.Refreshed, name),
        Operation("POST", "/feeds/refuse", "Forget what is held", admin.refuse, Gone, name),
    )


class _AdminFeeds:
    def __init__(
        self, ledger: FeedLedger, refresher: refreshing.Refresher, intelligence: Intelligence, audit: Audit
    ) -> None:
        self._ledger = ledger
        self._refresher = refresher
        self._intelligence = intelligence
        self._audit = audit

    async def list(self, _: Asked) -> Model:
        return await asyncio.to_thread(feeds_now, self._ledger)

    async def refresh(self, asked: Asked) -> Model:
        return models.Refreshed(**asdict(await self._refresher.refresh(asked.body.name, asked.actor)))

    async def approve(self, asked: Asked) -> Model:
        outcome = await self._refresher.approve(asked.body.name)
        await self._audit.recorded(refreshing.change_event(outcome, asked.actor))
        return models.Refreshed(**asdict(outcome))

    async def refuse(self, asked: Asked) -> Model:
        name = asked.body.name
        await asyncio.to_thread(refreshing.refuse, self._ledger, name)
        await self._audit.recorded(AuditEvent("feed.change", asked.actor, subject=name, effect="refused"))
        return Gone(removed=True)

    async def check(self, asked: Asked) -> Model:
        told = required(asked.query, "subject")
        subject = read_subject(told)
        found = await self._intelligence.ask(subject) if isinstance(subject, Subject) else (
            await asyncio.to_thread(self._intelligence.packages, subject)
        )  # fmt: skip
        return models.Checked(subject=told, findings=plain(found))

    async def hunt(self, _: Asked) -> Model:
        kept = await asyncio.to_thread(self._intelligence.kept_and_known)
        return models.Hunted(kept={etag: plain(found) for etag, found in kept.items()})


def feeds_now(ledger: FeedLedger) -> models.Feeds:
    """Every feed with its age and what it holds. Blocks."""
    return models.Feeds(
        version=ledger.feeds_version(), feeds=[_feed(ledger, feed) for feed in ledger.feeds()]
    )


def _feed(ledger: FeedLedger, feed: FeedRow) -> models.Feed:
    indicators, advisories, rules = ledger.generation_counts(feed.name, feed.generation)
    age = None if feed.fetched_at is None else max(0.0, time.time() - feed.fetched_at)
    stale_seconds = FeedOptions.of(feed.options).stale_seconds
    return models.Feed(
        name=feed.name,
        kind=feed.kind,
        url=feed.url,
        options=dict(feed.options),
        fetched_at=feed.fetched_at,
        age_seconds=age,
        stale=feed.kind != "virustotal" and (age is None or age > stale_seconds),
        trouble=feed.trouble,
        held=feed.held_why if feed.held_generation is not None else "",
        indicators=indicators,
        advisories=advisories,
        rules=rules,
    )


def plain(findings: tuple[Finding, ...]) -> list[dict[str, object]]:
    return [finding.as_json() for finding in findings]
