"""The values of the page on threat intelligence, as its template names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedCard:
    """One feed. held: why what came last waits for approval; empty: nothing waits.

    asks_each_time: it is a service that is asked, and holds nothing here.
    """

    name: str
    kind: str
    meaning: str
    url: str
    fetched_at: float | None
    stale: bool
    trouble: str
    held: str
    counts: Sequence[tuple[str, int]]
    asks_each_time: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of fetching a feed now."""

    name: str
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class FeedsView:
    """Every feed."""

    feeds: Sequence[FeedCard]
    tried: Tried | None
