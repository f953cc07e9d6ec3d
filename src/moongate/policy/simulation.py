"""What other rules would have said to what was really asked: who would have been stopped, and who no more.

Facts are those that were known then, and ages are counted from then. Waivers are not looked at: what one lets
pass shows as stopped by rules before and after.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter

from moongate.core.asked import AskedRow
from moongate.core.decisions import EFFECTS, Decision, Effect
from moongate.policy.engine import Rules
from moongate.policy.facts import Facts

_FACTS: Final = TypeAdapter(Facts)
_PASSING: Final = frozenset[Effect](("allow", "warn"))


@dataclass(frozen=True, slots=True)
class Change:
    """A question that gets another answer. count: how often it was asked."""

    facts: Facts
    before: Effect
    after: Decision
    count: int
    at: float

    @property
    def is_stopped(self) -> bool:
        """Whether it passed, and would no more."""
        return self.before in _PASSING and not self.after.lets_pass

    @property
    def is_freed(self) -> bool:
        return self.before not in _PASSING and self.after.lets_pass

    def as_json(self) -> dict[str, Any]:
        content = self.facts.content
        return {
            "actor": self.facts.actor.name,
            "action": self.facts.action,
            "repo": f"{self.facts.repo.repo_type}s/{self.facts.repo.repo_id}",
            "path": None if content is None else content.path,
            "before": self.before,
            "after": self.after.effect,
            "rules": list(self.after.rules),
            "reason": self.after.reason,
            "count": self.count,
            "at": self.at,
        }


@dataclass(slots=True)
class Simulation:
    """What came out. `asked`: requests; `questions`: different ones; `unreadable`: records left out."""

    asked: int = 0
    questions: int = 0
    unreadable: int = 0
    stopped: list[Change] = field(default_factory=list)
    freed: list[Change] = field(default_factory=list)
    effects: dict[Effect, int] = field(default_factory=lambda: dict.fromkeys(EFFECTS, 0))

    @property
    def actors_stopped(self) -> list[str]:
        return sorted({change.facts.actor.name for change in self.stopped})


def simulate(rows: Iterable[AskedRow], draft: Rules) -> Simulation:
    """Ask a draft everything that was asked before."""
    found = Simulation()
    for row in rows:
        facts = _facts(row)
        if facts is None:
            found.unreadable += 1
            continue
        decision = draft.decide(facts)
        found.asked += row.asked_count
        found.questions += 1
        found.effects[decision.effect] += row.asked_count
        change = Change(facts, row.effect, decision, row.asked_count, row.asked_at)
        if change.is_stopped:
            found.stopped.append(change)
        elif change.is_freed:
            found.freed.append(change)
    found.stopped.sort(key=lambda change: -change.count)
    return found


def _facts(row: AskedRow) -> Facts | None:
    """What was asked; None when another version of this program wrote it in a way that means nothing now."""
    try:
        return _FACTS.validate_python({**json.loads(row.facts), "at": row.asked_at})
    except ValueError:
        return None
