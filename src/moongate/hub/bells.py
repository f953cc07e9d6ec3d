"""Waking those who wait for something to change: tasks of one event loop, and threads.

A waiter looks at `serial`, then at what it waits for, and then waits *since* that serial; so nothing that
changes in between is missed. It may be woken for nothing, and looks again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress


class Bells:
    """One bell for each key. `ring` and `wait` are for any thread, `heard` for the loop it was made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[Callable[[], None]]] = {}
        self.serial = 0
        """How often bells were rung so far."""

    def ring(self, *keys: Hashable) -> None:
        """Something about these keys changed."""
        woken: list[Callable[[], None]] = []
        with self._lock:
            self.serial += 1
            for key in keys:
                if key in self._waiting:
                    woken += self._waiting.pop(key)
        for wake in woken:
            wake()

    async def heard(self, key: Hashable, since: int, seconds: float) -> None:
        """Until the bell of `key` rang after `since`, or so long."""
        waiter: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_release, waiter)

        if not self._enter(key, since, wake):
            await asyncio.sleep(0)
            return
        timer = self._loop.call_later(seconds, _release, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._leave(key, wake)

    def wait(self, key: Hashable, since: int, seconds: float) -> None:
        """As `heard`, for a thread."""
        rung = threading.Event()
        if not self._enter(key, since, rung.set):
            return
        try:
            rung.wait(seconds)
        finally:
            self._leave(key, rung.set)

    def _enter(self, key: Hashable, since: int, wake: Callable[[], None]) -> bool:
        with self._lock:
            if self.serial != since:
                return False
            self._waiting.setdefault(key, []).append(wake)
            return True

    def _leave(self, key: Hashable, wake: Callable[[], None]) -> None:
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is not None:
                with suppress(ValueError):
                    waiting.remove(wake)
                if not waiting:
                    del self._waiting[key]


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
