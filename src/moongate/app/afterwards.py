"""What comes after an answer of the fast lane: it is logged, audited and counted, together with others.

That waits for the end of the loop's turn after a long answer, since its reader takes a while to read it; else
a moment. A crash loses what waits.
"""

from __future__ import annotations

import asyncio
import time
from typing import TypeAlias

from moongate.app.auditing import Auditing
from moongate.app.exchange import Record
from moongate.app.metrics import Metrics
from moongate.app.request_log import RequestLog

_KEPT = 512
_SETTLE_SECONDS = 0.1
_LOGGED_TOGETHER = 4
_LONG_BYTES = 32 << 10
"""An answer from so many bytes on keeps its reader busy for longer than it takes to count and log it."""

Again: TypeAlias = tuple[Record, str, float, int]
"""An answer like one before: that one's record, its own id, start and status. Its record is made later."""


class Afterwards:
    """The answers of one process that are not counted or logged yet."""

    def __init__(self, metrics: Metrics, request_log: RequestLog, auditing: Auditing) -> None:
        self._metrics = metrics
        self._log = request_log
        self._auditing = auditing
        self._past: list[tuple[Record | Again, float, int, str]] = []
        """Not logged yet: what ended, when (`time.perf_counter`), after how many bytes, with what error."""
        self._uncounted: list[tuple[Record, float]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._logs_soon = False
        metrics.before_reading(self.settle)

    def ended(self, noted: Record | Again, sent_bytes: int, error: str = "") -> None:
        """An answer ended just now: after so many bytes of its body, with an error if it was broken off."""
        self._past.append((noted, time.perf_counter(), sent_bytes, error))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self.settle)
        if sent_bytes >= _LONG_BYTES and len(self._past) >= _LOGGED_TOGETHER and not self._logs_soon:
            self._logs_soon = True
            asyncio.get_running_loop().call_soon(self._log_now)
        elif len(self._past) >= _KEPT:
            self.settle()

    def settle(self) -> None:
        """Counts and logs what ended lately."""
        self._log_now()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        uncounted, self._uncounted = self._uncounted, []
        self._metrics.count_all(uncounted)

    def _log_now(self) -> None:
        self._logs_soon = False
        past, self._past = self._past, []
        epoch = time.time() - time.perf_counter()
        for noted, ended, sent_bytes, error in past:
            record = record_again(noted) if isinstance(noted, tuple) else noted
            record.sent_bytes, record.error = sent_bytes, error
            seconds = ended - record.started
            self._uncounted.append((record, seconds))
            self._log.write(record, seconds, epoch + ended)
            self._auditing.finished(record, epoch + ended)


def record_again(answer: Again) -> Record:
    """What is noted of such an answer."""
    before, request_id, started, status = answer
    return Record(
        before.method,
        before.path,
        before.query,
        request_id,
        before.peer,
        before.trace,
        started,
        before.route,
        before.repo,
        before.caller,
        "hit",
        status,
        file=before.file,
        agent=before.agent,
        forwarded=before.forwarded,
    )
