"""`moongate scan REPO`: what a Hub has, fetched and judged, alone and through a gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.cli import main
from moongate.double import HubDouble, LfsFile
from support.gateway import Gateway
from support.pickled import EVIL, zipped

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "double")
    double.add_repo("acme/good").commit({"config.json": b"{}", "README.md": b"# Good\n"})
    double.add_repo("acme/bad").commit(
        {"config.json": b"{}", "pytorch_model.bin": LfsFile(zipped({"archive/data.pkl": EVIL}))}
    )
    with double.running():
        yield double


@pytest.fixture
def run(
    double: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setenv("MOONGATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MOONGATE_UPSTREAM", double.url)
    monkeypatch.setenv("MOONGATE_UPSTREAM_ALLOWED_HOSTS", double.cdn_netloc)
    monkeypatch.setenv("MOONGATE_MIN_FREE_BYTES", "0")
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return go


def _verdicts(out: str) -> dict[str, str]:
    return {file["path"]: file["verdict"] for file in json.loads(out)["files"]}


def test_01_a_repository_that_is_not_here_is_fetched_when_asked(run: Run) -> None:
    assert run("scan", "acme/bad")[0] == 1
    code, out, err = run("scan", "acme/bad", "--pull", "--json")
    assert code == 3, err
    assert _verdicts(out) == {
        ".gitattributes": "clean",
        "config.json": "clean",
        "pytorch_model.bin": "dangerous",
    }


def test_02_what_is_kept_is_judged_without_the_hub(run: Run, double: HubDouble) -> None:
    assert run("pull", "acme/good")[0] == 0
    code, out, _ = run("scan", "acme/good", "--json")
    assert code == 0
    assert _verdicts(out) == {"README.md": "clean", "config.json": "clean"}


def test_03_through_a_gateway(
    run: Run, double: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gateway(tmp_path / "gateway", double.url, cdn=double.cdn_netloc) as gateway:
        monkeypatch.setenv("MOONGATE_URL", gateway.url)
        code, out, err = run("scan", "acme/bad", "--pull", "--json")
    assert code == 3, err
    assert _verdicts(out)["pytorch_model.bin"] == "dangerous"


def test_04_sarif_has_the_shape_that_its_schema_asks_for(run: Run) -> None:
    code, out, _ = run("scan", "acme/bad", "--pull", "--sarif")
    assert code == 3
    log = json.loads(out)
    assert set(log) == {"$schema", "version", "runs"}
    (one,) = log["runs"]
    rules = [rule["id"] for rule in one["tool"]["driver"]["rules"]]
    assert len(rules) == len(set(rules))
    for rule in one["tool"]["driver"]["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
    for result in one["results"]:
        assert result["ruleId"] in rules
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        (place,) = result["locations"]
        location = place["physicalLocation"]["artifactLocation"]
        assert set(location) <= {"uri", "uriBaseId"}
        region = place["physicalLocation"].get("region", {"byteOffset": 0})
        assert region["byteOffset"] >= 0
    assert any("posix.system" in result["message"]["text"] for result in one["results"])
