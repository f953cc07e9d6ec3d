"""The tests that stand beside rules: a question in short, and the answer it must get."""

from __future__ import annotations

from dataclasses import dataclass

from moongate.core.decisions import Decision
from moongate.core.errors import BadRequest
from moongate.policy.engine import Rules
from moongate.policy.loading import Loaded, PlacedTest
from moongate.policy.short_facts import facts_from


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test came out; `why` is empty when it passed."""

    name: str
    place: str
    why: str
    decision: Decision | None

    @property
    def passed(self) -> bool:
        return not self.why


def run_tests(loaded: Loaded, now: float) -> list[Outcome]:
    """Every test of a policy, in the order of the files."""
    return [_run(test, loaded.rules, now) for test in loaded.tests]


def _run(test: PlacedTest, rules: Rules, now: float) -> Outcome:
    expected = test.expected
    try:
        decision = rules.decide(facts_from(expected.facts, now))
    except BadRequest as error:
        return Outcome(expected.name, test.place, f"the facts are malformed: {error.message}", None)
    decided_by = decision.rules[0] if decision.rules else "default"
    why = ""
    if decision.effect != expected.expect:
        why = f"expected {expected.expect}, got {decision.effect} by {decided_by}"
    elif expected.rule is not None and expected.rule != decided_by:
        why = f"expected {expected.rule} to decide, but {decided_by} did"
    return Outcome(expected.name, test.place, why, decision)
