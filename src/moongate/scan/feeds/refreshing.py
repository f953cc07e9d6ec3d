"""When feeds are fetched, by whom, and whether what came may count.

One process fetches a feed at a time, by a lease. What came is written as a generation that nobody sees yet;
it counts in one step, unless it looks wrong: it newly calls more of what is kept dangerous than the feed may,
or half of what it held is gone. Then it waits, the old one counts on, and somebody approves or refuses it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import structlog

from moongate.core.errors import Absent, BadRequest, Conflict, UpstreamError
from moongate.core.feeds import FeedRow
from moongate.core.hits import Indicator
from moongate.hub.audit import SYSTEM, Actor, Audit, AuditEvent
from moongate.scan.feeds.gathering import Fetch, Gathered, gather
from moongate.scan.feeds.ledger import FeedLedger
from moongate.scan.feeds.options import FeedOptions

OpenFetch: TypeAlias = Callable[[FeedRow, FeedOptions], AbstractAsyncContextManager[Fetch]]

_LEASE_SECONDS: Final = 1800.0
_FEWEST_KEPT: Final = 5
_FEWEST_HELD: Final = 100
_LONGEST_RETRY: Final = 900.0

log = structlog.get_logger("moongate.feeds")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a refresh did. why: what is held for, or what went wrong."""

    feed: str
    how: Literal["same", "changed", "held", "failed", "busy"]
    why: str = ""
    indicators: int = 0
    advisories: int = 0
    rules: int = 0


