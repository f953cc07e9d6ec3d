"""Answers with three values: True, False, and None for *that is not known* (Kleene's logic).

A fact that is not known makes a condition None. None together with a False is False, and else stays None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from moongate.policy.facts import Facts

Answer: TypeAlias = bool | None
Test: TypeAlias = Callable[[Facts], Answer]


def both(tests: Sequence[Test]) -> Test:
    """Whether all hold. None of them: True. The first False ends it, so put the cheap ones first."""
    if len(tests) == 1:
        return tests[0]

    def test(facts: Facts) -> Answer:
        answer: Answer = True
        for one in tests:
            found = one(facts)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return test


def negated(test: Test) -> Test:
    """The opposite; what is not known stays so."""

    def opposite(facts: Facts) -> Answer:
        found = test(facts)
        return None if found is None else not found

    return opposite


def but_not(test: Test, exception: Test) -> Test:
    """Whether the first holds and the second does not."""
    return both((test, negated(exception)))
