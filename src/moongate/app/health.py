"""`/healthz`: this process is alive. `/readyz`: it can serve. `/metrics`: what it counted."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from moongate import __version__
from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.metrics import Metrics
from moongate.app.replies import Reply, json_reply

_METRICS_TYPE = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")


class Health:
    """Answers for machines that watch over us."""

    def __init__(
        self,
        metrics: Metrics,
        store: Path,
        is_ready: Callable[[], str],
        sample: Callable[[], None],
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        """`is_ready` says why not, or nothing. `sample` brings the gauges up to date before they are read.

        `trouble` says what somebody should mend although we serve: a broken policy, for example.
        """
        self._trouble = trouble
        self._metrics = metrics
        self._store = store
        self._is_ready = is_ready
        self._sample = sample

    async def healthz(self, exchange: Exchange) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        return json_reply(
            200, {"status": "ok", "name": "moongate", "version": __version__}, exchange.request_id
        )

    async def readyz(self, exchange: Exchange) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        why_not = self._is_ready() or _why_not_writable(self._store)
        if why_not:
            return json_reply(503, {"status": "not ready", "why": why_not}, exchange.request_id)
        answer = {"status": "ready", "name": "moongate"}
        if self._trouble():
            # where it is wrong is for those who may see the log
            answer["warning"] = "the policy is broken; the last good rules hold"
        return json_reply(200, answer, exchange.request_id)

    async def metrics(self, exchange: Exchange) -> web.StreamResponse:
        """The counters."""
        allow(exchange, "GET", "HEAD")
        self._metrics.gauge("disk_free_bytes").set(shutil.disk_usage(self._store).free)
        await asyncio.to_thread(self._sample)  # it walks the store
        return Reply(
            200, (_METRICS_TYPE,), self._metrics.page(), request_id=exchange.request_id, shared=False
        )


def _why_not_writable(store: Path) -> str:
    return "" if os.access(store, os.W_OK | os.X_OK) else "the store cannot be written"
