"""One decision of a policy with fifty rules, by itself.

Targets: at most 50 microseconds at the 99th percentile, typed rules alone.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

from bench.plan import Plan
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import Stage
from moongate.policy.engine import Rules
from moongate.policy.facts import Facts
from moongate.policy.loading import assemble
from moongate.policy.short_facts import facts_from

NAME = "policy"
_RULES = 50
_CALLS = 20_000
_QUESTIONS = 64
_P99 = Target("at most", 50.0, "value")

_CONDITIONS: tuple[dict[str, object], ...] = (
    {"organisation": ["mistral", "acme-*"], "type": "model"},
    {"licence_group": ["non-commercial", "unknown"], "team": {"not": "research"}},
    {"format": ["pickle", "torch"], "hosted": False},
    {"verdict": ["suspicious", "failed"]},
    {"age_days": {"below": 7}, "downloads": {"below": 100}},
    {"path": ["*.bin", "*.pt", "*.ckpt"], "signature_valid": {"not": True}},
    {"tag": "arxiv:*", "base_model": "meta-llama/*"},
    {"severity": {"at_least": "high"}},
    {"file_size": {"above": "20 GB"}, "actor": "ci-*"},
    {"gated": True, "role": {"not": "approver"}},
)


def measure(stage: Stage) -> Section:
    """Median and 99th percentile of a decision, with typed rules alone and with expressions."""
    section = Section(
        NAME,
        "One decision by fifty rules",
        f"{_CALLS} decisions over {_QUESTIONS} different questions in one thread, each timed by itself, "
        "nothing remembered between them. Expressions are CEL.",
    )
    for what, expressions, target in (("typed rules", 0, _P99), ("5 of them with expr", 5, None)):
        rounds = [_percentiles(_policy(expressions)) for _ in range(_rounds(stage.plan))]
        for name, at, aimed in (("median", 0, None), ("p99", 1, target)):
            values = Samples(tuple(figures[at] for figures in rounds))
            section.rows.append(Row(f"{what}, {name}", "µs", values, target=aimed))
    return section


def _rounds(plan: Plan) -> int:
    return max(1, plan.rounds)


def _policy(expressions: int) -> Rules:
    rules = []
    for number in range(_RULES):
        rule: dict[str, object] = {
            "id": f"rule-{number}",
            "effect": ("allow", "warn", "hold", "deny")[number % 4],
            "when": _usable(_CONDITIONS[number % len(_CONDITIONS)]),
        }
        if number < expressions:
            rule["expr"] = 'repo.organisation == "acme" && !("reviewed" in repo.tags)'
        rules.append(rule)
    text = json.dumps({"moongate_policy": 1, "rules": rules})
    return assemble("bench", [("bench.yaml", text)]).rules


def _usable(when: dict[str, object]) -> dict[str, object]:
    return {name: False if want == {"not": True} else want for name, want in when.items()}


def _questions() -> list[Facts]:
    asked = facts_from(
        {
            "repo": "acme/tiny", "actor": "ada", "teams": ["ml", "ops"], "licence": "apache-2.0",
            "tags": [f"tag-{number}" for number in range(20)], "age_days": 300, "downloads": 12_000,
            "path": "model-00001-of-00010.safetensors", "formats": ["safetensors"], "file_size": 5_000_000,
            "verdict": "clean", "findings": [], "complete": True, "base_models": ["acme/base"],
            "gated": False, "signed": False, "signature_valid": False,
        },
        time.time(),
    )  # fmt: skip
    tags = asked.repo.tags or ()
    repos = [
        replace(asked.repo, repo_id=f"acme/tiny-{number}", tags=(*tags, f"own-{number}"))
        for number in range(_QUESTIONS)
    ]
    return [replace(asked, repo=repo) for repo in repos]


def _percentiles(rules: Rules) -> tuple[float, float]:
    questions, took = _questions(), []
    for number in range(_CALLS):
        facts = questions[number % _QUESTIONS]
        started = time.perf_counter_ns()
        rules.decide(facts)
        took.append(time.perf_counter_ns() - started)
    took.sort()
    return took[len(took) // 2] / 1e3, took[len(took) * 99 // 100] / 1e3
