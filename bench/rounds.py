"""Rounds: contenders take turns, so that whatever the machine does meets both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

Reading = Mapping[str, float]


def alternate(
    rounds: int, contenders: Mapping[str, Callable[[int], Reading]], between: Callable[[], None] | None = None
) -> dict[str, list[Reading]]:
    """Measure every contender once per round, in the order given: A B A B. The readings, by contender.

    Each is told the number of the round. `between` runs before every measurement and is part of none.
    """
    readings: dict[str, list[Reading]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name, measure in contenders.items():
            if between is not None:
                between()
            readings[name].append(measure(turn))
        print(".", end="", file=sys.stderr, flush=True)
    return readings
