"""The admin API's operations on feeds of threat intelligence.

Feeds are added and removed on the gateway's own machine: an address to fetch and a place to read a secret
from are not for whoever has a token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from moongate.app import feed_models as models
from moongate.app.admin_models import Gone, Model
from moongate.core.errors import BadRequest
from moongate.core.feeds import FeedRow
from moongate.core.verdicts import Finding
from moongate.hub.audit import Actor, Audit, AuditEvent
from moongate.hub.intelligence import Intelligence, Subject
from moongate.scan.feeds import refreshing
from moongate.scan.feeds.ledger import FeedLedger
from moongate.scan.feeds.options import FeedOptions
from moongate.scan.feeds.subjects import read_subject


class Asked(Protocol):
    """A request to one operation; see `admin_routes.Asked`."""

    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> Any: ...  # a value of the operation's `takes`
    @property
    def actor(self) -> Actor: ...


class AdminFeeds:
    """Runs these operations."""

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
        told = asked.query.get("subject")
        if not told:
            raise BadRequest("the query lacks 'subject'")
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
