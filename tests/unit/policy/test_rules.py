"""Rules: which one matches, what unknown facts do, and which effect wins."""

from __future__ import annotations

from typing import Any

import pytest

from moongate.core.decisions import Effect
from moongate.policy.cases import run_tests
from moongate.policy.engine import Rules
from moongate.policy.loading import PRESETS, assemble, load
from moongate.policy.short_facts import facts_from

NOW = 1_800_000_000.0


def rules(text: str) -> Rules:
    return assemble("test", [("test.yaml", f"moongate_policy: 1\n{text}")]).rules


def one(effect: Effect, when: str, more: str = "") -> Rules:
    return rules(f"rules:\n  - id: it\n    effect: {effect}\n    when: {when}\n{more}")


def effect(policy: Rules, **facts: Any) -> str:
    return policy.decide(facts_from({"repo": "acme/tiny", **facts}, NOW)).effect


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_do_what_their_own_tests_say(preset: str) -> None:
    outcomes = run_tests(load(preset), NOW)

    assert outcomes
    assert [outcome for outcome in outcomes if not outcome.passed] == []


@pytest.mark.parametrize(
    ("when", "fits", "fits_not"),
    [
        ("{repo: 'acme/*'}", {"repo": "ACME/Tiny"}, {"repo": "datasets/acme/tiny"}),
        ("{repo: models/acme/tiny}", {"repo": "acme/tiny"}, {"repo": "spaces/acme/tiny"}),
        ("{repo: 'datasets/*'}", {"repo": "datasets/acme/tiny"}, {"repo": "acme/tiny"}),
        ("{organisation: [acme, other]}", {}, {"repo": "acmes/tiny"}),
        ("{type: [dataset, space]}", {"repo": "spaces/acme/app"}, {}),
        ("{hosted: false}", {}, {"hosted": True}),
        ("{licence: {not: [mit, apache-2.0]}}", {"licence": "gpl-3.0"}, {"licence": "MIT"}),
        ("{licence_group: permissive}", {"licence": "Apache-2.0"}, {"licence": ""}),
        ("{tag: 'arxiv:*'}", {"tags": ["x", "arxiv:1"]}, {"tags": []}),
        ("{tag: {not: safe}}", {"tags": ["x"]}, {"tags": ["x", "safe"]}),
        ("{base_model: 'meta-llama/*'}", {"base_models": ["meta-llama/L"]}, {"base_models": ["x/y"]}),
        ("{age_days: {below: 7}}", {"age_days": 6.9}, {"age_days": 7}),
        ("{age_days: {at_most: 7}}", {"age_days": 7}, {"age_days": 7.1}),
        ("{downloads: {at_least: 10, below: 20}}", {"downloads": 10}, {"downloads": 20}),
        ("{downloads: {above: 10}}", {"downloads": 11}, {"downloads": 10}),
        ("{repo_size: {above: 5 GB}}", {"repo_size": 5_000_000_001}, {"repo_size": 5_000_000_000}),
        ("{file_size: {at_least: 1 KiB}}", {"path": "a", "file_size": 1024},
         {"path": "a", "file_size": 1023}),
        ("{actor: 'ci-*'}", {"actor": "ci-build"}, {"actor": "ada"}),
        ("{actor_kind: anonymous}", {"actor_kind": "anonymous"}, {}),
        ("{team: research}", {"teams": ["ops", "research"]}, {"teams": ["ops"]}),
        ("{team: {not: research}}", {"teams": []}, {"teams": ["research"]}),
        ("{role: approver}", {"roles": ["approver"]}, {}),
        ("{path: '*.BIN'}", {"path": "deep/model.bin"}, {"path": "model.bin.txt"}),
        ("{format: pickle}", {"path": "a", "formats": ["torch", "pickle"]}, {"path": "a", "formats": []}),
        ("{verdict: {not: clean}}", {"path": "a", "verdict": "failed"}, {"path": "a", "verdict": "clean"}),
        ("{finding: 'pickle-*'}", {"path": "a", "findings": ["pickle-call"]}, {"path": "a", "findings": []}),
        (
            "{severity: {at_least: high}}",
            {"path": "a", "findings": ["x:low", "y:critical"]},
            {"path": "a", "findings": ["x:medium"]},
        ),
        ("{complete: false}", {"path": "a", "complete": False}, {"path": "a", "complete": True}),
        ("{signed: true, signer: '*@acme.example'}",
         {"path": "a", "signed": True, "signer": "ci@acme.example"},
         {"path": "a", "signed": True, "signer": "ci@acme.example.evil"}),
        ("{signature_valid: false}", {"path": "a", "signature_valid": False},
         {"path": "a", "signature_valid": True}),
        ("{feed_age_days: {above: 7}}", {"feed_age_days": 8}, {"feed_age_days": 1}),
        ("{pinned: true}", {"revision": "a" * 40}, {"revision": "main"}),
        ("{private: true, gated: false}", {"private": True, "gated": False},
         {"private": True, "gated": True}),
        ("{revision: 'refs/*'}", {"revision": "refs/pr/1"}, {"revision": "main"}),
        ("{digest: abc}", {"path": "a", "digest": "ABC"}, {"path": "a", "digest": "abd"}),
        ("{modified_days: {below: 1}}", {"modified_days": 0}, {"modified_days": 2}),
        ("{likes: {below: 1}}", {"likes": 0}, {"likes": 1}),
    ],
)  # fmt: skip
def test_a_condition_looks_at_its_fact(when: str, fits: dict[str, Any], fits_not: dict[str, Any]) -> None:
    policy = one("deny", when)

    assert effect(policy, **fits) == "deny"
    assert effect(policy, **fits_not) == "allow"


