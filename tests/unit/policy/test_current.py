"""Rules that are edited while they hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moongate.policy.current import CurrentPolicy
from moongate.policy.engine import Rules
from moongate.policy.short_facts import facts_from
from moongate.policy.yaml_lines import BadPolicy

ASKED = facts_from({"repo": "acme/tiny"}, 1e9)


def write(file: Path, effect: str) -> None:
    file.write_text(f"moongate_policy: 1\nrules: [{{id: all, effect: {effect}}}]\n")


def test_an_edit_holds_from_the_next_look_on(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    write(file, "deny")
    told: list[tuple[Rules, Rules]] = []
    policy = CurrentPolicy(str(file), lambda before, after: told.append((before, after)))
    before = policy.generation

    assert not policy.refresh()
    write(file, "allow")
    assert policy.refresh()

    assert policy.decide(ASKED).effect == "allow"
    assert policy.generation != before
    assert [(one.default, other.digest) for one, other in told] == [("allow", policy.rules.digest)]


def test_a_broken_edit_keeps_the_last_good_rules_and_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    write(file, "deny")
    told: list[str] = []
    policy = CurrentPolicy(str(file), broken=told.append)

    file.write_text("moongate_policy: 1\nruels: []\n")
    assert not policy.refresh()
    assert not policy.refresh(force=True)

    assert policy.decide(ASKED).effect == "deny"
    assert told == [policy.trouble]
    assert f"{file}:2: unknown key 'ruels'" in policy.trouble

    file.unlink()
    assert not policy.refresh()
    assert "cannot be read" in policy.trouble
    write(file, "hold")
    assert policy.refresh()
    assert policy.trouble == ""


def test_a_file_that_only_looks_different_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    write(file, "deny")
    policy = CurrentPolicy(str(file), lambda *_: pytest.fail("nothing changed"))
    os.utime(file, (1, 1))

    assert not policy.refresh()


def test_a_file_that_comes_into_a_folder_counts(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "deny")
    policy = CurrentPolicy(str(tmp_path))
    (tmp_path / "b.yaml").write_text("moongate_policy: 1\nrules: [{id: more, effect: hold}]\n")

    assert policy.refresh()
    assert len(policy.rules.rules) == 2


def test_nothing_starts_without_rules(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="cannot be read"):
        CurrentPolicy(str(tmp_path / "absent.yaml"))
