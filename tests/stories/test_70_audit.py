"""The audit log and recalls, around a whole gateway: what was acknowledged, who received, and what stops."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moongate.double import HubDouble, LfsFile
from support.front import until
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.xet_talk import XetTalk

MIB = 1 << 20
ALICE = "hf_" + "AliceSecret" * 3
UNKNOWN = "hf_" + "Unknown0" * 6
PLAIN = random.Random(1).randbytes(24 * MIB)
XET = random.Random(2).randbytes(3 * MIB)
SHA = hashlib.sha256(PLAIN).hexdigest()
XET_SHA = hashlib.sha256(XET).hexdigest()
NAME = "model.safetensors"
MOONGATE = Path(sys.executable).parent / "moongate"
JSON = {"Content-Type": "application/json"}
ADMIN = "/api/moongate/v1"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_user("alice", ALICE)
    double.add_repo("acme/plain").commit({NAME: LfsFile(PLAIN), "config.json": "{}"})
    double.add_repo("acme/copy").commit({"same.bin": LfsFile(PLAIN), "config.json": "{}"})
    double.add_repo("acme/xet", xet=True).commit({NAME: LfsFile(XET), "config.json": "{}"})
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble, workers: int = 2) -> Gateway:
    hosts = f"{hub.cdn_netloc},{hub.cas_netloc}"
    return Gateway(
        tmp_path / "home",
        hub.url,
        cdn=hosts,
        env={"MOONGATE_XET": "true", "MOONGATE_GUARD": "off"},
        workers=workers,
    )


def moongate(tmp_path: Path, *words: str, code: int = 0) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MOONGATE_")}
    command = [str(MOONGATE), *words, "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    text = moongate(tmp_path, "audit", "export")
    return [json.loads(line) for line in text.splitlines()]


def delivered_bytes(tmp_path: Path, path: str) -> int:
    """How much of a file went out, by what is written down so far."""
    told = [line for line in lines(tmp_path) if line["kind"] == "file.deliver" and line["path"] == path]
    return sum(line["details"]["bytes"] for line in told)


def everywhere(url: str, target: str, headers: dict[str, str] | None = None) -> list[RawAnswer]:
    """Several connections, so that every worker is asked."""
    return [ask(url, target, "GET", headers) for _ in range(8)]


def test_1_what_happened_is_there_and_no_secret_is(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        bearer = {"Authorization": f"Bearer {ALICE}"}
        began = time.monotonic()
        for start in range(0, 10_000, 1000):
            span = {"Range": f"bytes={start}-{start + 999}", "User-Agent": "a/1", **bearer}
            assert ask(running.url, f"/acme/plain/resolve/main/{NAME}", "GET", span).status == 206
        took_seconds = int(time.monotonic() - began)
        refused = {"Authorization": f"Bearer {UNKNOWN}"}
        assert ask(running.url, f"/acme/plain/resolve/main/{NAME}", "GET", refused).status == 401
        told = ask(running.url, f"{ADMIN}/tokens", "POST", JSON, b'{"user":"ada","scope":"read"}').json()
        own = {"Authorization": f"Bearer {told['token']}"}
        assert ask(running.url, "/acme/plain/resolve/main/config.json", "GET", own).status == 200
        assert ask(running.url, f"{ADMIN}/tokens/{told['id']}", "DELETE").status == 200
        until(lambda: delivered_bytes(tmp_path, "config.json") and delivered_bytes(tmp_path, NAME) >= 10_000)
        until(lambda: any(line["kind"] == "token.use" for line in lines(tmp_path)))
        kinds = [line["kind"] for line in lines(tmp_path)]
        for kind in ("token.create", "token.revoke", "token.refuse", "token.use"):
            assert kind in kinds, kinds
        by_ada = [line for line in lines(tmp_path) if line["actor"]["name"] == "ada"]
        assert {line["actor"]["token"] for line in by_ada} == {told["id"]}
        delivered = [line for line in lines(tmp_path) if line.get("digest") == SHA]
        assert sum(line["details"]["bytes"] for line in delivered) == 10_000
        # Of each worker one line, and another one for every second in which it may have been asked nothing.
        assert len(delivered) <= 2 * (1 + took_seconds)
        everything = moongate(tmp_path, "audit", "export")
        for shape in ("ocsf", "cef"):
            everything += moongate(tmp_path, "audit", "export", "--format", shape)
        for secret in (ALICE, UNKNOWN, told["token"]):
            assert secret not in everything
        assert "sound" in moongate(tmp_path, "audit", "verify")


def test_2_kill_9_loses_no_acknowledged_line(tmp_path: Path, hub: HubDouble) -> None:
    running = gateway(tmp_path, hub, workers=1)
    running.start()
    acknowledged: list[str] = []

    def pin(worker: int) -> None:
        try:
            for number in range(10_000):
                name = f"acme/w{worker}n{number}"
                answer = ask(running.url, f"{ADMIN}/pins", "POST", JSON, json.dumps({"repo": name}).encode())
                assert answer.status == 201
                acknowledged.append(f"models/{name}")
        except (OSError, http.client.HTTPException):
            return

    threads = [threading.Thread(target=pin, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 60)
    os.kill(running.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    written = {line["repo"] for line in lines(tmp_path) if line["kind"] == "pin.create"}
    assert set(acknowledged) - written == set()
    assert "sound" in moongate(tmp_path, "audit", "verify")


def test_2_kill_9_hides_nobody_who_received_bytes(tmp_path: Path, hub: HubDouble) -> None:
    running = gateway(tmp_path, hub, workers=1)
    running.start()
    target = f"/acme/plain/resolve/main/{NAME}"
    assert ask(running.url, target).body == PLAIN
    talk = XetTalk(running.url, "acme/xet")
    assert talk.read(NAME) == XET
    received: list[str] = []

    def read(worker: int) -> None:
        try:
            for number in range(10_000):
                agent = f"reader/{worker}.{number}"
                path = target if number % 2 else "/acme/plain/resolve/main/config.json"
                span = {"Range": "bytes=0-1"} if worker % 2 else {"Range": f"bytes=0-{MIB}"}
                address = f"127.0.{worker + 1}.{number % 250 + 1}"
                if fetch(running.url, path, {**span, "User-Agent": agent}, address):
                    received.append(f"{address} {path.rpartition('/')[2]}")
        except (OSError, http.client.HTTPException):
            return

    threads = [threading.Thread(target=read, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(received) > 200)
    running.kill()
    for thread in threads:
        thread.join()
    running.start()
    try:
        told = [line for line in lines(tmp_path) if line["kind"] == "file.deliver"]
        known = {f"{line['actor']['address']} {line['path']}" for line in told}
        assert set(received) - known == set()
        assert any(line.get("details", {}).get("recovered") for line in told)
        assert {line.get("digest") for line in told} >= {SHA, XET_SHA}
        requests = [line["request"] for line in told]
        assert len(requests) == len(set(requests)), "nobody twice"
        assert "sound" in moongate(tmp_path, "audit", "verify")
    finally:
        running.stop()


def fetch(url: str, target: str, headers: dict[str, str], address: str) -> bool:
    """Reads a file from an address of this machine of one's own."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader = http.client.HTTPConnection(host, int(port), timeout=30, source_address=(address, 0))
    try:
        reader.request("GET", target, headers=headers)
        return bool(reader.getresponse().read())
    finally:
        reader.close()


