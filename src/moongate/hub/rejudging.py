"""Looking again at what is kept, when rules or feeds say more than they did, or a scan failed.

Until then what was said before stands. When feeds changed, what they know is looked for first (a retro-hunt),
and then the most used content; where only feeds changed, no scanner is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Judged, Versions
from moongate.hub.judging import Judging

MOST_AT_ONCE: Final = 200
_SECONDS_AT_ONCE = 20.0

log = structlog.get_logger("moongate.judging")


class Rejudging:
    """For one thread at a time; blocks."""

    def __init__(
        self,
        judging: Judging,
        read: Callable[[Etag, ByteSpan], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """read: a span that lies inside content that is here."""
        self._judging = judging
        self._read = read
        self._clock = clock
        self._stuck: set[tuple[Etag, str]] = set()
        self._versions: Versions | None = None
        self._hunted_feeds: str | None = None

    def has_news(self) -> bool:
        """Whether feeds changed since the last run. A point read."""
        return self._judging.versions.feeds != self._hunted_feeds

    def run(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Judge some of what is outdated; how many."""
        until, count = self._clock() + _SECONDS_AT_ONCE, 0
        versions = self._judging.versions
        if versions != self._versions:
            self._versions = versions
            self._stuck.clear()

        def is_over() -> bool:
            return stop() or self._clock() > until

        if versions.feeds != self._hunted_feeds:
            if self._hunted_feeds is not None:
                self._judging.heard()
            count += self._judged_again(self._hunted(), is_over)
            self._hunted_feeds = versions.feeds
        while not is_over():
            outdated = self._judging.outdated(MOST_AT_ONCE + len(self._stuck))
            waiting = [old for old in outdated if (old.etag, old.name_kind) not in self._stuck]
            if not waiting:
                break
            count += self._judged_again(waiting, is_over)
        return count

    def _hunted(self) -> Iterable[Judged]:
        for etag in self._judging.hunted():
            yield from self._judging.outdated_of(etag)

    def _judged_again(self, outdated: Iterable[Judged], is_over: Callable[[], bool]) -> int:
        count = 0
        for old in outdated:
            if is_over():
                break
            if self._again(old):
                count += 1
            else:
                self._stuck.add((old.etag, old.name_kind))
        return count

    def _again(self, old: Judged) -> bool:
        def read(span: ByteSpan) -> bytes:
            end = min(span.end, old.size_bytes)
            return self._read(old.etag, ByteSpan(span.start, end)) if end > span.start else b""

        try:
            new = self._judging.whole_read(old.etag, old.size_bytes, read, _named(old.name_kind))
        except StoreError as error:
            log.warning("kept content was not judged again", etag=old.etag, why=error.message)
            return False
        if new.verdict != old.verdict:
            log.warning("a verdict changed", etag=old.etag, before=old.verdict, now=new.verdict)
        return new.judged_at > old.judged_at


def _named(kind: str) -> str:
    """A name of that kind."""
    return kind if kind in ("", "dockerfile") else f"file.{kind}"
