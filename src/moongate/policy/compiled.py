"""A rule made ready: closures over its conditions, and words about each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from moongate.core.decisions import Action, Effect
from moongate.policy.expressions import Context, Expression, compile_expression
from moongate.policy.facts import Facts
from moongate.policy.fields import FIELDS
from moongate.policy.logic import Answer, Test, both, but_not
from moongate.policy.model import Rule, When

NARROWING: Final[frozenset[Effect]] = frozenset(("hold", "deny"))
"""Effects that stop. What is not known counts for them, unless the rule says otherwise."""

_ABOUT_FINDINGS = frozenset(("verdict", "finding", "severity"))

RuleTest: TypeAlias = Callable[[Facts, Context], Answer]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule. `exception`: it is of `unless`."""

    field: str
    words: str
    test: RuleTest
    read: Callable[[Facts], Any]  # the fact, whatever it is
    exception: bool = False


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be asked.

    place: the file and line it stands at. about_findings: whoever is stopped wants to know what was found.
    """

    id: str
    effect: Effect
    reason: str
    actions: tuple[Action, ...]
    place: str
    test: RuleTest
    counts_unknown: bool
    conditions: tuple[Condition, ...]
    about_findings: bool

    def matches(self, facts: Facts, context: Context) -> bool:
        """Whether the rule has its effect; its `actions` are looked at elsewhere."""
        found = self.test(facts, context)
        return self.counts_unknown if found is None else found


def compile_rule(rule: Rule, place: str) -> CompiledRule:
    """The rule, ready.

    Raises:
        ValueError: its expression is none.
    """
    wants = _tests(rule.when)
    typed = both(wants) if wants else None
    if rule.unless is not None:
        exception = both(_tests(rule.unless))
        typed = but_not(typed or _always, exception)
    expression = compile_expression(rule.expr) if rule.expr else None
    return CompiledRule(
        id=rule.id,
        effect=rule.effect,
        reason=rule.reason or _default_reason(rule),
        actions=tuple(rule.actions),
        place=place,
        test=_rule_test(typed, expression),
        counts_unknown=rule.effect in NARROWING and rule.unknown != "skip",
        conditions=tuple(_conditions(rule, expression)),
        about_findings=not _ABOUT_FINDINGS.isdisjoint(rule.when.model_fields_set),
    )


def _tests(when: When) -> list[Test]:
    return [FIELDS[name].test(want) for name, want in when if want is not None]


def _rule_test(typed: Test | None, expression: Expression | None) -> RuleTest:
    if expression is None:
        test = typed or _always
        return lambda facts, context: test(facts)
    if typed is None:
        return expression.answer
    known = typed  # its closures are cheap, so they are asked first

    def test_both(facts: Facts, context: Context) -> Answer:
        first = known(facts)
        if first is False:
            return False
        second = expression.answer(facts, context)
        return second if first or second is False else None

    return test_both


def _always(facts: Facts) -> Answer:
    return True


def _conditions(rule: Rule, expression: Expression | None) -> Iterator[Condition]:
    for when, exception in ((rule.when, False), (rule.unless, True)):
        for name, want in when or ():
            if want is not None:
                field = FIELDS[name]
                yield Condition(
                    name, f"{name} {want.words()}", _ignoring(field.test(want)), field.read, exception
                )
    if expression is not None:
        yield Condition("expr", expression.source, expression.answer, lambda facts: None)


def _ignoring(test: Test) -> RuleTest:
    return lambda facts, context: test(facts)


def _default_reason(rule: Rule) -> str:
    words = [condition.words for condition in _conditions(rule, None) if not condition.exception]
    return f"rule {rule.id}" + (f": {', '.join(words)}" if words else "")
