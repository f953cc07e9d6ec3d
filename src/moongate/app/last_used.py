"""When tokens were last used: gathered in memory, and written down now and then, for many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

import structlog

from moongate.core.errors import StoreError

FLUSH_SECONDS = 30.0

log = structlog.get_logger("moongate.tokens")


class UsesIndex(Protocol):
    def tokens_used(self, uses: Iterable[tuple[str, float]], /) -> None: ...


class LastUsed:
    """Notes uses of tokens. One per process; noting costs a dictionary's entry. A crash loses what waits."""

    def __init__(self, index: UsesIndex) -> None:
        self._index = index
        self._uses: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def note(self, token_id: str, now: float) -> None:
        """A token was used now. Call it on the event loop."""
        self._uses[token_id] = now
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._begin)

    def flush(self) -> None:
        """Write down what waits. Blocks."""
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            self._index.tokens_used([(token_id, at) for token_id, at in sorted(uses.items())])
        except StoreError as error:
            log.warning("when tokens were used was not written down", why=error.message)

    def close(self) -> None:
        """Write down what waits, for the last time. Blocks, for a moment."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.get_running_loop().create_task(asyncio.to_thread(self.flush))
