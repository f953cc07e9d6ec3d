"""`/-/feeds`: threat intelligence, how fresh it is, and what of it waits to count.

Feeds are added and removed on the gateway's own machine; see `admin_feeds`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from moongate.app.admin.feed_models import Feed
from moongate.app.admin.feeds import feeds_now
from moongate.app.pages.security import Place, Places
from moongate.app.pages.visits import PageAnswer, Sent, Shown, Visit, actor_of_visit
from moongate.core.errors import BadRequest
from moongate.core.feeds import FEED_KINDS
from moongate.scan.feeds import refreshing
from moongate.scan.feeds.ledger import FeedLedger
from moongate.web.feed_views import FeedCard, FeedsView, Tried

FEEDS_PATH: Final = "/-/feeds"
PLACE: Final[Place] = ("feeds", "Feeds", "radar", FEEDS_PATH)


class FeedPages:
    """For administrators."""

    def __init__(self, ledger: FeedLedger, refresher: refreshing.Refresher, places: Places) -> None:
        self._ledger = ledger
        self._refresher = refresher
        self._places = places

    async def list(self, visit: Visit) -> PageAnswer:
        return await self._page(visit)

    async def refresh(self, visit: Visit) -> PageAnswer:
        """Fetches one feed now; answers once it is here, or is known not to come."""
        outcome = await self._refresher.refresh(visit.form.get("name", ""), actor_of_visit(visit))
        return await self._page(visit, _tried(outcome))

    async def decide(self, visit: Visit) -> PageAnswer:
        """Lets what is held count, or forgets it."""
        name, decision = visit.form.get("name", ""), visit.form.get("decision", "")
        if decision == "approve":
            await self._refresher.approve(name)  # what is kept is held against it at once
        elif decision == "refuse":
            await asyncio.to_thread(refreshing.refuse, self._ledger, name)
        else:
            raise BadRequest("Let it count, or forget it.")
        visit.exchange.tell("feed.change", subject=name, reason=f"what was held: {decision}")
        return Sent(FEEDS_PATH)

    async def _page(self, visit: Visit, tried: Tried | None = None) -> Shown:
        feeds = (await asyncio.to_thread(feeds_now, self._ledger)).feeds
        view = FeedsView([_card(feed) for feed in feeds], tried)
        values = {"view": view, "places": self._places(visit), "place": "feeds"}
        return Shown("feeds", "Threat intelligence", values, section="security")


def _card(feed: Feed) -> FeedCard:
    counted = (
        ("indicators", feed.indicators),
        ("advisories", feed.advisories),
        ("rules", feed.rules),
    )
    return FeedCard(
        name=feed.name,
        kind=feed.kind,
        meaning=FEED_KINDS.get(feed.kind, ""),  # type: ignore[call-overload]
        url=feed.url,
        fetched_at=feed.fetched_at,
        stale=feed.stale,
        trouble=feed.trouble,
        held=feed.held,
        counts=[(name, count) for name, count in counted if count],
        asks_each_time=feed.kind == "virustotal",
    )


def _tried(outcome: refreshing.Outcome) -> Tried:
    words = {
        "same": "nothing is new there",
        "changed": "what it holds now counts",
        "held": f"it waits for you: {outcome.why}",
        "failed": outcome.why,
        "busy": outcome.why,
    }
    tone = {"failed": "bad", "held": "warn", "busy": "warn"}.get(outcome.how, "good")
    return Tried(outcome.feed, tone, words[outcome.how])
