"""`/`: gathers what the status page shows. What is kept is shown to those who may administrate."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING

from aiohttp import web

from moongate.app.dispatch import allow
from moongate.app.door import Door
from moongate.app.exchange import Exchange
from moongate.app.replies import Reply
from moongate.core.errors import NotAllowed
from moongate.web.html import SECURITY_HEADERS
from moongate.web.status import FillLine, RepoLine, StatusView, status_page

if TYPE_CHECKING:
    from moongate.app.wiring import Gateway

_GATHERED_SECONDS = 2.0


class StatusPage:
    """Answers `/`. Gathered at most every two seconds, whoever asks."""

    def __init__(self, gateway: Gateway, door: Door) -> None:
        self._gateway = gateway
        self._door = door
        self._repos: tuple[float, list[RepoLine], int] = (0.0, [], 0)

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        settings, totals = self._gateway.settings, self._gateway.metrics.totals()
        repos, store_bytes = await self._gathered()
        shows_repos = self._may_see(exchange)
        view = StatusView(
            endpoint=self._door.base_url(exchange.request),
            upstream=settings.upstream,
            offline=settings.offline,
            upstream_trouble=self._gateway.metrics.trouble(),
            served_bytes=totals.served_bytes,
            fetched_bytes=totals.fetched_bytes,
            requests=totals.requests,
            hits=totals.hits,
            store_bytes=store_bytes,
            quota_bytes=settings.quota_bytes,
            free_bytes=shutil.disk_usage(self._gateway.stock.layout.root).free,
            repos=repos if shows_repos else None,
            filling=self._filling() if shows_repos else (),
        )
        headers = (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
            *SECURITY_HEADERS,
        )
        return Reply(200, headers, status_page(view), request_id=exchange.request_id, shared=False)

    def _may_see(self, exchange: Exchange) -> bool:
        try:
            self._door.require_admin(exchange.caller, local=self._door.is_local(exchange.request))
        except NotAllowed:
            return False
        return True

    async def _gathered(self) -> tuple[list[RepoLine], int]:
        gathered_at, repos, store_bytes = self._repos
        now = time.monotonic()
        if not gathered_at or now - gathered_at > _GATHERED_SECONDS:
            repos, store_bytes = await asyncio.to_thread(self._gather)
            self._repos = (now, repos, store_bytes)
        return repos, store_bytes

    def _gather(self) -> tuple[list[RepoLine], int]:
        index, now = self._gateway.index, time.time()
        pinned = {pin.repo for pin in index.pins()}
        lines = [
            RepoLine(
                str(row.repo),
                row.files,
                row.stored_bytes,
                row.own_bytes,
                now - row.last_read_at if row.last_read_at else None,
                row.repo in pinned,
            )
            for row in index.usage_by_repo()
        ]
        return lines, index.total_bytes() + self._gateway.stock.segments.stored_bytes()

    def _filling(self) -> list[FillLine]:
        lines = []
        for etag, present_bytes, size_bytes in self._gateway.fills.active:
            places = self._gateway.index.where_is(etag)
            name = f"{places[0].repo}/{places[0].entry.path}" if places else etag
            lines.append(FillLine(name, present_bytes, size_bytes))
        return lines
