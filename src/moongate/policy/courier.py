"""The courier: brings what the outbox keeps to webhooks, again and again until it is taken.

One process at a time does it, by a lease. A delivery is tried ten times within about two days; each carries a
signature over its time and its body, so that whoever has the secret can tell it from a forged or an old one.
Whoever receives may get an event twice, and tells by its `id`.

    Moongate-Signature: t=1764345600,v1=<hex of HMAC-SHA256(secret, "1764345600." + body)>
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from moongate.core.errors import StoreError, UpstreamError
from moongate.core.webhooks import DeliveryRow, DeliveryState, HookRow

PAUSES_SECONDS: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0, 24 * 3600.0)
"""Between one attempt and the next."""

_LOOK_SECONDS = 1.0
_LEASE_SECONDS = 120.0
_KEPT_SECONDS = 14 * 86400.0
_AT_ONCE = 8
_GONE = 410

_log = logging.getLogger(__name__)


class CourierShelf(Protocol):
    """What is needed of the index."""

    def hooks(self) -> list[HookRow]: ...
    def due_deliveries(self, now: float) -> list[DeliveryRow]: ...
    def note_attempt(self, delivery_id: str, state: DeliveryState, next_at: float, why: str) -> None: ...
    def prune_deliveries(self, older_than: float) -> int: ...
    def try_lease(self, name: str, owner: str, seconds: float, now: float) -> bool: ...


class Posts(Protocol):
    """Posts over a guarded connection; see `upstream.posting.Poster`."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int: ...


class Courier:
    """A background task of a gateway."""

    def __init__(self, shelf: CourierShelf, posts: Posts, clock: Callable[[], float] = time.time) -> None:
        self._shelf = shelf
        self._posts = posts
        self._clock = clock
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """May be called twice, and without a start. What is on its way may be sent again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def deliver_due(self) -> int:
        """Try all that is due, once; how many that were. Another process's turn is not taken."""
        now = self._clock()
        if not await asyncio.to_thread(self._shelf.try_lease, "webhooks", self._owner, _LEASE_SECONDS, now):
            return 0
        due = await asyncio.to_thread(self._shelf.due_deliveries, now)
        if due:
            hooks = {hook.id: hook for hook in await asyncio.to_thread(self._shelf.hooks)}
            turn = asyncio.Semaphore(_AT_ONCE)
            await asyncio.gather(*(self._deliver(row, hooks.get(row.hook_id), turn) for row in due))
        return len(due)

    async def send(self, hook: HookRow, kind: str, body: str) -> str:
        """Post one event now; why it was not taken, or nothing."""
        raw, at = body.encode(), int(self._clock())
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "Moongate-Event": kind,
            "Moongate-Signature": signature(hook.secret, at, raw),
        }
        try:
            status = await self._posts.post(hook.url, headers, raw)
        except UpstreamError as error:
            return error.message
        return "" if 200 <= status < 300 else f"status {status}"

    async def _run(self) -> None:
        while True:
            try:
                await self.deliver_due()
                await asyncio.to_thread(self._shelf.prune_deliveries, self._clock() - _KEPT_SECONDS)
            except StoreError as error:
                _log.warning("webhooks wait: %s", error.message)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _deliver(self, row: DeliveryRow, hook: HookRow | None, turn: asyncio.Semaphore) -> None:
        if hook is None:
            await asyncio.to_thread(self._shelf.note_attempt, row.id, "given-up", 0.0, "no such webhook")
            return
        async with turn:
            why = await self.send(hook, row.kind, row.body)
        state, next_at = self._outcome(row, why)
        if state == "given-up":
            _log.warning("webhook %s: %s was given up after %d attempts: %s", hook.id, row.kind,
                         row.attempts + 1, why)  # fmt: skip
        await asyncio.to_thread(self._shelf.note_attempt, row.id, state, next_at, why[:500])

    def _outcome(self, row: DeliveryRow, why: str) -> tuple[DeliveryState, float]:
        if not why:
            return "sent", 0.0
        if row.attempts >= len(PAUSES_SECONDS) or why == f"status {_GONE}":
            return "given-up", 0.0
        return "waiting", self._clock() + PAUSES_SECONDS[row.attempts]


def signature(secret: str, at: int, body: bytes) -> str:
    """The value of the header that proves who sent a body, and when."""
    proof = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={proof}"
