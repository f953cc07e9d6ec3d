"""A compact record of what the policy was asked, so that a draft can be asked the same (see `simulation`).

Each question is kept once a day, with a count; questions wait in memory for some seconds. A crash loses those
that wait: they are for estimates, and not the audit log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

import orjson

from moongate.core.asked import AskedRow
from moongate.core.decisions import Decision, Effect
from moongate.policy.asking import Policy
from moongate.policy.facts import Facts

KEPT_DAYS: Final = 35
DAY_SECONDS: Final = 86400.0
_MOST_WAITING = 20_000


class AskedShelf(Protocol):
    """What is needed of the index."""

    def put_asked(self, rows: Sequence[AskedRow]) -> None: ...
    def prune_asked(self, before_day: int) -> int: ...


class RecordedPolicy:
    """A policy that remembers what it was asked. For any thread."""

    def __init__(self, policy: Policy, shelf: AskedShelf, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[Facts, tuple[Effect, int, float]] = {}
        self._pruned_day = 0

    @property
    def generation(self) -> int:
        return self._policy.generation

    def decide(self, facts: Facts) -> Decision:
        """See `asking.Policy.decide`."""
        decision = self._policy.decide(facts)
        key = replace(facts, at=0.0)
        with self._lock:
            known = self._waiting.get(key)
            if known is not None or len(self._waiting) < _MOST_WAITING:
                self._waiting[key] = (decision.effect, (known[1] if known else 0) + 1, facts.at)
        return decision

    def foresee(self, facts: Facts) -> Decision | None:
        """See `asking.Policy.foresee`."""
        return self._policy.foresee(facts)

    def flush(self) -> None:
        """Write down what waits, and forget what is too old. Blocks.

        Raises:
            StoreError: it could not be written; it is forgotten.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        if waiting:
            self._shelf.put_asked([_row(facts, *told) for facts, told in waiting.items()])
        today = int(self._clock() // DAY_SECONDS)
        if today != self._pruned_day:
            self._shelf.prune_asked(today - KEPT_DAYS)
            self._pruned_day = today


def _row(facts: Facts, effect: Effect, count: int, at: float) -> AskedRow:
    told = facts.as_json()
    del told["at"]
    return AskedRow(int(at // DAY_SECONDS), facts.digest, orjson.dumps(told).decode(), effect, count, at)