@pytest.mark.parametrize(
    "when",
    ["{licence: mit}", "{licence: {not: mit}}", "{age_days: {below: 9}}", "{gated: true}", "{tag: x}"],
)
def test_an_unknown_fact_stops_and_lets_nothing_pass(when: str) -> None:
    closed = "default: deny\n"

    assert effect(one("deny", when)) == "deny"
    assert effect(one("hold", when)) == "hold"
    assert effect(one("allow", when, closed)) == "deny"
    assert effect(one("warn", when, closed)) == "deny"
    assert effect(one("deny", when, "    unknown: skip\n")) == "allow"


def test_an_exception_counts_only_when_it_is_sure() -> None:
    policy = one("deny", "{format: pickle}", "    unless: {signer: ada, signature_valid: true}\n")
    pickle = {"path": "a", "formats": ["pickle"]}

    assert effect(policy, **pickle, signer="ada", signature_valid=True) == "allow"
    assert effect(policy, **pickle, signer="ada") == "deny"
    assert effect(policy, **pickle, signer="eve", signature_valid=True) == "deny"
    assert effect(policy, path="a", formats=["json"]) == "allow"


def test_an_exception_of_a_rule_that_widens_takes_away_what_is_unsure() -> None:
    policy = one("allow", "{organisation: acme}", "    unless: {gated: true}\ndefault: deny\n")

    assert effect(policy, gated=False) == "allow"
    assert effect(policy) == "deny"


def test_a_rule_about_files_is_not_about_repositories() -> None:
    for when in ("{verdict: dangerous}", "{verdict: {not: clean}}", "{format: {not: safetensors}}"):
        assert effect(one("deny", when)) == "allow"
        assert effect(one("deny", when), path="a") == "deny"


def test_a_rule_is_about_reading_committing_and_deploying_unless_it_says_otherwise() -> None:
    usual, admin = one("deny", "{}"), one("deny", "{}", "    actions: [admin]\n")

    assert [effect(usual, action=action) for action in ("read", "commit", "deploy", "admin")] == [
        "deny", "deny", "deny", "allow",
    ]  # fmt: skip
    assert [effect(admin, action=action) for action in ("read", "admin")] == ["allow", "deny"]


