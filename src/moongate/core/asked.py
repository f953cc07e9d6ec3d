"""What was asked of the policy before, so that other rules can be asked the same."""

from __future__ import annotations

from dataclasses import dataclass

from moongate.core.decisions import Effect


@dataclass(frozen=True, slots=True)
class AskedRow:
    """One question of one day, and how often it was asked. facts: JSON."""

    day: int
    facts_digest: str
    facts: str
    effect: Effect
    asked_count: int
    asked_at: float
