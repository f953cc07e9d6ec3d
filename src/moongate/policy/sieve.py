"""Which of many rules may hold at all: what several rules want is asked once; most fall at the first look.

A set of rules is a number with a bit for each. Every condition of `when` takes those rules away that want it,
where it is surely not so; what is not known takes nothing away. Words that stand for themselves alone need no
test: one look into a table for each field.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from moongate.policy.logic import Asked, Test
from moongate.policy.wanted import Wanted

Bits: TypeAlias = int
Want: TypeAlias = tuple[int, Wanted]
"""The position of a field in `Asked`, and what is wanted of it."""


def sieve(wants: Sequence[Iterable[Want]]) -> Callable[[Asked], Bits]:
    """wants: for each rule, what must hold for it to hold. Gives the bits of rules that may hold."""
    words: dict[int, dict[Any, Bits]] = defaultdict(dict)  # position → word → rules that want it
    about: dict[int, Bits] = defaultdict(int)  # position → rules that want some word there
    others: dict[Want, Bits] = defaultdict(int)
    for number, wanted in enumerate(wants):
        bit = 1 << number
        for at, want in wanted:
            exact = want.exact
            if exact is None or about[at] & bit:
                others[at, want] |= bit
                continue
            about[at] |= bit
            for word in exact:
                words[at][word] = words[at].get(word, 0) | bit
    tables = [(at, words[at].get, ~rules) for at, rules in about.items() if rules]
    tests = _cheap_first(others)
    every = (1 << len(wants)) - 1

    def possible(asked: Asked) -> Bits:
        left = every
        for at, rules_for, not_about in tables:
            value = asked[at]
            if value is None:
                continue
            kept = not_about
            for word in value or ():
                kept |= rules_for(word, 0)
            left &= kept
        for test, rules in tests:
            if left & rules and test(asked) is False:
                left &= ~rules
        return left

    return possible


def _cheap_first(others: dict[Want, Bits]) -> list[tuple[Test, Bits]]:
    """Tests, and the rules that want them: those first that cost little and concern many."""
    ordered = sorted(others.items(), key=lambda item: (not item[0][1].is_cheap, -item[1].bit_count()))
    return [(want.test(at), rules) for (at, want), rules in ordered]


def numbers(bits: Bits) -> Iterable[int]:
    """The numbers whose bits are set, in order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
