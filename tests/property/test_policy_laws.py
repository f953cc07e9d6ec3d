"""Laws of rules: stricter rules never widen access, order means nothing, less knowledge never helps."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from moongate.core.decisions import EFFECTS
from moongate.core.verdicts import VERDICTS
from moongate.policy.engine import Rules
from moongate.policy.facts import Facts
from moongate.policy.loading import assemble
from moongate.policy.short_facts import facts_from

NOW = 1e9
_WORDS = st.sampled_from(["mit", "gpl-3.0", "acme/*", "*", "a", "pickle", "research"])
_SOME = st.one_of(_WORDS, st.lists(_WORDS, min_size=1, max_size=2))
_TURNED = st.one_of(_SOME, st.builds(lambda some: {"not": some}, _SOME))
_BOUND = st.sampled_from([{"below": 5}, {"at_least": 5}, {"above": 3, "at_most": 9}])
_FLAG = st.booleans()
_VERDICT = st.one_of(
    st.sampled_from(VERDICTS), st.builds(lambda word: {"not": word}, st.sampled_from(VERDICTS))
)
_CONDITIONS = {
    "repo": _TURNED, "licence": _TURNED, "tag": _TURNED, "team": _TURNED, "path": _TURNED,
    "format": _TURNED, "verdict": _VERDICT, "age_days": _BOUND, "downloads": _BOUND, "gated": _FLAG,
    "hosted": _FLAG, "signature_valid": _FLAG, "feed_age_days": _BOUND,
}  # fmt: skip
_WHEN = st.fixed_dictionaries({}, optional=_CONDITIONS)
_EXPRS = st.sampled_from(
    ["repo.gated == true", "'a' in repo.tags", "repo.downloads < 5", "file.verdict != 'clean'"]
)


def _rules(effects: tuple[str, ...] = EFFECTS) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"effect": st.sampled_from(effects), "when": _WHEN},
        optional={
            "unless": _WHEN.filter(bool), "expr": _EXPRS, "unknown": st.sampled_from(["match", "skip"]),
            "actions": st.sampled_from([["read"], ["read", "deploy"], ["commit"]]),
        },
    )  # fmt: skip


_POLICIES = st.lists(_rules(), max_size=5)
_FACTS = st.fixed_dictionaries(
    {"repo": st.sampled_from(["acme/tiny", "datasets/b/c", "gpt2"])},
    optional={
        "action": st.sampled_from(["read", "commit", "deploy", "admin"]),
        "licence": st.sampled_from(["mit", "gpl-3.0", ""]),
        "tags": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "teams": st.lists(st.sampled_from(["research", "a"]), max_size=2),
        "age_days": st.integers(0, 10), "downloads": st.integers(0, 10), "gated": _FLAG, "hosted": _FLAG,
        "signature_valid": _FLAG, "feed_age_days": st.integers(0, 10),
    },
)  # fmt: skip
_FILES = st.fixed_dictionaries(
    {"path": st.sampled_from(["a", "model.bin"])},
    optional={
        "formats": st.lists(st.sampled_from(["pickle", "a"]), max_size=2),
        "verdict": st.sampled_from(VERDICTS),
    },
)
_QUESTIONS = st.builds(
    lambda facts, file: facts_from(facts | file, NOW), _FACTS, st.one_of(_FILES, st.just({}))
)


def policy(rules: list[dict[str, Any]], default: str) -> Rules:
    named = [{"id": f"r{at}", **rule} for at, rule in enumerate(rules)]
    text = json.dumps({"moongate_policy": 1, "default": default, "rules": named})
    return assemble("test", [("test.yaml", text)]).rules


def strictness(rules: Rules, facts: Facts) -> int:
    return EFFECTS.index(rules.decide(facts).effect)


@given(_POLICIES, _rules(("deny",)), st.sampled_from(EFFECTS), _QUESTIONS)
def test_adding_a_deny_never_widens_access(
    rules: list[dict[str, Any]], deny: dict[str, Any], default: str, facts: Facts
) -> None:
    before, after = policy(rules, default), policy([*rules, deny], default)

    assert strictness(after, facts) >= strictness(before, facts)


@given(_POLICIES, _rules(), st.sampled_from(["allow", "warn"]), _QUESTIONS)
def test_where_the_default_is_mild_no_rule_widens_access_but_to_a_milder_refusal(
    rules: list[dict[str, Any]], more: dict[str, Any], default: str, facts: Facts
) -> None:
    before, after = policy(rules, default), policy([*rules, more], default)

    if not before.decide(facts).lets_pass:
        assert not after.decide(facts).lets_pass


@given(_POLICIES, st.sampled_from(EFFECTS), _QUESTIONS, st.randoms(use_true_random=False))
def test_the_order_of_rules_changes_no_effect(
    rules: list[dict[str, Any]], default: str, facts: Facts, random: Any
) -> None:
    shuffled = list(rules)
    random.shuffle(shuffled)

    assert strictness(policy(rules, default), facts) == strictness(policy(shuffled, default), facts)


@settings(max_examples=150)
@given(_POLICIES, st.sampled_from(EFFECTS), _QUESTIONS, st.data())
def test_what_is_not_known_never_lets_pass_what_would_be_stopped(
    rules: list[dict[str, Any]], default: str, facts: Facts, data: st.DataObject
) -> None:
    closed = [{**rule, "unknown": "match"} for rule in rules]
    known = policy(closed, default)
    part = data.draw(st.sampled_from(["repo", "content", "signature"]))
    told = getattr(facts, part)
    if told is None:
        return
    names = [field.name for field in fields(told) if getattr(told, field.name) is not None]
    open_names = {
        "repo": {"licence", "tags", "created_at", "downloads", "gated"},
        "content": {"formats", "verdict"},
        "signature": {"valid"},
    }[part]
    blank = dict.fromkeys(open_names.intersection(names))
    dimmed = replace(facts, **{part: replace(told, **blank)})

    if not known.decide(facts).lets_pass:
        assert not known.decide(dimmed).lets_pass


@given(_POLICIES, st.sampled_from(EFFECTS), _QUESTIONS)
def test_what_is_foreseen_to_be_refused_is_refused(
    rules: list[dict[str, Any]], default: str, facts: Facts
) -> None:
    rules_ = policy(rules, default)

    if rules_.foresee(facts) is not None:
        assert not rules_.decide(facts).lets_pass


@given(_POLICIES, st.sampled_from(EFFECTS), _QUESTIONS)
def test_an_explanation_decides_as_the_decision_does(
    rules: list[dict[str, Any]], default: str, facts: Facts
) -> None:
    rules_ = policy(rules, default)
    explained = rules_.explain(facts)

    assert explained.decision == rules_.decide(facts)
    matched = [rule.rule.id for rule in explained.rules if rule.matched]
    assert tuple(matched) == explained.decision.rules
