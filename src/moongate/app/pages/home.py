"""`/`: what this gateway is, how to use it, how it is, and what it keeps for those who may know."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from moongate.app.door import Door
from moongate.app.pages.seeing import may_see
from moongate.app.pages.shelf import Held, Shelves
from moongate.app.pages.visits import Shown, Visit
from moongate.core.callers import Caller
from moongate.core.names import RepoId
from moongate.web.views import FillLine, HomeView, RepoLine
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_MOST_ROWS = 25


class HomePage:
    """The first page."""

    def __init__(self, gateway: Gateway, door: Door, shelves: Shelves) -> None:
        self._gateway = gateway
        self._door = door
        self._shelves = shelves

    async def show(self, visit: Visit) -> Shown:
        gateway, settings = self._gateway, self._gateway.settings
        totals, shelf = gateway.metrics.totals(), await self._shelves.now()
        repos = await asyncio.to_thread(self._seen, visit.caller, visit.is_admin, shelf.repos)
        view = HomeView(
            endpoint=self._door.base_url(visit.exchange.request),
            upstream=settings.upstream,
            offline=settings.offline,
            upstream_trouble=gateway.metrics.trouble(),
            upstream_heard=gateway.metrics.upstream_heard,
            served_bytes=totals.served_bytes,
            fetched_bytes=totals.fetched_bytes,
            requests=totals.requests,
            hits=totals.hits,
            store_bytes=shelf.total_bytes,
            quota_bytes=settings.quota_bytes,
            free_bytes=shutil.disk_usage(gateway.stock.layout.root).free,
            repo_count=len(repos),
            repos=repos[:_MOST_ROWS],
            more_repos=max(0, len(repos) - _MOST_ROWS),
            filling=filling(gateway) if visit.is_admin else (),
            live=visit.is_admin,
        )
        return Shown("home", "Moongate", {"view": view})

    def _seen(self, caller: Caller, is_admin: bool, repos: Mapping[RepoId, Held]) -> list[RepoLine]:
        now = time.time()
        lines = [
            RepoLine(
                name=str(repo),
                href=page_href(repo),
                kind=repo.repo_type,
                hosted=self._gateway.repos.is_hosted(repo),
                files=held.files,
                size_bytes=held.stored_bytes,
                own_bytes=held.own_bytes,
                idle_seconds=now - held.last_read_at if held.last_read_at else None,
                pinned=held.pinned,
            )
            for repo, held in repos.items()
            if is_admin or may_see(self._gateway, caller, repo)
        ]
        never = float("inf")
        return sorted(lines, key=lambda line: never if line.idle_seconds is None else line.idle_seconds)


def filling(gateway: Gateway) -> Sequence[FillLine]:
    """The files that are on their way, by the first repository that names them."""
    lines = []
    for etag, present_bytes, size_bytes in gateway.fills.active:
        places = gateway.index.where_is(etag)
        name = f"{places[0].repo}/{places[0].entry.path}" if places else etag
        lines.append(FillLine(name, present_bytes, size_bytes))
    return lines
