"""What a running gateway does on the side: notes reads, keeps the quota, judges anew, tidies up hourly.

Every worker notes its own reads; of the chores that concern the store as a whole, a lease in the index
lets one process do each.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from moongate.app.metrics import Metrics
from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.hub.fill import Fills

_NOTE_SECONDS = 5.0
_EVICT_SECONDS = 60.0
_TIDY_SECONDS = 3600.0
_FEEDS_SECONDS = 15.0
_DIGESTS_AT_ONCE = 5000
_JUDGE_SECONDS = 60.0

log = structlog.get_logger("moongate.upkeep")


class ReadLedger(Protocol):
    """What upkeep needs of the index."""

    @property
    def was_created(self) -> bool: ...
    def touch_blobs(self, read_at: Mapping[Etag, float]) -> None: ...
    def touch_reconstructions(self, read_at: Mapping[str, float]) -> None: ...
    def flush_reads(self, now: float) -> None: ...
    def try_lease(self, name: str, owner: str, seconds: float, now: float) -> bool: ...


class XetReads(Protocol):
    """What upkeep needs of `hub.xet_files.XetFiles`."""

    def take_reads(self) -> dict[str, float]: ...


class Evicted(Protocol):
    """What an eviction did."""

    @property
    def files(self) -> int: ...
    @property
    def xet_files(self) -> int: ...
    @property
    def freed_bytes(self) -> int: ...


class Keeper(Protocol):
    """What upkeep needs of the store's keeping."""

    def evict(self, stop: Callable[[], bool]) -> Evicted: ...
    def collect(self, *, stop: Callable[[], bool]) -> object: ...
    def note_digests(self, stop: Callable[[], bool], most: int) -> int: ...


class Feeds(Protocol):
    """What upkeep needs of `scan.feeds.refreshing.Refresher`."""

    async def refresh_due(self) -> Sequence[object]: ...


class Rejudges(Protocol):
    """What upkeep needs of `hub.rejudging.Rejudging`."""

    def has_news(self) -> bool: ...
    def run(self, stop: Callable[[], bool]) -> int: ...


class Upkeep:
    """A background task; `start` it on a running loop, `stop` it before the index closes."""

    def __init__(  # noqa: PLR0913 - it looks after many rooms
        self,
        fills: Fills,
        xets: XetReads,
        index: ReadLedger,
        keeping: Keeper,
        metrics: Metrics,
        retain: Callable[[], int] = lambda: 0,
        feeds: Feeds | None = None,
        rejudging: Rejudges | None = None,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        """
        retain: lets go of what retention rules do not keep, and says how many files that was.
        rejudging: judges again what is outdated.
        forget: lets go of ways in that have ended.
        """
        self._rejudging = rejudging
        self._forget = forget
        self._retain = retain
        self._feeds = feeds
        self._fills = fills
        self._xets = xets
        self._index = index
        self._keeping = keeping
        self._metrics = metrics
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._task: asyncio.Task[None] | None = None
        self._feeds_task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run())
        if self._feeds is not None:
            self._feeds_task = loop.create_task(self._keep_feeds(self._feeds))

    async def stop(self) -> None:
        """Ends the task and notes the last reads."""
        self._stopping = True
        tasks = [task for task in (self._task, self._feeds_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._feeds_task = None
        await self._guarded("note", self._note)

    async def _run(self) -> None:
        if self._index.was_created:
            await self._guarded("register", self._collect)
        next_evict = next_tidy = next_judge = time.monotonic() + _NOTE_SECONDS
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            await self._guarded("note", self._note)
            now = time.monotonic()
            if now >= next_evict:
                next_evict = now + _EVICT_SECONDS
                await self._guarded("evict", self._evict)
            if now >= next_judge:
                next_judge = now + _JUDGE_SECONDS
                await self._guarded("judge again", self._judge)
            else:
                await self._guarded("judge again", self._judge_by_news)
            if now >= next_tidy:
                next_tidy = now + _TIDY_SECONDS
                await self._guarded("tidy", self._collect)

    async def _keep_feeds(self, feeds: Feeds) -> None:
        """Fetches feeds when their time comes. A task of its own: a slow feed keeps nothing else waiting."""
        while True:
            try:
                await feeds.refresh_due()
            except StoreError as error:
                log.warning("upkeep failed", chore="feeds", why=error.message)
            await asyncio.sleep(_FEEDS_SECONDS)

    async def _guarded(self, chore: str, work: Callable[[], None]) -> None:
        """A chore that fails is told, and tried again in its next turn."""
        try:
            await asyncio.to_thread(work)
        except StoreError as error:
            log.warning("upkeep failed", chore=chore, why=error.message)

    def _note(self) -> None:
        reads = self._fills.take_reads()
        if reads:
            self._index.touch_blobs(reads)
        self._index.touch_reconstructions(self._xets.take_reads())
        self._index.flush_reads(time.time())

    def _evict(self) -> None:
        if not self._index.try_lease("evict", self._owner, _EVICT_SECONDS, time.time()):
            return
        self._keeping.note_digests(lambda: self._stopping, _DIGESTS_AT_ONCE)
        evicted = self._keeping.evict(lambda: self._stopping)
        if evicted.files or evicted.freed_bytes:
            self._metrics.evicted(evicted.files, evicted.freed_bytes)
            log.info(
                "evicted",
                files=evicted.files,
                xet_files=evicted.xet_files,
                freed_bytes=evicted.freed_bytes,
            )

    def _judge_by_news(self) -> None:
        """What feeds say now does not wait for the next turn."""
        if self._rejudging is not None and self._rejudging.has_news():
            self._judge()

    def _judge(self) -> None:
        if self._rejudging is None:
            return
        if self._index.try_lease("judge again", self._owner, _JUDGE_SECONDS, time.time()):
            count = self._rejudging.run(lambda: self._stopping)
            if count:
                log.info("judged again", contents=count)

    def _collect(self) -> None:
        if self._index.try_lease("tidy", self._owner, _TIDY_SECONDS, time.time()):
            self._forget()
            released = self._retain()
            if released:
                log.info("let go of old revisions", files=released)
            self._keeping.collect(stop=lambda: self._stopping)
