"""What is kept, by repository: gathered from the index at most every two seconds, whoever asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moongate.core.names import RepoId

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_GATHERED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Held:
    """What one repository holds here; see `store.index.RepoUsage`."""

    files: int
    stored_bytes: int
    own_bytes: int
    last_read_at: float
    pinned: bool


@dataclass(frozen=True, slots=True)
class Shelf:
    """Everything that is kept, at one moment."""

    repos: Mapping[RepoId, Held] = field(default_factory=dict)
    total_bytes: int = 0


class Shelves:
    """Gives the shelf as it was a moment ago."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._shelf = Shelf()
        self._gathered_at = 0.0

    async def now(self) -> Shelf:
        """The shelf, at most two seconds old."""
        now = time.monotonic()
        if not self._gathered_at or now - self._gathered_at > _GATHERED_SECONDS:
            self._shelf = await asyncio.to_thread(self._gather)
            self._gathered_at = now
        return self._shelf

    def _gather(self) -> Shelf:
        index = self._gateway.index
        pinned = {pin.repo for pin in index.pins()}
        repos = {
            row.repo: Held(row.files, row.stored_bytes, row.own_bytes, row.last_read_at, row.repo in pinned)
            for row in index.usage_by_repo()
        }
        return Shelf(repos, index.total_bytes() + self._gateway.stock.segments.stored_bytes())
