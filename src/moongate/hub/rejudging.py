"""Looking again at what is kept, when rules or feeds say more than they did, or a scan failed.

Until then what was said before stands. Most used content comes first, a little at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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
        self._done: set[tuple[Etag, str, Versions]] = set()

    def run(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Judge some of what is outdated; how many."""
        until, count = self._clock() + _SECONDS_AT_ONCE, 0
        versions = self._judging.versions
        for old in self._judging.outdated(MOST_AT_ONCE + len(self._done)):
            key = (old.etag, old.name_kind, versions)
            if stop() or count >= MOST_AT_ONCE or self._clock() > until:
                break
            if key in self._done and old.retry_at is None:
                continue
            self._done.add(key)
            count += self._again(old)
        self._done = {key for key in self._done if key[2] == versions}
        return count

    def _again(self, old: Judged) -> int:
        def read(span: ByteSpan) -> bytes:
            end = min(span.end, old.size_bytes)
            return self._read(old.etag, ByteSpan(span.start, end)) if end > span.start else b""

        try:
            new = self._judging.whole_read(old.etag, old.size_bytes, read, _named(old.name_kind))
        except StoreError as error:
            log.warning("kept content was not judged again", etag=old.etag, why=error.message)
            return 0
        if new.verdict != old.verdict:
            log.warning("a verdict changed", etag=old.etag, before=old.verdict, now=new.verdict)
        return 1


def _named(kind: str) -> str:
    """A name of that kind."""
    return kind if kind in ("", "dockerfile") else f"file.{kind}"
