"""Rows of the table: what was measured, beside whom, what was aimed at, and whether it was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.samples import Samples

Sense = Literal["at least", "at most", "exactly"]
Of = Literal["ratio", "value"]


@dataclass(frozen=True, slots=True)
class Target:
    """A number to reach, by the median of the ratio or of our own value."""

    sense: Sense
    number: float
    of: Of = "ratio"

    def met_by(self, measured: float) -> bool:
        """Whether a measured number reaches it."""
        if self.sense == "at least":
            return measured >= self.number
        if self.sense == "at most":
            return measured <= self.number
        return measured == self.number


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `beside` is empty where there is nobody to compare with; `note` is for the reader."""

    what: str
    unit: str
    ours: Samples
    beside: str = ""
    theirs: Samples | None = None
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> Samples | None:
        """Ours over theirs, round by round; None without anybody beside us."""
        if self.theirs is None or not any(self.theirs.values):
            return None
        return self.ours.over(self.theirs)

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None when there is none."""
        if self.target is None:
            return None
        measured = self.ours if self.target.of == "value" else self.ratio
        return measured is not None and self.target.met_by(measured.median)


@dataclass(slots=True)
class Section:
    """One measurement: its rows, how it was done, and what went wrong."""

    name: str
    title: str
    how: str
    rows: list[Row] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def compare(
        self,
        what: str,
        unit: str,
        key: str,
        rounds: Mapping[str, Sequence[Mapping[str, float]]],
        ours: str,
        theirs: str,
        target: Target | None = None,
        note: str = "",
    ) -> None:
        """Add the row of one key that both contenders measured in every round."""
        mine = Samples(tuple(reading[key] for reading in rounds[ours]))
        other = Samples(tuple(reading[key] for reading in rounds[theirs]))
        self.rows.append(Row(what, unit, mine, theirs, other, target, note))
