"""`moongate scan`: what it prints, and its exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from moongate.cli.main import run
from support.pickled import EVIL, zipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "files"
    (home / "sub").mkdir(parents=True)
    (home / "model.bin").write_bytes(zipped({"archive/data.pkl": EVIL}))
    (home / "sub" / "note.txt").write_text("hello")
    (home / "empty").write_bytes(b"")
    return home


def test_every_file_has_one_entry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", str(folder), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert {file["path"]: file["verdict"] for file in told["files"]} == {
        "empty": "clean",
        "model.bin": "dangerous",
        "sub/note.txt": "clean",
    }
    found = next(file for file in told["files"] if file["path"] == "model.bin")["findings"]
    assert all(finding["member"] == "archive/data.pkl" for finding in found)
    assert told["verdicts"]["dangerous"] == 1


def test_exit_codes(folder: Path, tmp_path: Path) -> None:
    assert run(["scan", str(folder / "sub"), "-q"]) == 0
    assert run(["scan", str(folder), "-q", "--fail-on", "never"]) == 0
    assert run(["scan", str(folder), "-q", "--fail-on", "dangerous"]) == 3
    odd = tmp_path / "odd.zip"
    odd.write_bytes(b"PK\x03\x04" + bytes(100))
    assert run(["scan", str(odd), "-q"]) == 1
    assert run(["scan", str(odd), "-q", "--fail-on", "suspicious"]) == 0
    assert run(["scan", str(tmp_path / "absent")]) == 1
    assert run(["scan", str(odd), "--json", "--sarif"]) == 2


def test_words_tell_the_evidence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["scan", str(folder / "model.bin")])
    out = capsys.readouterr().out
    assert "calls posix.system('true') [archive/data.pkl, byte" in out
    assert "STACK_GLOBAL" in out
    assert "now: Do not load it." in out


def test_sarif_names_rules_and_places(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["scan", str(folder), "--sarif"])
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == "2.1.0"
    results = told["runs"][0]["results"]
    known = {rule["id"] for rule in told["runs"][0]["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in results} <= known
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
    assert set(places) == {"model.bin"}


def test_names_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.zip"
    bad.write_bytes(zipped({"../\x1b[2Jx": b""}))
    run(["scan", str(bad)])
    assert "\x1b" not in capsys.readouterr().out


def test_names_that_are_no_text_are_spelt_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / os.fsdecode(b"\xff\n.pkl")).write_bytes(EVIL)
    for options in ([], ["--json"], ["--sarif"]):
        assert run(["scan", str(tmp_path), *options]) == 3
        shown = capsys.readouterr()
        assert "xff" in shown.out
        assert "\n.pkl" not in shown.out + shown.err
    run(["scan", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["files"][0]["path"] == "\\xff\n.pkl"