class Refresher:
    """Fetches feeds. Belongs to one event loop."""

    def __init__(
        self,
        ledger: FeedLedger,
        open_fetch: OpenFetch,
        audit: Audit,
        clock: Callable[[], float],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """changed: called when a feed says something else from now on."""
        self._changed = changed
        self._ledger = ledger
        self._open_fetch = open_fetch
        self._audit = audit
        self._clock = clock
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"

    async def refresh_due(self) -> list[Outcome]:
        """Fetches every feed whose time has come, one after the other."""
        feeds = await asyncio.to_thread(self._ledger.feeds)
        outcomes = [await self.refresh(feed.name) for feed in feeds if is_due(feed, self._clock())]
        for told in outcomes:
            if told.how != "same":
                say = log.info if told.how == "changed" else log.warning
                say("feed", feed=told.feed, how=told.how, why=told.why, indicators=told.indicators)
        return outcomes

    async def refresh(self, name: str, actor: Actor = SYSTEM) -> Outcome:
        """Fetches one feed now, unless another process is at it. What goes wrong is noted, and told.

        Raises:
            Absent: there is no such feed.
        """
        feed = await asyncio.to_thread(self._ledger.feed, name)
        if feed is None:
            raise Absent(f"there is no feed {name}")
        lease, now = f"feed:{name}", self._clock()
        if not await asyncio.to_thread(self._ledger.try_lease, lease, self._owner, _LEASE_SECONDS, now):
            return Outcome(name, "busy", "another process fetches it")
        try:
            async with self._open_fetch(feed, FeedOptions.of(feed.options)) as fetch:
                gathered = await gather(feed, fetch, now)
            outcome = await asyncio.to_thread(take, self._ledger, feed, gathered, now)
        except (UpstreamError, BadRequest) as error:
            outcome = Outcome(name, "failed", error.message)
            await asyncio.to_thread(self._ledger.note_feed_try, name, now, error.message)
        finally:
            await asyncio.to_thread(self._ledger.release_lease, lease, self._owner)
        if outcome.how == "changed":
            self._changed()
        if outcome.how in ("changed", "held"):
            await self._audit.recorded(change_event(outcome, actor))
        return outcome

    async def approve(self, name: str) -> Outcome:
        """Lets what is held count.

        Raises:
            Absent, Conflict: as `approve` below.
        """
        outcome = await asyncio.to_thread(approve, self._ledger, name)
        self._changed()
        return outcome


def change_event(outcome: Outcome, actor: Actor) -> AuditEvent:
    counts = {
        "indicators": outcome.indicators, "advisories": outcome.advisories, "rules": outcome.rules
    }  # fmt: skip
    return AuditEvent("feed.change", actor, subject=outcome.feed, effect=outcome.how, reason=outcome.why,
                      details=counts)  # fmt: skip


def is_due(feed: FeedRow, now: float) -> bool:
    """Whether a feed's time has come; after trouble it is tried again sooner."""
    if feed.kind == "virustotal":
        return False
    every = FeedOptions.of(feed.options).every_seconds
    if feed.trouble:
        every = min(every, _LONGEST_RETRY)
    last = max(feed.fetched_at or 0.0, feed.tried_at or 0.0)
    return now - last >= every


def take(ledger: FeedLedger, feed: FeedRow, gathered: Gathered, now: float) -> Outcome:
    """Writes what was gathered, and lets it count or holds it. Blocks.

    Raises:
        UpstreamBroken: it turned out malformed while it was read; nothing of it counts.
    """
    ledger.drop_generations(feed.name)
    if gathered.how == "same" and feed.generation:
        ledger.note_feed_fetch(feed.name, gathered.state, now)
        return Outcome(feed.name, "same")
    # What is held is part of what is known: the next hour comes on top of it.
    shown = feed.held_generation or feed.generation
    number = ledger.begin_generation(feed.name, shown if gathered.how == "more" else None)
    if gathered.how == "more":
        ledger.drop_indicators(feed.name, number, gathered.gone, gathered.gone_sources)
    ledger.add_indicators(feed.name, number, (one for one in gathered.indicators if fits(one)))
    ledger.add_advisories(feed.name, number, gathered.advisories)
    ledger.add_rules(feed.name, number, gathered.rules)
    counts = ledger.generation_counts(feed.name, number)
    why = doubt(ledger, feed, number)
    # The state comes last: dying before it means that the same is fetched, and written, once more.
    if why:
        ledger.hold_generation(feed.name, number, why, feed.generation)
    else:
        ledger.show_generation(feed.name, number)
    ledger.note_feed_fetch(feed.name, gathered.state, now)
    return Outcome(feed.name, "held" if why else "changed", why, *counts)


def fits(told: Indicator) -> bool:
    """Whether an index takes it: no half surrogates, no NUL, of sane length."""
    texts = (told.value, told.label, told.source)
    return all(len(text) <= 4096 and "\0" not in text and _is_utf8(text) for text in texts)


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def doubt(ledger: FeedLedger, feed: FeedRow, number: int) -> str:
    """Why a new generation should not count before somebody looked; empty: nothing against it."""
    most = FeedOptions.of(feed.options).most_kept_percent
    new = ledger.kept_in_generation(feed.name, number)
    if feed.generation:
        new -= ledger.kept_in_generation(feed.name, feed.generation)
    kept = ledger.kept_count()
    if len(new) > _FEWEST_KEPT and len(new) * 100 > most * kept:
        return f"it newly calls {len(new)} of {kept} kept files dangerous, more than {most:g} %"
    repos = _repos_named(ledger, feed.name, number)
    if feed.generation:
        repos -= _repos_named(ledger, feed.name, feed.generation)
    known = len(ledger.repo_keys()) if repos else 0
    if len(repos) > _FEWEST_KEPT and len(repos) * 100 > most * known:
        return f"it newly names {len(repos)} of {known} known repositories, more than {most:g} %"
    before, after = (
        sum(ledger.generation_counts(feed.name, feed.generation)),
        sum(ledger.generation_counts(feed.name, number)),
    )
    if feed.generation and before >= _FEWEST_HELD and after * 2 < before:
        return f"it held {before} statements, and now {after}"
    return ""


def _repos_named(ledger: FeedLedger, name: str, generation: int) -> set[str]:
    """Known repositories that a generation names, by themselves or by their authors."""
    told = {
        (one.kind, one.value)
        for one in ledger.indicators_of(name, generation)
        if one.kind in ("repo", "author")
    }
    if not told:
        return set()
    return {
        key
        for key in ledger.repo_keys()
        if ("repo", key.lower()) in told or ("author", key.split("/")[1].lower()) in told
    }


def approve(ledger: FeedLedger, name: str) -> Outcome:
    """Lets what is held count.

    Raises:
        Absent: there is no such feed.
        Conflict: nothing of it is held.
    """
    feed = _held(ledger, name)
    assert feed.held_generation is not None  # noqa: S101
    counts = ledger.generation_counts(name, feed.held_generation)
    ledger.show_generation(name, feed.held_generation)
    return Outcome(name, "changed", "approved", *counts)


def refuse(ledger: FeedLedger, name: str) -> None:
    """Forgets what is held; the feed goes on from what counts.

    Raises:
        Absent, Conflict: as `approve`.
    """
    _held(ledger, name)
    ledger.release_held(name)


def _held(ledger: FeedLedger, name: str) -> FeedRow:
    feed = ledger.feed(name)
    if feed is None:
        raise Absent(f"there is no feed {name}")
    if feed.held_generation is None:
        raise Conflict(f"nothing of the feed {name} is held")
    return feed
