"""What the security dashboard shows in numbers, and when the newest of it came: looked at seldom, for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Final, Protocol

from moongate.core.approvals import Request, RequestState
from moongate.core.verdicts import VERDICTS, Judged, Verdict

_EVERY_SECONDS: Final = 4.0
_ALWAYS: Final = float("inf")


class PulseShelf(Protocol):
    """What is needed of the index."""

    def verdict_counts(self) -> dict[str, int]: ...
    def with_verdict(self, verdict: Verdict, before: float, limit: int) -> list[Judged]: ...


class Waiting(Protocol):
    """What is needed of the desk."""

    def requests(self, state: RequestState | None = "open") -> list[Request]: ...


class Pulse:
    """Blocks; for any thread. Several who follow it share one look."""

    def __init__(self, shelf: PulseShelf, desk: Waiting, clock: Callable[[], float] = time.monotonic) -> None:
        self._shelf = shelf
        self._desk = desk
        self._clock = clock
        self._lock = Lock()
        self._until = 0.0
        self._state: Mapping[str, str] = {}

    def state(self) -> Mapping[str, str]:
        """Words for the parts of the page that follow, as they were some seconds ago."""
        with self._lock:
            if self._clock() >= self._until:
                self._state = self._look()
                self._until = self._clock() + _EVERY_SECONDS
            return self._state

    def stamp(self) -> str:
        """When the newest finding or request came, in seconds since the epoch; `state` tells it, too."""
        return self._look()["stamp"]

    def _look(self) -> Mapping[str, str]:
        counts, waiting = self._shelf.verdict_counts(), self._desk.requests("open")
        grave: Sequence[Verdict] = ("dangerous", "suspicious")
        found = [one.judged_at for verdict in grave for one in self._shelf.with_verdict(verdict, _ALWAYS, 1)]
        newest = max([*found, *(request.opened_at for request in waiting)], default=0.0)
        numbers: dict[str, str] = {verdict: f"{counts.get(verdict, 0):,}" for verdict in VERDICTS}
        return {**numbers, "waiting": f"{len(waiting):,}", "stamp": f"{newest:.3f}"}
