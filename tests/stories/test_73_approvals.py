"""A hold, its request, its approval: the same `hf download` passes, until the exception ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.cli import exits, main
from moongate.double import HubDouble, LfsFile
from support.clients import run_client
from support.gateway import Gateway
from support.pickled import calls, zipped
from support.raw import ask

Run = Callable[..., tuple[int, str, str]]

UNKNOWN = zipped({"archive/data.pkl": calls("acme_models", "Thing"), "archive/version": b"3\n"})
TARGET = "/acme/odd/resolve/main/pytorch_model.bin"
HOLD_ALL = "moongate_policy: 1\nrules:\n  - {id: wait, effect: hold, reason: Somebody has to look at it.}\n"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/odd").commit({"pytorch_model.bin": LfsFile(UNKNOWN)})
    with double.running():
        yield double


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


@pytest.mark.parametrize("workers", [1, 2])
def test_1_what_is_held_passes_once_it_is_approved_and_stops_when_that_is_revoked(
    tmp_path: Path,
    hub: HubDouble,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    client_python: Callable[[str], Path],
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(HOLD_ALL)
    hf = client_python("hub-2.4").parent / "hf"
    env = {"MOONGATE_POLICY": str(policy)}
    hosts = f"{hub.cdn_netloc},{hub.cas_netloc}"
    with Gateway(tmp_path / "home", hub.url, cdn=hosts, workers=workers, env=env) as gateway:
        monkeypatch.setenv("MOONGATE_URL", gateway.url)

        def download(home: str) -> tuple[int, str]:
            command = [hf, "download", "acme/odd", "pytorch_model.bin"]
            done = run_client(
                command,
                home=tmp_path / home,
                endpoint=gateway.url,
                env={"HF_HUB_DISABLE_XET": "1"},
                check=False,
            )
            return done.returncode, done.stdout + done.stderr

        code, said = download("before")
        assert code != 0
        assert "holds pytorch_model.bin" in said
        held = [ask(gateway.url, TARGET) for _ in range(4)]
        assert {(answer.status, answer.headers.get("x-error-code")) for answer in held} == {
            (403, "HeldByPolicy")
        }
        code, out, _ = run("approve", "list", "--json")
        (request,) = json.loads(out)["requests"]
        assert (code, request["path"], request["rules"]) == (0, "pytorch_model.bin", ["wait"])

        code, out, _ = run("approve", "grant", request["id"], "-m", "read it", "--until", "1h", "--json")
        waiver = json.loads(out)["granted"][0]["waiver"]
        assert download("after")[0] == 0
        passed = [ask(gateway.url, TARGET) for _ in range(4)]
        assert {answer.status for answer in passed} == {200}
        assert all(answer.body == UNKNOWN for answer in passed)
        assert waiver["id"] in passed[0].headers["x-moongate-warning"]

        assert run("waiver", "revoke", waiver["id"])[0] == exits.DONE
        assert {ask(gateway.url, TARGET).status for _ in range(4)} == {403}
