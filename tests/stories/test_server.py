"""The gateway as a process: its start, its stop, its workers, and what an operator sees of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import HubDouble, Throttle, big_file
from support.gateway import Gateway

MODEL = "acme/tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_repo(MODEL).commit(
        {"config.json": b"{}", WEIGHTS: big_file(tmp_path / "weights", 24 << 20, seed=7)}
    )
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble, **options: object) -> Gateway:
    return Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc, **options)  # type: ignore[arg-type]


def get(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def admin(
    gate: Gateway, method: str, path: str, document: object | None = None
) -> tuple[int, dict[str, object]]:
    body = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"} if body else {}
    request = urllib.request.Request(
        f"{gate.url}/api/moongate/v1{path}", data=body, headers=headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_1_it_says_where_it_is_and_stops_with_0(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as gate:
        assert gate.url.startswith("http://")
        assert get(gate.url + "/healthz")[0] == 200
        assert get(gate.url + "/readyz")[0] == 200
        assert json.loads(get(f"{gate.url}/api/models/{MODEL}")[1])["id"] == MODEL
        assert b"export HF_ENDPOINT=" in get(gate.url + "/")[1]
    # leaving the block fails unless the exit code was 0


def test_2_a_second_start_finds_its_data(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as gate:
        content = get(f"{gate.url}/{MODEL}/resolve/main/{WEIGHTS}")[1]
    hub.stop()
    with gateway(tmp_path, hub) as gate:
        assert get(f"{gate.url}/{MODEL}/resolve/main/{WEIGHTS}") == (200, content)


def test_3_a_port_in_use_is_named(tmp_path: Path, hub: HubDouble) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in ("1", "2"):
            done = _serve(tmp_path, "--port", str(port), "--workers", workers, "--upstream", hub.url)
            assert done.returncode == 1
            assert f"port {port} on 127.0.0.1 is in use" in done.stderr
            assert "Traceback" not in done.stderr
            assert done.stdout == ""


def test_4_elsewhere_than_loopback_it_wants_a_token(tmp_path: Path, hub: HubDouble) -> None:
    done = _serve(tmp_path, "--host", "0.0.0.0", "--port", "0", "--upstream", hub.url)
    assert done.returncode == 1
    assert "moongate token create" in done.stderr
    assert "Traceback" not in done.stderr
    with gateway(tmp_path, hub, arguments=("--host", "0.0.0.0", "--allow-anonymous")) as gate:
        url = f"http://127.0.0.1:{gate.port}"
        assert get(f"{url}/api/models/{MODEL}")[0] == 200
        assert get(f"{url}/api/moongate/v1/status")[0] == 401


def test_5_a_running_response_finishes_before_it_stops(tmp_path: Path, hub: HubDouble) -> None:
    hub.fault(Throttle(bytes_per_second=12 << 20))
    with gateway(tmp_path, hub) as gate:
        connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
        connection.request("GET", f"/{MODEL}/resolve/main/{WEIGHTS}")
        answer = connection.getresponse()
        first = answer.read(1000)
        os.kill(gate.pid, signal.SIGTERM)
        rest = answer.read()
        assert len(first) + len(rest) == 24 << 20
        connection.close()


def test_6_two_workers_serve_and_a_dead_one_is_replaced(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub, workers=2) as gate:
        first = _workers(gate.pid)
        assert len(first) == 2
        for _ in range(8):
            assert get(f"{gate.url}/api/models/{MODEL}")[0] == 200
        os.kill(first[0], signal.SIGKILL)
        second = _wait_for(lambda: len(found := _workers(gate.pid)) == 2 and found != first and found)
        assert first[0] not in second
        page = _wait_for(lambda: _counted(gate) >= 8 and get(gate.url + "/metrics")[1])
        assert b"moongate_requests_total" in page
    assert "a worker died" in gate.log_tail()


def test_7_workers_do_not_outlive_their_parent(tmp_path: Path, hub: HubDouble) -> None:
    gate = gateway(tmp_path, hub, workers=2)
    gate.start()
    workers = _workers(gate.pid)
    gate.kill()
    for pid in workers:
        _wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def test_8_the_admin_api_keeps_house(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as gate:
        status, job = admin(gate, "POST", "/pulls", {"repo": MODEL})
        assert (status, job["state"]) == (202, "running")
        done = _wait_for(
            lambda: (found := admin(gate, "GET", f"/jobs/{job['id']}")[1])["state"] != "running" and found
        )
        assert (done["state"], done["done_files"], done["total_files"]) == ("done", 3, 3)
        assert done["done_bytes"] == done["total_bytes"]
        (repo,) = admin(gate, "GET", "/repos")[1]["repos"]  # type: ignore[misc]
        assert repo["repo"] == MODEL
        assert repo["stored_bytes"] >= 24 << 20

        assert admin(gate, "POST", "/pins", {"repo": MODEL})[0] == 201
        assert admin(gate, "GET", "/pins")[1] == {"pins": [{"repo": MODEL, "revision": None}]}
        assert admin(gate, "DELETE", f"/pins?repo={MODEL}")[1] == {"removed": True}

        minted = admin(gate, "POST", "/tokens", {"user": "ada", "scope": "admin"})[1]
        told = json.dumps(admin(gate, "GET", "/tokens")[1])
        assert str(minted["id"]) in told
        assert str(minted["token"]) not in told
        bearer = {"Authorization": f"Bearer {minted['token']}"}
        assert json.loads(get(gate.url + "/api/whoami-v2", **bearer)[1])["name"] == "ada"
        assert admin(gate, "DELETE", f"/tokens/{minted['id']}")[1] == {"revoked": True}
        assert get(gate.url + "/api/whoami-v2", **bearer)[0] == 401

        assert admin(gate, "POST", "/grants", {"user": "ada", "pattern": "acme/*"})[0] == 201
        assert admin(gate, "DELETE", "/grants?user=ada&pattern=acme/*")[1] == {"removed": True}

        status, job = admin(gate, "POST", "/verifications", {})
        done = _wait_for(
            lambda: (found := admin(gate, "GET", f"/jobs/{job['id']}")[1])["state"] != "running" and found
        )
        assert (done["state"], done["wrong"]) == ("done", [])

        removed = admin(gate, "DELETE", f"/repos?repo={MODEL}")[1]
        assert int(str(removed["freed_bytes"])) >= 24 << 20
        assert admin(gate, "GET", "/repos")[1] == {"repos": []}
        assert admin(gate, "POST", "/gc")[0] == 200
        assert get(f"{gate.url}/{MODEL}/resolve/main/config.json") == (200, b"{}")


def test_9_the_admin_api_explains_itself_and_refuses_nonsense(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as gate:
        document = admin(gate, "GET", "/openapi.json")[1]
        assert "/api/moongate/v1/repos" in document["paths"]  # type: ignore[operator]
        mistakes = [
            ("POST", "/tokens", {"user": ""}, 400),
            ("POST", "/tokens", {"user": "ada", "scope": "root"}, 400),
            ("POST", "/tokens", {"user": "ada", "extra": 1}, 400),
            ("POST", "/pins", {"repo": "../etc"}, 400),
            ("DELETE", "/repos", None, 400),
            ("DELETE", "/repos?repo=acme/nothing", None, 404),
            ("GET", "/repos?unknown=1", None, 400),
            ("GET", "/nothing", None, 404),
            ("PUT", "/repos", None, 405),
            ("GET", "/jobs/..%2fx", None, 400),
            ("GET", "/jobs/abc", None, 404),
            ("GET", "/failures?limit=x", None, 400),
        ]
        for method, path, document_in, status in mistakes:
            assert admin(gate, method, path, document_in)[0] == status, (method, path)
        for headers in ({"Origin": "https://evil.example"}, {"X-Forwarded-For": "9.9.9.9"}):
            assert get(gate.url + "/api/moongate/v1/status", **headers)[0] in (401, 403)


def _serve(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).parent / "moongate"),
        "serve",
        "--home",
        str(tmp_path / "home"),
        *arguments,
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MOONGATE_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)


def _workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sorted(int(pid) for pid in children if not _is_zombie(int(pid)))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _counted(gate: Gateway) -> float:
    page = get(gate.url + "/metrics")[1].decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith("moongate_requests_total") and 'route="Info"' in line
    )


def _wait_for(condition, seconds: float = 60.0):  # type: ignore[no-untyped-def]
    """What the condition gives once it is true; polled, since processes send no events."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.05)
    return found