def test_the_strictest_rule_wins_wherever_it_stands_and_every_match_is_told() -> None:
    ranked = (("a", "warn"), ("b", "deny"), ("c", "hold"), ("d", "deny"), ("e", "allow"))
    texts = [
        f"  - {{id: {name}, effect: {effect}, reason: 'for {name}', when: {{organisation: acme}}}}\n"
        for name, effect in ranked
    ]
    there, back = rules("rules:\n" + "".join(texts)), rules("rules:\n" + "".join(reversed(texts)))

    decision = there.decide(facts_from({"repo": "acme/tiny"}, NOW))

    assert (decision.effect, decision.reason) == ("deny", "for b")
    assert decision.rules == ("b", "d", "c", "a", "e")
    assert decision.policy == there.digest
    assert back.decide(facts_from({"repo": "acme/tiny"}, NOW)).effect == "deny"


def test_what_no_rule_is_about_gets_the_default() -> None:
    policy = one("allow", "{organisation: other}", "default: hold\n")
    decision = policy.decide(facts_from({"repo": "acme/tiny"}, NOW))

    assert (decision.effect, decision.rules) == ("hold", ())


def test_what_is_sure_to_be_refused_is_foreseen_and_nothing_else() -> None:
    policy = rules(
        "rules:\n  - {id: bad, effect: deny, when: {verdict: dangerous}}\n"
        "  - {id: nc, effect: deny, when: {licence_group: non-commercial}}\n"
        "  - {id: wait, effect: hold, when: {organisation: acme}}\n"
    )
    unjudged = facts_from({"repo": "acme/tiny", "licence": "mit", "path": "a"}, NOW)
    licence = facts_from({"repo": "acme/tiny", "licence": "cc-by-nc-4.0", "path": "a"}, NOW)
    dangerous = facts_from({"repo": "acme/tiny", "path": "a", "verdict": "dangerous"}, NOW)

    assert policy.decide(unjudged).effect == "deny"
    assert policy.foresee(unjudged) is None
    foreseen = policy.foresee(licence)
    assert foreseen is not None
    assert (foreseen.effect, foreseen.rules) == ("deny", ("nc",))
    assert policy.foresee(dangerous) is not None


def test_an_explanation_names_the_rule_the_condition_and_the_fact() -> None:
    policy = one("deny", "{licence: mit, age_days: {below: 7}}")
    told = policy.explain(facts_from({"repo": "acme/tiny", "licence": "mit"}, NOW)).as_json()

    assert told["effect"] == "deny"
    assert told["explained"][0]["place"] == "test.yaml:3"
    assert told["explained"][0]["because_unknown"] is True
    assert told["explained"][0]["conditions"] == [
        {"condition": "licence is mit", "fact": "mit", "holds": True, "unless": False},
        {"condition": "age_days is below 7", "fact": None, "holds": None, "unless": False},
    ]


def test_the_digest_follows_what_the_rules_say_and_not_how_they_are_laid_out() -> None:
    plain = one("deny", "{licence: mit, type: model}")
    moved = rules(
        "# so\nrules:\n\n  - when:\n      type: model\n      licence: mit\n    effect: deny\n    id: it"
    )
    other = one("hold", "{licence: mit, type: model}")

    assert plain.digest == moved.digest
    assert len({plain.digest, other.digest, one("deny", "{licence: mit}").digest}) == 3


def test_the_reason_names_what_was_found_where_the_rule_is_about_that() -> None:
    about, not_about = one("deny", "{verdict: dangerous}"), one("deny", "{format: pickle}")
    facts = facts_from(
        {
            "repo": "a/b",
            "path": "x",
            "formats": ["pickle"],
            "verdict": "dangerous",
            "findings": ["pickle-call"],
        },
        NOW,
    )

    assert about.decide(facts).reason.endswith("Found: pickle-call.")
    assert "Found" not in not_about.decide(facts).reason
