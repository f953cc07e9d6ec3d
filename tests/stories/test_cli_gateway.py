"""Commands against a running gateway: by MOONGATE_URL through its admin API, and beside it on its home."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.cli import exits, main
from moongate.double import HubDouble, LfsFile
from support.front import until
from support.gateway import Gateway

Run = Callable[..., tuple[int, str, str]]

WEIGHTS = bytes(range(256)) * 5000


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "double")
    double.add_repo("acme/tiny").commit({"config.json": b"{}", "model.safetensors": LfsFile(WEIGHTS)})
    double.add_repo("acme/squad", "dataset").commit({"train.jsonl": b'{"a": 1}\n'})
    with double.running():
        yield double


@pytest.fixture
def gateway(double: HubDouble, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "home", double.url, cdn=double.cdn_netloc) as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def go(*words: str) -> tuple[int, str, str]:
        code = main.run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return go


@pytest.fixture
def remote(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_URL", gateway.url)


def _fetch(gateway: Gateway, path: str, token: str | None = None) -> bytes:
    request = urllib.request.Request(gateway.url + path)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def _fetch_all(gateway: Gateway) -> None:
    assert _fetch(gateway, "/acme/tiny/resolve/main/model.safetensors") == WEIGHTS
    assert _fetch(gateway, "/acme/tiny/resolve/main/config.json") == b"{}"
    assert _fetch(gateway, "/datasets/acme/squad/resolve/main/train.jsonl") == b'{"a": 1}\n'
    # A blob is put in its place, and in the index, a moment after its last reader has it all.
    until(lambda: json.loads(_fetch(gateway, "/api/moongate/v1/usage"))["blobs"] >= 3)


@pytest.mark.usefixtures("remote")
def test_01_a_token_made_through_the_api_opens_the_gateway_until_revoked(run: Run, gateway: Gateway) -> None:
    code, out, _ = run("token", "create", "--user", "alice", "--expires", "1h", "--note", "laptop", "--json")
    assert code == 0
    made = json.loads(out)
    assert made["expires_at"] > made["created_at"]
    whoami = json.loads(_fetch(gateway, "/api/whoami-v2", made["token"]))
    assert whoami["name"] == "alice"
    (row,) = json.loads(run("token", "list", "--json")[1])["tokens"]
    assert (row["id"], row["user"], row["note"]) == (made["id"], "alice", "laptop")
    assert run("token", "revoke", made["id"])[0] == 0
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _fetch(gateway, "/api/whoami-v2", made["token"])
    assert run("token", "revoke", made["id"])[0] == exits.FAILED


def test_02_a_token_made_on_the_home_opens_the_running_gateway(run: Run, gateway: Gateway) -> None:
    code, out, _ = run("token", "create", "--user", "bob", "--home", str(gateway.home))
    assert code == 0
    assert json.loads(_fetch(gateway, "/api/whoami-v2", out.strip()))["name"] == "bob"


@pytest.mark.usefixtures("remote")
def test_03_a_token_without_rights_is_refused(
    run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = run("token", "create", "--user", "carol", "--scope", "read")[1].strip()
    monkeypatch.setenv("MOONGATE_TOKEN", token)
    code, out, err = run("token", "list")
    assert (code, out) == (exits.REFUSED, "")
    assert err.startswith("error: ")
    assert token not in err
    monkeypatch.setenv("MOONGATE_TOKEN", "hf_" + "A" * 48)
    assert run("token", "list")[0] == exits.REFUSED


@pytest.mark.usefixtures("remote")
def test_04_ls_and_du_show_what_clients_fetched(run: Run, gateway: Gateway) -> None:
    _fetch_all(gateway)
    repos = {repo["repo"]: repo for repo in json.loads(run("ls", "--json")[1])["repos"]}
    assert set(repos) == {"acme/tiny", "datasets/acme/squad"}
    assert repos["acme/tiny"]["size_bytes"] == len(WEIGHTS) + 2
    du = json.loads(run("du", "--json")[1])
    assert du["repos"][0]["repo"] == "acme/tiny"
    assert du["total_bytes"] == len(WEIGHTS) + 2 + 9
    beside = json.loads(run("ls", "--json", "--home", str(gateway.home))[1])
    assert {repo["repo"]: repo["size_bytes"] for repo in beside["repos"]} == {
        name: repo["size_bytes"] for name, repo in repos.items()
    }


@pytest.mark.usefixtures("remote")
def test_05_rm_through_the_api_frees_the_bytes_and_the_next_request_fetches_anew(
    run: Run, gateway: Gateway, double: HubDouble
) -> None:
    _fetch_all(gateway)
    code, out, _ = run("rm", "acme/*", "--yes", "--json")
    assert code == 0
    assert json.loads(out)["freed_bytes"] == len(WEIGHTS) + 2
    assert [repo["repo"] for repo in json.loads(run("ls", "--json")[1])["repos"]] == ["datasets/acme/squad"]
    before = double.meters.bytes_sent(origin="cdn")
    assert _fetch(gateway, "/acme/tiny/resolve/main/model.safetensors") == WEIGHTS
    assert double.meters.bytes_sent(origin="cdn") - before == len(WEIGHTS)


@pytest.mark.usefixtures("remote")
def test_06_pins_hold_through_the_api(run: Run, gateway: Gateway) -> None:
    _fetch_all(gateway)
    assert run("pin", "acme/tiny@main")[0] == 0
    assert run("rm", "acme/tiny", "--yes")[0] == exits.FAILED
    assert run("unpin", "acme/tiny")[0] == exits.FAILED
    assert run("unpin", "acme/tiny@main")[0] == 0
    assert run("rm", "acme/tiny", "--yes")[0] == 0


@pytest.mark.usefixtures("remote")
def test_07_verify_and_gc_are_done_by_the_gateway(run: Run, gateway: Gateway) -> None:
    _fetch_all(gateway)
    code, out, _ = run("verify", "--json")
    assert code == 0
    assert json.loads(out) == {
        "checked": 3,
        "checked_bytes": len(WEIGHTS) + 11,
        "xet_files": None,
        "wrong": [],
    }
    (blob,) = (
        path for path in (gateway.home / "store").rglob("*") if path.is_file() and path.stat().st_size == 9
    )
    blob.chmod(0o600)
    blob.write_bytes(b'{"a": 2}\n')
    code, out, err = run("verify", "--json")
    assert code == exits.FAILED
    assert [item["etag"] for item in json.loads(out)["wrong"]] == [blob.name]
    assert "quarantined" in err
    code, out, _ = run("gc", "--json")
    assert code == 0
    assert json.loads(out)["over_bytes"] == 0


@pytest.mark.usefixtures("remote")
def test_08_grants_through_the_api(run: Run) -> None:
    assert run("grant", "add", "alice", "acme/*")[0] == 0
    assert run("grant", "list")[1] == "alice\tacme/*\n"
    assert run("grant", "remove", "alice", "acme/*")[0] == 0
    assert run("grant", "remove", "alice", "acme/*")[0] == exits.FAILED


@pytest.mark.usefixtures("remote")
def test_09_the_doctor_sees_a_gateway_from_outside(run: Run, gateway: Gateway) -> None:
    code, out, _ = run("doctor", "--json")
    assert code == 0
    levels = {finding["check"]: finding["level"] for finding in json.loads(out)["findings"]}
    assert levels["gateway"] == "ok"
    assert levels["clock"] == "ok"
    gateway.kill()
    assert run("doctor")[0] == exits.UNREACHABLE
    gateway.start()


def test_10_the_doctor_beside_a_gateway_finds_it_and_its_upstream(
    run: Run, gateway: Gateway, double: HubDouble
) -> None:
    words = [
        "doctor",
        "--json",
        "--home",
        str(gateway.home),
        "--upstream",
        double.url,
        "--port",
        str(gateway.port),
    ]
    code, out, _ = run(*words)
    findings = {finding["check"]: finding for finding in json.loads(out)["findings"]}
    assert code == 0, out
    assert "already" in findings["port"]["words"]
    assert findings["upstream"]["level"] == "ok"
    double.stop()
    code, out, _ = run(*words)
    assert code == exits.UNREACHABLE
    findings = {finding["check"]: finding for finding in json.loads(out)["findings"]}
    assert "nobody listens" in findings["upstream"]["words"]
    assert findings["port"]["level"] == "ok"


def test_11_a_second_gateway_on_the_same_port_is_told_plainly(
    run: Run, gateway: Gateway, tmp_path: Path
) -> None:
    code, out, err = run("serve", "--home", str(tmp_path / "other"), "--port", str(gateway.port))
    assert (code, out) == (exits.FAILED, "")
    assert "in use" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("remote")
def test_12_a_pull_is_done_by_the_gateway(run: Run, gateway: Gateway, double: HubDouble) -> None:
    code, out, err = run("pull", "acme/*", "datasets/acme/squad", "--pin", "--json")
    assert code == 0, err
    assert [repo["repo"] for repo in json.loads(out)["repos"]] == ["acme/tiny", "datasets/acme/squad"]
    sent = double.meters.bytes_sent(origin="cdn")
    assert sent == len(WEIGHTS)
    _fetch_all(gateway)
    assert double.meters.bytes_sent(origin="cdn") == sent
    assert all(repo["pinned"] for repo in json.loads(run("ls", "--json")[1])["repos"])
    code, _, err = run("pull", "acme/nothing")
    assert code == exits.FAILED
    assert "acme/nothing" in err
