"""What a recall has to reach beside whole files: packs of git, chunks on their way, lines in archives."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from moongate.double import HubDouble, LfsFile
from support.gateway import Gateway
from support.raw import ask
from support.xet_talk import XetTalk, first_address
from support.xet_writing import make_token

MIB = 1 << 20
SMALL = b"import os; os.system('true')\n"
OID = hashlib.sha1(b"blob %d\0%b" % (len(SMALL), SMALL), usedforsecurity=False).hexdigest()
LARGE = random.Random(3).randbytes(24 * MIB)
NAME = "model.safetensors"
MOONGATE = Path(sys.executable).parent / "moongate"
REFS = "/{}.git/info/refs?service=git-upload-pack"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/code").commit({"load.py": SMALL, "config.json": "{}"})
    double.add_repo("acme/clean").commit({"config.json": '{"a": 1}'})
    double.add_repo("acme/xet", xet=True).commit({NAME: LfsFile(LARGE)})
    with double.running():
        yield double


@pytest.fixture
def running(tmp_path: Path, hub: HubDouble) -> Iterator[Gateway]:
    hosts = f"{hub.cdn_netloc},{hub.cas_netloc}"
    env = {"MOONGATE_XET": "true", "MOONGATE_GUARD": "off", "MOONGATE_HOSTED_NAMESPACES": "lab"}
    with Gateway(tmp_path / "home", hub.url, cdn=hosts, env=env, workers=2) as gateway:
        yield gateway


def moongate(gateway: Gateway, *words: str) -> Any:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MOONGATE_")}
    command = [str(MOONGATE), *words, "--home", str(gateway.home)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return json.loads(done.stdout) if "--json" in words else done.stdout


def until(check: Callable[[], object]) -> None:
    """Waits for what is written soon, not at once."""
    for _ in range(200):
        if check():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


def statuses(gateway: Gateway, target: str) -> set[int]:
    """Of several connections, so that every worker is asked."""
    return {ask(gateway.url, target).status for _ in range(8)}


def host(gateway: Gateway, token: str, name: str, files: dict[str, bytes]) -> None:
    """A hosted repository with these files."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    made = json.dumps({"organization": "lab", "name": name}).encode()
    assert ask(gateway.url, "/api/repos/create", "POST", headers, made).status == 200
    lines: list[dict[str, object]] = [{"key": "header", "value": {"summary": "Add files"}}]
    for path, content in files.items():
        value = {"path": path, "content": b64encode(content).decode(), "encoding": "base64"}
        lines.append({"key": "file", "value": value})
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    headers["Content-Type"] = "application/x-ndjson"
    assert ask(gateway.url, f"/api/models/lab/{name}/commit/main", "POST", headers, body).status == 200


def clone(gateway: Gateway, repo: str, into: Path) -> int:
    env = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "clone", "--quiet", f"{gateway.url}/{repo}", str(into)]
    return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False).returncode


def test_1_small_content_that_was_recalled_leaves_in_no_pack(running: Gateway, tmp_path: Path) -> None:
    token = make_token(running.home, "ada", "write")
    host(running, token, "one", {"load.py": SMALL})
    host(running, token, "two", {"README.md": b"# fine\n"})
    assert ask(running.url, "/acme/code/resolve/main/load.py").body == SMALL
    assert clone(running, "lab/one", tmp_path / "before") == 0
    until(lambda: "git.fetch" in moongate(running, "audit", "list", "--kind", "git.fetch"))

    made = moongate(running, "recall", "lab/one@main/load.py", "--yes", "--reason", "runs code", "--json")
    assert made["recall"]["digest"] == OID
    assert {"models/lab/one", "models/acme/code"} <= {one["repo"] for one in made["receivers"]}
    fetched = [one for one in made["receivers"] if one["repo"] == "models/lab/one" and not one["path"]]
    assert fetched, "who cloned it received it"
    assert {place["repo"] for place in made["places"]} == {"lab/one", "acme/code"}
    for repo in ("lab/one", "LAB/one", "acme/code"):
        assert statuses(running, REFS.format(repo)) <= {403, 307}, repo
    assert 403 in statuses(running, REFS.format("lab/one"))
    assert clone(running, "lab/one", tmp_path / "after") != 0
    assert clone(running, "lab/two", tmp_path / "other") == 0
    assert statuses(running, REFS.format("acme/clean")) == {200}

    moongate(running, "recall", "--undo", made["recall"]["id"])
    until(lambda: statuses(running, REFS.format("lab/one")) == {200})
    assert clone(running, "lab/one", tmp_path / "again") == 0


def test_2_a_hosted_commit_is_recalled_and_its_repository_is_fetched_by_nobody(running: Gateway) -> None:
    host(running, make_token(running.home, "ada", "write"), "one", {"load.py": SMALL})
    target = "/lab/one/resolve/main/load.py"
    assert statuses(running, target) == {200}
    made = moongate(running, "recall", "lab/one@main", "--yes", "--json")
    assert len(made["recall"]["commit"]) == 40
    assert statuses(running, target) == {403}
    assert statuses(running, REFS.format("lab/one")) == {403}
    moongate(running, "recall", "--undo", made["recall"]["id"])
    until(lambda: statuses(running, target) == {200})


def test_3_chunks_on_their_way_are_cut(running: Gateway) -> None:
    talk = XetTalk(running.url, "acme/xet")
    assert talk.read(NAME) == LARGE
    url, spans = first_address(talk.cas(f"/v2/reconstructions/{talk.file_id(NAME)}"))
    readers = [begun(url, f"bytes={spans[0][0]}-{spans[0][1]}") for _ in range(4)]
    moongate(running, "recall", "acme/xet", "--yes")
    for answer in readers:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        answer.close()


def begun(url: str, span: str) -> http.client.HTTPResponse:
    """A read of chunks of which the client took only the beginning."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    connection.sock.settimeout(30)
    connection.sock.connect((place.hostname or "", place.port or 80))
    connection.request("GET", f"{place.path}?{place.query}", headers={"Range": span})
    answer = connection.getresponse()
    assert answer.status == 206
    assert len(answer.read(1000)) == 1000
    return answer


def test_4_receivers_are_found_in_archives_too(running: Gateway, tmp_path: Path) -> None:
    assert ask(running.url, "/acme/code/resolve/main/load.py", headers={"User-Agent": "old/1"}).body == SMALL
    until(lambda: moongate(running, "recall", OID, "--dry-run", "--json")["receivers"])
    archive = tmp_path / "old.jsonl"
    moongate(running, "audit", "checkpoint")
    moongate(running, "audit", "archive", str(archive), "--older", "0s", "--yes")
    assert moongate(running, "recall", OID, "--dry-run", "--json")["receivers"] == []
    told = moongate(running, "recall", OID, "--dry-run", "--archive", str(archive), "--json")
    assert [one["repo"] for one in told["receivers"]] == ["models/acme/code"]
    made = moongate(running, "recall", OID, "--yes", "--archive", str(archive), "--json")
    shown = moongate(running, "recall", "show", made["recall"]["id"], "--archive", str(archive), "--json")
    assert len(shown["receivers"]) == 1
