"""Rules that decide: the strictest effect of all rules that match, else the default.

There is no order among rules, so adding one that denies never lets anything more pass, and moving one changes
nothing. Among rules of the same effect the one that stands first gives the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from moongate.core.decisions import EFFECTS, Action, Decision, Effect
from moongate.policy.compiled import CompiledRule
from moongate.policy.facts import Facts
from moongate.policy.fields import preparer
from moongate.policy.logic import Answer, Asked
from moongate.policy.sieve import numbers, sieve

FOUND: Final = " Found: "
"""Between a rule's reason and what it was decided by."""
_RANK: Final = {effect: rank for rank, effect in enumerate(EFFECTS)}
_DEFAULT_REASON = "no rule is about it"
_MOST_FINDINGS = 5
_ACTIONS: Final[tuple[Action, ...]] = ("read", "commit", "deploy", "admin")


class Rules:
    """A loaded policy. Immutable, for any thread."""

    def __init__(self, rules: Sequence[CompiledRule], default: Effect, digest: str, source: str) -> None:
        """digest: over what the rules say. source: where they come from, for people."""
        self.rules = tuple(rules)
        self.default: Effect = default
        self.digest = digest
        self.source = source
        self.effects: dict[str, Effect] = {rule.id: rule.effect for rule in rules}
        strict_first = sorted(rules, key=lambda rule: -_RANK[rule.effect])
        self._by_action = {
            action: tuple(rule for rule in strict_first if action in rule.actions) for action in _ACTIONS
        }
        self._possible = {
            action: sieve([rule.wants for rule in rules]) for action, rules in self._by_action.items()
        }
        self._asked = preparer(frozenset[str]().union(*(rule.fields for rule in rules)))
        self._otherwise = Decision(default, _DEFAULT_REASON, policy=digest)

    @property
    def generation(self) -> int:
        return 0  # it never changes

    def decide(self, facts: Facts) -> Decision:
        """See `asking.Policy.decide`."""
        asked = self._asked(facts)
        rules = self._by_action[facts.action]
        matched = [
            rule
            for number in numbers(self._possible[facts.action](asked))
            if (found := (rule := rules[number]).test(asked)) or (found is None and rule.counts_unknown)
        ]
        if not matched:
            return self._otherwise
        first = matched[0]
        names = tuple([rule.id for rule in matched])
        return Decision(first.effect, _reason(first, facts), names, policy=self.digest)

    def foresee(self, facts: Facts) -> Decision | None:
        """See `asking.Policy.foresee`."""
        asked = self._asked(facts)
        for rule in self._by_action[facts.action]:
            if rule.effect != "deny":
                break  # what is held is looked at first: its request needs the evidence
            if rule.test(asked) is True:
                return Decision(rule.effect, _reason(rule, facts), (rule.id,), policy=self.digest)
        return None

    def explain(self, facts: Facts) -> Explanation:
        """The decision, and how every rule of this action came out."""
        asked = self._asked(facts)
        return Explanation(
            self.decide(facts),
            tuple(_explained(rule, asked) for rule in self._by_action[facts.action]),
            len(self.rules),
        )


@dataclass(frozen=True, slots=True)
class ExplainedCondition:
    """One condition: what was wanted, what the fact is, and whether it holds (None: not known)."""

    words: str
    field: str
    fact: Any  # the fact, whatever it is
    holds: Answer
    exception: bool

    def as_json(self) -> dict[str, Any]:
        fact = list(self.fact) if isinstance(self.fact, tuple) else self.fact
        return {
            "condition": self.words,
            "fact": fact,
            "holds": self.holds,
            "unless": self.exception,
        }


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """One rule: whether it matched, and why."""

    rule: CompiledRule
    matched: bool
    holds: Answer
    conditions: tuple[ExplainedCondition, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule.id,
            "effect": self.rule.effect,
            "place": self.rule.place,
            "reason": self.rule.reason,
            "matched": self.matched,
            "because_unknown": self.matched and self.holds is None,
            "conditions": [condition.as_json() for condition in self.conditions],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision down to the rule and the fact."""

    decision: Decision
    rules: tuple[ExplainedRule, ...]
    rule_count: int

    def as_json(self) -> dict[str, Any]:
        return {**decision_json(self.decision), "explained": [rule.as_json() for rule in self.rules]}


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision as plain values."""
    return {
        "effect": decision.effect,
        "reason": decision.reason,
        "rules": list(decision.rules),
        "waiver": decision.waiver or None,
        "policy": decision.policy,
    }


def _reason(rule: CompiledRule, facts: Facts) -> str:
    """The rule's words, and what was found, where that is what the rule is about."""
    if not rule.about_findings or facts.content is None or not facts.content.findings:
        return rule.reason
    found = ", ".join(dict.fromkeys(found.rule for found in facts.content.findings[:_MOST_FINDINGS]))
    return f"{rule.reason}{FOUND}{found}."


def digest_of(document: object) -> str:
    """sha256 over what rules say, whatever layout, comments or order of keys say it."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def _explained(rule: CompiledRule, asked: Asked) -> ExplainedRule:
    conditions = tuple(
        ExplainedCondition(
            condition.words,
            condition.field,
            condition.read(asked.facts),
            condition.test(asked),
            condition.exception,
        )
        for condition in rule.conditions
    )
    holds = rule.test(asked)
    return ExplainedRule(rule, rule.counts_unknown if holds is None else holds, holds, conditions)
