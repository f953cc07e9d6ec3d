"""`moongate pull`, from a Hub double into a home, alone and beside a gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.cli import exits, main
from moongate.double import Cut, HubDouble, LfsFile, Match, Stall, Status
from support.gateway import Gateway

Run = Callable[..., tuple[int, str, str]]

WEIGHTS = os.urandom(1 << 20) * 6
OLD = b'{"old": true}'


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "double")
    tiny = double.add_repo("acme/tiny")
    tiny.commit({"config.json": OLD})
    tiny.commit({"config.json": b"{}", "model.safetensors": LfsFile(WEIGHTS), "onnx/model.onnx": b"onnx"})
    double.add_repo("acme/copy").commit({"model.safetensors": LfsFile(WEIGHTS)})
    double.add_repo("acme/squad", "dataset").commit({"train.jsonl": b'{"a": 1}\n'})
    double.add_repo("acme/gated", gated=True).commit({"config.json": b"{}"})
    double.add_repo("other/thing").commit({"config.json": b"{}"})
    double.add_user("ada", "hf_" + "Ada" * 12, grants=["acme/gated"])
    with double.running():
        yield double


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(
    double: HubDouble,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    monkeypatch.setenv("MOONGATE_HOME", str(home))
    monkeypatch.setenv("MOONGATE_UPSTREAM", double.url)
    monkeypatch.setenv("MOONGATE_UPSTREAM_ALLOWED_HOSTS", double.cdn_netloc)
    monkeypatch.setenv("MOONGATE_MIN_FREE_BYTES", "0")
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return go


def _kept(run: Run, repo: str) -> dict[str, bool]:
    return {file["path"]: file["kept"] for file in json.loads(run("show", repo, "--json")[1])["files"]}


def test_01_everything_of_a_repository_comes_once(run: Run, double: HubDouble) -> None:
    code, out, err = run("pull", "acme/tiny", "--json")
    assert code == 0, err
    document = json.loads(out)
    (repo,) = document["repos"]
    assert document["ok"] is True
    assert len(repo["commit_hash"]) == 40
    assert repo["fetched_bytes"] == repo["size_bytes"] > len(WEIGHTS)
    assert all(_kept(run, "acme/tiny").values())
    sent = double.meters.bytes_sent(origin="cdn")
    assert sent == len(WEIGHTS)
    code, out, _ = run("pull", "acme/tiny", "--json")
    assert code == 0
    assert json.loads(out)["repos"][0]["fetched_bytes"] == 0
    assert double.meters.bytes_sent(origin="cdn") == sent


def test_02_what_two_repositories_share_comes_once(run: Run, double: HubDouble) -> None:
    assert run("pull", "acme/tiny", "acme/copy", "-q")[0] == 0
    assert double.meters.bytes_sent(origin="cdn") == len(WEIGHTS)


def test_03_include_and_exclude_choose_files(run: Run) -> None:
    code, _out, _ = run("pull", "acme/tiny", "--include", "*.json", "--include", "onnx/", "--json")
    assert code == 0
    kept = _kept(run, "acme/tiny")
    assert kept["config.json"]
    assert kept["onnx/model.onnx"]
    assert not kept["model.safetensors"]
    assert run("pull", "acme/tiny", "--exclude", "*.safetensors")[0] == 0
    assert not _kept(run, "acme/tiny")["model.safetensors"]


def test_04_a_glob_takes_what_upstream_lists(run: Run) -> None:
    code, out, err = run("pull", "acme/[ct]*", "datasets/acme/*", "--json")
    assert code == 0, err
    assert [repo["repo"] for repo in json.loads(out)["repos"]] == [
        "acme/copy",
        "acme/tiny",
        "datasets/acme/squad",
    ]
    assert run("pull", "nobody/*")[0] == exits.FAILED
    code, _, err = run("pull", "*/tiny")
    assert code == exits.USAGE
    assert "namespace" in err


def test_05_a_type_flag_is_for_names_without_a_prefix(run: Run) -> None:
    code, out, _ = run("pull", "acme/squad", "--type", "dataset", "--json")
    assert code == 0
    assert json.loads(out)["repos"][0]["repo"] == "datasets/acme/squad"


def test_06_a_dry_run_fetches_nothing_and_says_how_much_it_would(run: Run, double: HubDouble) -> None:
    code, out, _ = run("pull", "acme/tiny", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["repos"][0]["fetched_bytes"] >= len(WEIGHTS)
    assert double.meters.bytes_sent(origin="cdn") == 0
    assert not any(_kept(run, "acme/tiny").values())


def test_07_what_is_gated_needs_the_token_of_somebody_let_in(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run("pull", "acme/gated")
    assert code == exits.REFUSED
    assert "MOONGATE_UPSTREAM_TOKEN" in err
    token = "hf_" + "Ada" * 12
    monkeypatch.setenv("MOONGATE_UPSTREAM_TOKEN", token)
    code, out, err = run("pull", "acme/gated", "--json")
    assert code == 0, err
    assert token not in out + err


def test_08_one_repository_in_trouble_does_not_stop_the_others(run: Run) -> None:
    code, out, err = run("pull", "acme/nothing", "acme/copy", "--json")
    assert code == exits.FAILED
    missing, copied = json.loads(out)["repos"]
    assert missing["error"]
    assert copied["error"] is None
    assert copied["fetched_bytes"] >= len(WEIGHTS)
    assert "acme/nothing" in err


def test_09_an_unknown_revision_and_a_bad_name_are_told_apart(run: Run) -> None:
    assert run("pull", "acme/tiny@v99")[0] == exits.FAILED
    assert run("pull", "acme/tiny@..")[0] == exits.USAGE
    assert run("pull", "a/b/c")[0] == exits.USAGE


def test_09_a_pattern_without_a_namespace_is_refused_before_anything_is_fetched(
    run: Run, double: HubDouble
) -> None:
    code, _, err = run("pull", "acme/tiny", "--include", "*.json", "*.safetensors")
    assert code == exits.USAGE
    assert "*.safetensors leaves the namespace open" in err
    assert "--include of its own" in err
    assert run("ls")[1] == ""


def test_10_upstream_away_is_4_with_a_hint(run: Run, double: HubDouble) -> None:
    double.stop()
    code, _out, err = run("pull", "acme/tiny")
    assert code == exits.UNREACHABLE
    assert "moongate doctor" in err
    assert "Traceback" not in err


def test_11_a_connection_that_breaks_is_taken_up_where_it_broke(run: Run, double: HubDouble) -> None:
    with double.failing(Cut(after_bytes=1 << 20, match=Match(origin="cdn"), times=2)):
        code, _out, err = run("pull", "acme/tiny", "--json")
    assert code == 0, err
    assert double.meters.bytes_sent(origin="cdn") < len(WEIGHTS) + (2 << 20)


def test_12_a_file_that_fails_is_named_and_the_others_come(run: Run, double: HubDouble) -> None:
    with double.failing(Status(503, match=Match(origin="cdn"))):
        code, out, _err = run("pull", "acme/tiny", "--json")
    assert code == exits.UNREACHABLE
    (failed,) = json.loads(out)["repos"][0]["failed"]
    assert failed["path"] == "model.safetensors"
    assert _kept(run, "acme/tiny")["config.json"]
    assert run("pull", "acme/tiny", "-q")[0] == 0


def test_13_pinned_in_one_go(run: Run) -> None:
    assert run("pull", "acme/copy", "--pin", "-q")[0] == 0
    assert json.loads(run("ls", "--json")[1])["repos"][0]["pinned"] is True


def test_14_ctrl_c_keeps_what_has_come_and_the_next_pull_goes_on(
    run: Run, double: HubDouble, home: Path, tmp_path: Path
) -> None:
    half = len(WEIGHTS) // 2
    with double.failing(Stall(half, match=Match(origin="cdn"))):
        process = subprocess.Popen(
            [sys.executable, "-m", "moongate.cli", "pull", "acme/copy"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        double.meters.wait_for(lambda meters: meters.bytes_sent(origin="cdn") >= half)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == exits.INTERRUPTED
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert run("pull", "acme/copy", "-q")[0] == 0
    assert double.meters.bytes_sent(origin="cdn") < len(WEIGHTS) * 1.6


def test_15_a_gateway_serves_what_a_pull_beside_it_fetched_and_asks_for_no_content(
    run: Run, double: HubDouble, home: Path
) -> None:
    with Gateway(home, double.url, cdn=double.cdn_netloc) as gateway:
        assert run("pull", "acme/tiny", "-q")[0] == 0
        sent = double.meters.bytes_sent(origin="cdn")
        with urllib.request.urlopen(f"{gateway.url}/acme/tiny/resolve/main/model.safetensors") as answer:
            assert answer.read() == WEIGHTS
            assert answer.headers["X-Moongate-Cache"] == "hit"
        assert double.meters.bytes_sent(origin="cdn") == sent == len(WEIGHTS)


def test_16_offline_says_what_is_not_kept(
    run: Run, double: HubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("pull", "acme/copy", "-q")[0] == 0
    monkeypatch.setenv("MOONGATE_OFFLINE", "true")
    assert run("pull", "acme/copy", "-q")[0] == 0
    assert run("pull", "acme/tiny", "-q")[0] == exits.UNREACHABLE
    code, out, _ = run("pull", "acme/*", "--json")
    assert code == 0
    assert [repo["repo"] for repo in json.loads(out)["repos"]] == ["acme/copy"]
