"""A rule made ready: closures over its conditions, and words about each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from moongate.core.decisions import Action, Effect
from moongate.policy.expressions import Expression, compile_expression
from moongate.policy.facts import Facts
from moongate.policy.fields import FIELDS, POSITIONS
from moongate.policy.logic import Test, both, but_not
from moongate.policy.model import Rule, When
from moongate.policy.sieve import Want
from moongate.policy.wanted import Wanted

NARROWING: Final[frozenset[Effect]] = frozenset(("hold", "deny"))
"""Effects that stop. What is not known counts for them, unless the rule says otherwise."""

_ABOUT_FINDINGS = frozenset(("verdict", "finding", "severity"))


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule. `exception`: it is of `unless`."""

    field: str
    words: str
    test: Test
    read: Callable[[Facts], Any]  # the fact, whatever it is
    exception: bool = False

    @property
    def told(self) -> str:
        """For people, as it stands in a list of them."""
        return f"unless {self.words}" if self.exception else self.words


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be asked.

    place: the file and line it stands at. wants: what must hold for it to hold. test: whether it holds; where
    that is None, `counts_unknown` says whether it has its effect. about_findings: whoever is stopped wants to
    know what was found.
    """

    id: str
    effect: Effect
    reason: str
    actions: tuple[Action, ...]
    place: str
    wants: tuple[Want, ...]
    test: Test
    counts_unknown: bool
    conditions: tuple[Condition, ...]
    about_findings: bool

    @property
    def fields(self) -> frozenset[str]:
        """What its tests look at."""
        return frozenset(condition.field for condition in self.conditions if condition.field in FIELDS)


def compile_rule(rule: Rule, place: str) -> CompiledRule:
    """The rule, ready.

    Raises:
        ValueError: its expression is none.
    """
    expression = compile_expression(rule.expr) if rule.expr else None
    tests = [both(_tests(rule.when))]
    if rule.unless is not None:
        tests[0] = but_not(tests[0], both(_tests(rule.unless)))
    if expression is not None:
        tests.append(expression.answer)  # dear, so it is asked last
    return CompiledRule(
        id=rule.id,
        effect=rule.effect,
        reason=rule.reason or _default_reason(rule),
        actions=tuple(rule.actions),
        place=place,
        wants=tuple((POSITIONS[name], want) for name, want in _wants(rule.when)),
        test=both(tests),
        counts_unknown=rule.effect in NARROWING and rule.unknown != "skip",
        conditions=tuple(_conditions(rule, expression)),
        about_findings=not _ABOUT_FINDINGS.isdisjoint(rule.when.model_fields_set),
    )


def _wants(when: When | None) -> Iterator[tuple[str, Wanted]]:
    for name, want in when or ():
        if want is not None:
            yield name, want


def _tests(when: When) -> list[Test]:
    cheap_first = sorted(_wants(when), key=lambda named: not named[1].is_cheap)
    return [want.test(POSITIONS[name]) for name, want in cheap_first]


def _conditions(rule: Rule, expression: Expression | None) -> Iterator[Condition]:
    for when, exception in ((rule.when, False), (rule.unless, True)):
        for name, want in _wants(when):
            words = f"{name} {want.words()}"
            yield Condition(name, words, want.test(POSITIONS[name]), FIELDS[name].read, exception)
    if expression is not None:
        yield Condition("expr", expression.source, expression.answer, lambda facts: None)


def _default_reason(rule: Rule) -> str:
    words = [condition.words for condition in _conditions(rule, None) if not condition.exception]
    return f"rule {rule.id}" + (f": {', '.join(words)}" if words else "")
