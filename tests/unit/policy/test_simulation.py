"""What was asked is recorded once a day with a count, and a draft is asked the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moongate.policy.facts import Facts
from moongate.policy.loading import load
from moongate.policy.record import DAY_SECONDS, KEPT_DAYS, RecordedPolicy
from moongate.policy.short_facts import facts_from
from moongate.policy.simulation import simulate
from moongate.store.index import Index

NOW = 20_000 * DAY_SECONDS + 5


def test_a_draft_says_who_would_have_been_stopped(tmp_path: Path) -> None:
    clean = {
        "repo": "acme/tiny",
        "path": "a.bin",
        "formats": ["pickle"],
        "verdict": "clean",
        "licence": "mit",
    }

    def asked(actor: str, second: int) -> Facts:
        return replace(facts_from({**clean, "actor": actor, "age_days": 9}, NOW), at=NOW + second)

    with Index(tmp_path / "index.sqlite3") as index:
        policy = RecordedPolicy(load("balanced").rules, index, lambda: NOW)
        for actor, times in (("ada", 3), ("eve", 1)):
            for second in range(times):
                policy.decide(asked(actor, second))
            policy.flush()
        policy.decide(asked("ada", 9))
        policy.decide(facts_from({**clean, "verdict": "suspicious"}, NOW))
        policy.flush()

        rows = index.asked_since(20_000)
        strict, opened = simulate(rows, load("strict").rules), simulate(rows, load("open").rules)

    assert sorted((row.asked_count, row.effect) for row in rows) == [(1, "hold"), (1, "warn"), (4, "warn")]
    assert (strict.asked, strict.questions, strict.unreadable) == (6, 3, 0)
    assert strict.actors_stopped == ["ada", "eve"]
    assert [(change.count, change.after.rules) for change in strict.stopped] == [
        (4, ("unsafe-format", "new-here")),
        (1, ("unsafe-format", "new-here")),
    ]
    assert [change.facts.content and change.facts.content.verdict for change in opened.freed] == [
        "suspicious"
    ]
    assert opened.stopped == []


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    now = [NOW]
    with Index(tmp_path / "index.sqlite3") as index:
        policy = RecordedPolicy(load("open").rules, index, lambda: now[0])
        policy.decide(facts_from({"repo": "acme/tiny"}, NOW))
        policy.flush()
        assert len(index.asked_since(0)) == 1
        now[0] += (KEPT_DAYS + 1) * DAY_SECONDS
        policy.flush()
        assert index.asked_since(0) == []


def test_a_record_that_means_nothing_any_more_is_counted_and_left_out(tmp_path: Path) -> None:
    with Index(tmp_path / "index.sqlite3") as index:
        policy = RecordedPolicy(load("open").rules, index, lambda: NOW)
        policy.decide(facts_from({"repo": "acme/tiny"}, NOW))
        policy.flush()
        rows = index.asked_since(0)

    found = simulate([replace(rows[0], facts='{"action": "sing"}'), rows[0]], load("open").rules)
    assert (found.unreadable, found.questions) == (1, 1)