def test_3_a_recall_stops_content_everywhere(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        roads = [
            f"/acme/plain/resolve/main/{NAME}",
            "/acme/copy/resolve/main/same.bin",
            f"/acme/plain.git/info/lfs/objects/{SHA}?size={len(PLAIN)}",
            f"/v2/acme/plain/blobs/sha256:{SHA}",
        ]
        ranged = {"Range": "bytes=0-99"}
        for road in roads:
            assert {answer.status for answer in everywhere(running.url, road, ranged)} == {206}, road
        dry = json.loads(moongate(tmp_path, "recall", f"acme/plain@main/{NAME}", "--dry-run", "--json"))
        assert (dry["recall"]["id"], dry["recall"]["digest"]) == ("", SHA)
        both = {"models/acme/plain", "models/acme/copy"}
        until(lambda: receivers(moongate(tmp_path, "recall", SHA, "--dry-run", "--json")) >= both)
        made = json.loads(moongate(tmp_path, "recall", SHA, "--yes", "--reason", "poisoned", "--json"))
        assert {one["repo"] for one in made["receivers"]} >= both
        for road in roads:
            for headers in (ranged, {}):
                for answer in everywhere(running.url, road, headers):
                    assert answer.status == 403, road
                    assert answer.headers["x-error-code"] == "Recalled"
                    assert "poisoned" in answer.headers["x-error-message"]
        assert ask(running.url, "/acme/plain/resolve/main/config.json").status == 200
        moongate(tmp_path, "recall", "--undo", made["recall"]["id"])
        until(lambda: {one.status for one in everywhere(running.url, roads[0], ranged)} == {206})
        kinds = {"recall.create", "recall.undo", "file.deny"}
        until(lambda: kinds <= {line["kind"] for line in lines(tmp_path)})


def receivers(told: str) -> set[str]:
    """The repositories from which somebody got what a recall is about."""
    return {one["repo"] for one in json.loads(told)["receivers"]}


def test_4_a_recall_stops_chunks_and_addresses_that_were_given_out(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/xet")
        assert talk.read(NAME) == XET
        given_out, file_id = talk.data_urls[0], talk.file_id(NAME)
        until(lambda: any(line.get("digest") == XET_SHA for line in lines(tmp_path)))
        made = json.loads(moongate(tmp_path, "recall", file_id, "--yes", "--json"))
        assert [one["digest"] for one in made["receivers"]] == [XET_SHA]
        for _ in range(6):
            assert talk.cas(f"/v2/reconstructions/{file_id}").status == 403
            assert talk.data(given_out, "bytes=0-99").status == 403
            assert ask(running.url, f"/acme/xet/resolve/main/{NAME}").status == 403
        assert "x-xet-hash" not in talk.head(NAME).headers, "a client that asks plainly is told why"
        moongate(tmp_path, "recall", "--undo", made["recall"]["id"])
        until(lambda: XetTalk(running.url, "acme/xet").cas("/x").status and _reads(running.url))


def _reads(url: str) -> bool:
    return all(ask(url, f"/acme/xet/resolve/main/{NAME}").status == 200 for _ in range(6))


def test_5_a_recall_of_a_repository_leaves_others_alone(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        talk = XetTalk(running.url, "acme/xet")
        assert talk.read(NAME) == XET
        given_out = talk.data_urls[0]
        for repo in ("acme/plain", "acme/xet"):
            moongate(tmp_path, "recall", repo, "--yes")
        for target in (
            f"/acme/plain/resolve/main/{NAME}",
            "/ACME/plain/resolve/main/config.json",
            "/acme/plain/resolve/main/config.json",
            "/acme/plain.git/info/refs?service=git-upload-pack",
            "/v2/acme/plain/manifests/latest",
            f"/acme/xet/resolve/main/{NAME}",
        ):
            statuses = {answer.status for answer in everywhere(running.url, target)}
            assert statuses <= {403, 404, 307}, (target, statuses)
        assert talk.data(given_out, "bytes=0-99").status == 403
        assert (
            ask(running.url, "/acme/copy/resolve/main/same.bin", "GET", {"Range": "bytes=0-9"}).status == 206
        )


def test_6_a_reader_under_way_is_cut(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub, workers=1) as running:
        target = f"/acme/plain/resolve/main/{NAME}"
        assert ask(running.url, target).body == PLAIN
        host, _, port = running.url.removeprefix("http://").partition(":")
        readers = []
        for headers in ({}, {"If-None-Match": '"other"'}):  # through the fast lane, and past it
            reader = http.client.HTTPConnection(host, int(port), timeout=30)
            reader.request("GET", target, headers=headers)
            answer = reader.getresponse()
            assert answer.read(1000) == PLAIN[:1000]
            readers.append((reader, answer))
        moongate(tmp_path, "recall", SHA, "--yes")
        for reader, answer in readers:
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
            reader.close()
        until(lambda: _cut(running.url) == len(readers))


def _cut(url: str) -> int:
    """How many answers that were broken off are written down as deliveries, since bytes went out."""
    told = ask(url, f"{ADMIN}/audit?kind=file.deliver&digest={SHA}").json()["lines"]
    return sum(line["details"].get("broken_off", 0) for line in told)


def test_7_the_hub_client_tells_its_user_why(tmp_path: Path, hub: HubDouble) -> None:
    words = (
        "import sys; from huggingface_hub import hf_hub_download\n"
        f"print(hf_hub_download(sys.argv[1], {NAME!r}, cache_dir=sys.argv[2]))"
    )
    with gateway(tmp_path, hub) as running:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env = {**kept, "HF_ENDPOINT": running.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

        def pull(repo: str, folder: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", words, repo, str(tmp_path / folder)]
            return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)

        for repo, name in (("acme/plain", "plain"), ("acme/xet", "xet")):
            assert pull(repo, name).returncode == 0
            moongate(tmp_path, "recall", f"{repo}@main/{NAME}", "--yes", "--reason", "it was poisoned")
            refused = pull(repo, f"{name}-again")
            assert refused.returncode != 0
            assert "it was poisoned" in refused.stderr, refused.stderr[-2000:]


def test_8_the_admin_api_does_what_the_commands_do(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub) as running:
        asked = {"target": "acme/plain", "reason": "a licence", "dry_run": False}
        made = ask(running.url, f"{ADMIN}/recalls", "POST", JSON, json.dumps(asked).encode())
        assert made.status == 201
        recall_id = made.json()["recall"]["id"]
        assert {one.status for one in everywhere(running.url, f"/acme/plain/resolve/main/{NAME}")} == {403}
        assert ask(running.url, f"{ADMIN}/recalls/{recall_id}").json()["recall"]["reason"] == "a licence"
        assert ask(running.url, f"{ADMIN}/recalls/{recall_id}", "DELETE").json()["undone_by"]
        assert ask(running.url, f"{ADMIN}/recalls/{recall_id}", "DELETE").status == 404
        assert len(ask(running.url, f"{ADMIN}/recalls").json()["recalls"]) == 1
        found = ask(running.url, f"{ADMIN}/audit?kind=recall.create").json()["lines"]
        assert [line["subject"] for line in found] == [recall_id]
        assert ask(running.url, f"{ADMIN}/audit-verification").json()["sound"] is True
        assert len(ask(running.url, f"{ADMIN}/audit-checkpoints", "POST").json()["checkpoints"]) == 1
        assert "PUBLIC KEY" in ask(running.url, f"{ADMIN}/audit-key").json()["pem"]
        for bad in ("?kind=nonsense", "?since=x", "?before=-1", "?repo=..", "?limit=1e9", "?other=1"):
            assert ask(running.url, f"{ADMIN}/audit{bad}").status == 400, bad
        for target in ("", "a b", "acme/plain@", "acme/plain@main/../x", "x" * 6000):
            body = json.dumps({"target": target}).encode()
            assert ask(running.url, f"{ADMIN}/recalls", "POST", JSON, body).status in (400, 404), target


def test_9_archived_lines_and_those_that_stay_are_verified(tmp_path: Path, hub: HubDouble) -> None:
    with gateway(tmp_path, hub, workers=1) as running:
        for _ in range(5):
            ask(running.url, f"{ADMIN}/pins", "POST", JSON, b'{"repo":"acme/plain"}')
            ask(running.url, f"{ADMIN}/pins?repo=acme/plain", "DELETE")
        moongate(tmp_path, "audit", "checkpoint")
        archive = tmp_path / "old.jsonl"
        moongate(tmp_path, "audit", "archive", str(archive), "--older", "0s", "--yes")
        assert "sound" in moongate(tmp_path, "audit", "verify", str(archive))
        assert "sound" in moongate(tmp_path, "audit", "verify")
        text = archive.read_bytes()
        archive.write_bytes(text[: text.rindex(b"\n", 0, -1) + 1])
        moongate(tmp_path, "audit", "verify", str(archive), code=1)
        archive.write_bytes(text.replace(b"acme/plain", b"acme/other", 1))
        moongate(tmp_path, "audit", "verify", str(archive), code=1)
