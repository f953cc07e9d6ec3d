"""Questions about one hash to services such as VirusTotal.

Only the sha256 leaves, and only of what upstream has: never of what is hosted here. Each hash is asked once
at a time, answers are kept (those about young files for a shorter time), and quotas are counted in the index,
so that all processes share them. A service that cannot be asked says nothing; nobody waits for it for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Final
from urllib.parse import quote

import structlog

from moongate.core.errors import UpstreamBroken, UpstreamBusy, UpstreamError
from moongate.core.feeds import FeedRow, ServiceAnswer
from moongate.core.hits import day_and_time
from moongate.hub.intelligence import Subject
from moongate.scan.feeds.gathering import Fetched
from moongate.scan.feeds.ledger import ServiceLedger
from moongate.scan.feeds.options import FeedOptions
from moongate.scan.feeds.refreshing import OpenFetch
from moongate.scan.feeds.virustotal import is_sha256, read_file, ttl_seconds

_PATIENCE_SECONDS: Final = 5.0
_BUSY_SECONDS: Final = 60.0

log = structlog.get_logger("moongate.feeds")


class HashServices:
    """Asks the configured services. Belongs to one event loop; `close` it before the index."""

    def __init__(
        self,
        ledger: ServiceLedger,
        open_fetch: OpenFetch,
        clock: Callable[[], float],
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._open_fetch = open_fetch
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._silent_until: dict[str, float] = {}

    async def ask(self, subject: Subject) -> None:
        """Lets services be asked about the subject's sha256 where their answers are missing or stale.

        Returns when they answered, or when it takes too long; then the answer still comes in.
        """
        sha256 = subject.sha256
        if subject.hosted or sha256 is None or not is_sha256(sha256):
            return
        services = [feed for feed in await asyncio.to_thread(self._ledger.feeds) if feed.kind == "virustotal"]
        tasks = [self._task(feed, sha256) for feed in services if not self._is_known(feed, sha256)]
        if tasks:
            await asyncio.wait(tasks, timeout=self._patience_seconds)

    async def close(self) -> None:
        """Ends the questions in the air."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_known(self, feed: FeedRow, sha256: str) -> bool:
        now = self._clock()
        if now < self._silent_until.get(feed.name, 0.0):
            return True
        answer = self._ledger.service_answer(feed.name, sha256)
        return answer is not None and now < answer.fresh_until

    def _task(self, feed: FeedRow, sha256: str) -> asyncio.Task[None]:
        key = (feed.name, sha256)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(feed, sha256))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return task

    async def _ask(self, feed: FeedRow, sha256: str) -> None:
        options, now = FeedOptions.of(feed.options), self._clock()
        if not await asyncio.to_thread(self._may_ask, feed.name, options, now):
            return
        try:
            async with self._open_fetch(feed, options) as fetch:
                answer = await fetch(f"{feed.url.rstrip('/')}/api/v3/files/{quote(sha256)}")
            told = _answer_of(feed.name, sha256, answer, now)
        except UpstreamBusy as error:
            self._silent_until[feed.name] = now + max(_BUSY_SECONDS, error.retry_after_seconds)
            await self._trouble(feed.name, now, error)
        except UpstreamError as error:
            self._silent_until[feed.name] = now + _BUSY_SECONDS
            await self._trouble(feed.name, now, error)
        else:
            await asyncio.to_thread(self._ledger.put_service_answer, told)
            await asyncio.to_thread(self._ledger.note_feed_fetch, feed.name, {}, now)

    def _may_ask(self, service: str, options: FeedOptions, now: float) -> bool:
        minute, day = day_and_time(now)[:16], day_and_time(now)[:10]
        self._ledger.prune_service_use(service, day)
        return self._ledger.use_service(service, minute, options.per_minute) and self._ledger.use_service(
            service, day, options.per_day
        )

    async def _trouble(self, name: str, now: float, error: UpstreamError) -> None:
        log.warning("service not asked", feed=name, why=error.message)
        await asyncio.to_thread(self._ledger.note_feed_try, name, now, error.message)


def _answer_of(service: str, sha256: str, answer: Fetched, now: float) -> ServiceAnswer:
    """
    Raises:
        UpstreamBroken: it is no answer to the question.
    """
    if answer.status == 404:
        return ServiceAnswer(service, sha256, None, now, now + ttl_seconds(None, now))
    if answer.status in (401, 403):
        raise UpstreamBroken("the service does not take the key")
    if answer.status != 200:
        raise UpstreamBroken(f"the service answered {answer.status}")
    standing = read_file(answer.body, sha256)
    return ServiceAnswer(service, sha256, asdict(standing), now, now + ttl_seconds(standing, now))
