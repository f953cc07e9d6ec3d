"""One question at a time: a flight shared by all who ask the same here, a turn among processes.

A flight is a task of its own. Whoever leaves stops nothing; whoever stays gets its result or its error.
A turn is a lease in the index: one process asks, the others look now and then whether the answer is there,
and one of them takes over when the asker fails, dies, or takes longer than the lease.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Protocol, TypeVar, cast

from moongate.core.errors import StoreError
from moongate.hub.notes import write_down

T = TypeVar("T")

_FIRST_LOOK_SECONDS = 0.02
_SLOWEST_LOOK_SECONDS = 0.25


class Leases(Protocol):
    """The part of the index that a turn needs."""

    def try_lease(self, name: str, owner: str, seconds: float, now: float) -> bool: ...

    def release_lease(self, name: str, owner: str) -> None: ...


class Flights:
    """The questions that are being asked in this process."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    def start(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The flight of this key, begun now unless it is in the air. Wait on it shielded."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(ask())
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return cast("asyncio.Task[T]", task)

    async def run(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the flight of this key. Cancelling the caller leaves the flight alone."""
        return await asyncio.shield(self.start(key, ask))

    async def close(self) -> None:
        """Give up every flight."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _land(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # looked at, so that an error nobody waited for is no complaint


class Turns:
    """Turns among the processes that share an index."""

    def __init__(self, leases: Leases, clock: Callable[[], float], seconds: float) -> None:
        self._leases = leases
        self._clock = clock
        self._seconds = seconds

    async def take(self, name: str, known: Callable[[], T | None], ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to the question `name`: what `known` finds, or what `ask` brings in our turn.

        `known` looks into the index. It is tried whenever somebody else had the turn before us.
        """
        owner = f"{os.getpid()}-{uuid.uuid4().hex}"
        pause_seconds = _FIRST_LOOK_SECONDS
        while not await self._try(name, owner):
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, _SLOWEST_LOOK_SECONDS)
            if (found := known()) is not None:
                return found
        try:
            if (found := known()) is not None:
                return found
            return await ask()
        finally:
            await write_down(self._leases.release_lease, name, owner)

    async def _try(self, name: str, owner: str) -> bool:
        try:
            return await asyncio.to_thread(self._leases.try_lease, name, owner, self._seconds, self._clock())
        except StoreError:  # a full disk: better asked twice than not at all
            return True
