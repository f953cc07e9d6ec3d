"""Measured values: medians, ranges, percentiles, and ratios of what was measured in the same round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Samples:
    """The values of one figure, one per round, in the order measured; never empty."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a figure needs at least one round")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def greatest(self) -> float:
        return max(self.values)

    def over(self, other: Samples) -> Samples:
        """The ratio to another figure, round by round; rounds in which the other was nothing are left out.

        Raises:
            ValueError: the rounds do not match, or none of them gives a ratio.
        """
        if len(self.values) != len(other.values):
            raise ValueError("ratios need the same rounds on both sides")
        return Samples(tuple(a / b for a, b in zip(self.values, other.values, strict=True) if b))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed, by nearest rank.

    Raises:
        ValueError: there are no values, or the share is none.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values and a share between 0 and 1")
    ordered = sorted(values)
    rank = -int(-len(ordered) * share // 1)
    return ordered[max(rank, 1) - 1]
