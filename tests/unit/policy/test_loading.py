"""Reading policy files: every mistake has its line, and files of a folder make one policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from moongate.policy.loading import PRESETS, assemble, load
from moongate.policy.yaml_lines import BadPolicy

HEAD = "moongate_policy: 1\n"
RULE = "rules:\n  - id: {}\n    effect: deny\n    when: {{organisation: acme}}\n"


def complaints(*texts: str) -> list[str]:
    with pytest.raises(BadPolicy) as caught:
        assemble("test", [(f"{letter}.yaml", text) for letter, text in zip("abcdef", texts, strict=False)])
    return caught.value.message.splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HEAD}defualt: deny\n", "a.yaml:2: unknown key 'defualt'; did you mean 'default'?"),
        ("rules: []\n", "a.yaml:1: 'moongate_policy' is missing"),
        ("moongate_policy: 2\n", "a.yaml:1: moongate_policy: '2' is none of 1"),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: dney\n",
            "a.yaml:4: rules.effect: 'dney' is none of allow, warn, hold, deny; did you mean 'deny'?",
        ),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: deny\n    when:\n      verdct: clean\n",
            "a.yaml:6: unknown key 'verdct'; did you mean 'verdict'?",
        ),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: deny\n    when: {{verdict: dangerus}}\n",
            "a.yaml:5: when.verdict: 'dangerus' is none of clean, unscanned, failed, suspicious, dangerous",
        ),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: deny\n    expr: repo.licance == 'x'\n",
            "a.yaml:5: expr: repo has no 'licance'; did you mean 'licence'?",
        ),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: deny\n    when: {{licence: no}}\n",
            "a.yaml:5: when.licence: expected a text; write 'False' in quotes if that is what you mean",
        ),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: deny\n    when: {{age_days: {{below: 1, at_most: 2}}}}\n",
            "a.yaml:5: when.age_days: one upper and one lower bound at most",
        ),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: deny\n    when: {{downloads: 7}}\n",
            "a.yaml:5: when.downloads: expected bounds, such as {below: 7} or {at_least: 100}",
        ),
        (
            f"{HEAD}rules:\n  - id: x\n    effect: deny\n    unless: {{}}\n",
            "a.yaml:5: unless: expected conditions; without any, the rule would never hold",
        ),
        (f"{HEAD}preset: open\nwithout: [dangeros]\n",
         "a.yaml:3: the preset has no rule 'dangeros'; did you mean 'dangerous'?"),
        (HEAD + RULE.format("x") + RULE.format("y"), "a.yaml:6: 'rules' stands there twice"),
        (f"{HEAD}rules: &a []\ntests: *a\n", "a.yaml:3: not YAML: anchors and aliases are not taken here"),
        (f"{HEAD}rules: [\n", "a.yaml:3: not YAML: "),
        (f"{HEAD}1: 2\n", "a.yaml:2: a key must be a text; write it in quotes"),
        ("- 1\n", "a.yaml:1: expected keys such as moongate_policy and rules"),
        ("", "a.yaml:1: expected keys such as moongate_policy and rules"),
        (f"{HEAD}default: {'[' * 60}{']' * 60}\n", "a.yaml:2: nested too deep"),
        (f"{HEAD}default: {'[' * 20000}\n", "a.yaml:1: not YAML that can be read: RecursionError"),
        (f"{HEAD}default: !!python/name:os.system ls\n", "a.yaml:2: not YAML: "),
        (f"{HEAD}default: 2026-99-99\n", "a.yaml:1: not YAML that can be read: ValueError"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(text: str, expected: str) -> None:
    assert complaints(text)[0].startswith(expected)


def test_all_mistakes_are_told_at_once() -> None:
    assert len(complaints(f"{HEAD}defualt: deny\nruls: []\n", "x: 1\n")) == 4


def test_two_files_may_not_contradict_each_other() -> None:
    text = HEAD + "default: deny\npreset: open\n" + RULE.format("x")

    assert complaints(text, text) == [
        "b.yaml:3: 'preset' stands in a.yaml already",
        "b.yaml:2: 'default' stands in a.yaml already",
        "b.yaml:5: there is a rule 'x' already, at a.yaml:5",
    ]


def test_a_policy_starts_from_a_preset_and_leaves_some_of_it_out() -> None:
    text = f"{HEAD}preset: balanced\nwithout: [suspicious]\n" + RULE.format("ours")
    loaded = assemble("test", [("a.yaml", text)])
    names = [rule.id for rule in loaded.rules.rules]

    assert "suspicious" not in names
    assert names[-1] == "ours"
    assert next(rule.place for rule in loaded.rules.rules).startswith("balanced.yaml:")
    assert loaded.tests == ()
    assert complaints(f"{HEAD}preset: balanced\n" + RULE.format("dangerous"))


def test_a_folder_is_read_by_name_and_what_is_hidden_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "20.yml").write_text(HEAD + RULE.format("second"))
    (tmp_path / "10.yaml").write_text(HEAD + RULE.format("first"))
    (tmp_path / ".draft.yaml").write_text("nonsense")
    (tmp_path / "README.md").write_text("nonsense")
    (tmp_path / ".git").mkdir()

    assert [rule.id for rule in load(str(tmp_path)).rules.rules] == ["first", "second"]


@pytest.mark.parametrize("name", ["absent.yaml", "empty", "latin.yaml"])
def test_what_cannot_be_read_is_no_policy(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\xfa")

    with pytest.raises(BadPolicy):
        load(str(tmp_path / name))


def test_a_preset_has_a_name() -> None:
    assert {load(name).rules.source for name in PRESETS} == set(PRESETS)
    with pytest.raises(BadPolicy):
        load("open.yaml")
