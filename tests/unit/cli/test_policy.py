"""`moongate policy`, `approve` and `waiver`: what they print, and their exit codes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from moongate.cli.main import run
from moongate.hub.audit import NoAudit
from moongate.policy.desk import Desk
from moongate.policy.loading import load
from moongate.policy.record import RecordedPolicy
from moongate.policy.short_facts import facts_from
from moongate.store.index import Index

HEAD = "moongate_policy: 1\n"
GOOD = (
    f"{HEAD}rules:\n  - id: ours\n    effect: deny\n    when: {{organisation: acme}}\n"
    "tests:\n  - name: ours are denied\n    facts: {repo: acme/tiny}\n    expect: deny\n    rule: ours\n"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("MOONGATE_HOME", str(home))
    monkeypatch.delenv("MOONGATE_URL", raising=False)
    return home


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def held(home: Path) -> str:
    facts = facts_from(
        {"repo": "acme/tiny", "actor": "eve", "path": "a.bin", "digest": "d" * 64, "verdict": "suspicious"},
        1e9,
    )
    with Index(home / "index.sqlite3") as index:
        rules = load("balanced").rules
        return Desk(index, NoAudit(), lambda: 2e9).held(facts, rules.decide(facts))


def test_check_tells_every_mistake_and_runs_the_tests(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD)
    assert run(["policy", "check", str(file), "--json"]) == 0
    assert told(capsys)["tests"][0]["passed"] is True

    file.write_text(GOOD.replace("expect: deny", "expect: allow"))
    assert run(["policy", "check", str(file)]) == 1
    assert "ours are denied: expected allow, got deny by ours" in capsys.readouterr().out
    assert run(["policy", "test", str(file)]) == 1

    file.write_text(f"{HEAD}ruels: []\n")
    assert run(["policy", "check", str(file), "--json"]) == 1
    capsys.readouterr()
    assert run(["policy", "check", str(file)]) == 1
    assert f"{file}:2: unknown key 'ruels'; did you mean 'rules'?" in capsys.readouterr().out
    assert run(["policy", "test", str(file)]) == 2


def test_explain_names_the_rule_and_the_fact(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text("repo: acme/tiny\npath: a.bin\nverdict: dangerous\n")
    assert run(["policy", "explain", "--facts", str(facts), "--json"]) == 3
    answer = told(capsys)
    assert (answer["effect"], answer["rules"]) == ("deny", ["dangerous"])
    assert answer["explained"][0]["conditions"][0]["fact"] == "dangerous"
    assert answer["facts"]["content"]["path"] == "a.bin"

    facts.write_text("repo: acme/tiny\nlicence: mit\n")
    assert run(["policy", "explain", "--facts", str(facts), "--policy", "open"]) == 0
    facts.write_text("repo: acme/tiny\nlicense: mit\n")
    assert run(["policy", "explain", "--facts", str(facts)]) == 2
    assert "unknown fact 'license'; did you mean 'licence'?" in capsys.readouterr().err
    assert run(["policy", "explain"]) == 2


def test_show_and_schema(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "show", "--json"]) == 0
    assert told(capsys)["source"] == "balanced"
    assert run(["policy", "schema"]) == 0
    schema = told(capsys)
    assert schema["$defs"]["When"]["additionalProperties"] is False
    assert "verdict" in schema["$defs"]["When"]["properties"]
    assert run(["policy", "schema", "--facts"]) == 0
    assert "licence" in told(capsys)["properties"]


def test_a_request_is_listed_shown_granted_and_its_waiver_revoked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = held(home)
    assert run(["approve", "list", "--json"]) == 0
    assert [row["id"] for row in told(capsys)["requests"]] == [request]
    assert run(["approve", "show", request]) == 0
    assert "models/acme/tiny a.bin" in capsys.readouterr().out

    assert run(["approve", "grant", request]) == 2
    assert "say why" in capsys.readouterr().err
    assert run(["approve", "grant", request, "-m", "read it", "--until", "2d", "--json"]) == 0
    waiver = told(capsys)["granted"][0]["waiver"]
    assert waiver["digest"] == "d" * 64
    assert run(["approve", "grant", request, "-m", "again"]) == 1
    capsys.readouterr()

    assert run(["waiver", "list", "--json"]) == 0
    assert [row["id"] for row in told(capsys)["waivers"]] == [waiver["id"]]
    assert run(["waiver", "revoke", waiver["id"]]) == 0
    assert run(["waiver", "list"]) == 0
    assert "no exceptions" in capsys.readouterr().err
    assert run(["waiver", "list", "--ended"]) == 0
    assert "revoked by" in capsys.readouterr().out


def test_a_request_is_refused_with_a_reason(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = held(home)
    assert run(["approve", "refuse", request, "-m", "malware", "--json"]) == 0
    assert told(capsys)["state"] == "refused"
    assert run(["approve", "list", "--state", "refused"]) == 0
    assert request in capsys.readouterr().out
    assert run(["approve", "show", "r-absent"]) == 1


def test_a_waiver_can_be_made_unasked_but_not_where_two_approvers_are_needed(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held(home)
    command = ["waiver", "add", "--scope", "repo", "--repo", "acme/tiny", "-m", "ours"]
    assert run([*command, "--json"]) == 0
    assert told(capsys)["repo"] == "models/acme/tiny"
    assert run(["waiver", "add", "--scope", "file", "--repo", "acme/tiny", "-m", "ours"]) == 2
    monkeypatch.setenv("MOONGATE_TWO_APPROVERS", "true")
    assert run(command) == 3


def test_webhooks_are_added_with_a_secret_listed_tried_and_removed(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held(home)
    assert run(["webhook", "add", "http://127.0.0.1:9/hook"]) == 2
    assert "webhook_allowed_hosts" in capsys.readouterr().err
    monkeypatch.setenv("MOONGATE_WEBHOOK_ALLOWED_HOSTS", "127.0.0.1:9")
    assert run(["webhook", "add", "http://127.0.0.1:9/hook", "--event", "file.denid"]) == 2
    assert "did you mean 'file.denied'?" in capsys.readouterr().err
    assert run(["webhook", "add", "http://127.0.0.1:9/hook", "--event", "file.denied", "--json"]) == 0
    added = told(capsys)

    assert run(["webhook", "list", "--json"]) == 0
    listed = told(capsys)["webhooks"]
    assert [hook["id"] for hook in listed] == [added["id"]]
    assert "secret" not in listed[0]
    assert run(["webhook", "test", added["id"]]) == 4
    assert run(["webhook", "rm", added["id"]]) == 0
    assert run(["webhook", "rm", added["id"]]) == 1


def test_simulate_lists_who_would_have_been_stopped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_from(
        {"repo": "acme/tiny", "actor": "eve", "path": "a.bin", "formats": ["pickle"], "verdict": "clean"},
        time.time(),
    )
    with Index(home / "index.sqlite3") as index:
        recorded = RecordedPolicy(load("balanced").rules, index, time.time)
        recorded.decide(facts)
        recorded.flush()

    assert run(["policy", "simulate", "strict", "--json"]) == 3
    answer = told(capsys)
    assert answer["actors_stopped"] == ["eve"]
    assert answer["stopped"][0]["rules"][0] == "unsafe-format"
    assert run(["policy", "simulate", "open"]) == 0
    assert "1 request in 7 days" in capsys.readouterr().err
