"""Answers with three values: True, False, and None for *that is not known* (Kleene's logic).

A fact that is not known makes a condition None. None together with a False is False, and else stays None.

Tests run for every rule of every question, so they are closures over positions in one list, `Asked`, that is
made once for a question; how that list is filled is `fields`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from moongate.policy.facts import Facts

Answer: TypeAlias = bool | None


class Asked(list[Any]):
    """The facts of one question as tests want them, by the position of their field.

    A text, a choice or a flag is a tuple of folded values; a number is a number. None: not known. False: the
    question is not about such a thing at all. `memo` is room for what is made once for a question.
    """

    __slots__ = ("facts", "memo")

    def __init__(self, values: Sequence[Any], facts: Facts) -> None:
        super().__init__(values)
        self.facts = facts
        self.memo: Any = None


Test: TypeAlias = Callable[[Asked], Answer]


def always(asked: Asked) -> Answer:
    """What holds of every question."""
    return True


def both(tests: Sequence[Test]) -> Test:
    """Whether all hold; True for none. The first False ends it, so put the cheap ones first."""
    if not tests:
        return always
    if len(tests) == 1:
        return tests[0]
    first, rest = tests[0], both(tests[1:])

    def test(asked: Asked) -> Answer:
        found = first(asked)
        if found is False:
            return False
        others = rest(asked)
        return others if found or others is False else None

    return test


def but_not(test: Test, exception: Test) -> Test:
    """Whether the first holds and the second does not."""

    def opposite(asked: Asked) -> Answer:
        found = exception(asked)
        return None if found is None else not found

    return both((test, opposite))
