"""What a recall has to reach beside whole files: packs of git, chunks on their way, lines in archives.

One gateway serves all of it; each story has repositories of its own.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import re
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from moongate.cli import main
from moongate.double import HubDouble, LfsFile
from support.front import until
from support.gateway import Gateway
from support.raw import ask
from support.xet_talk import XetTalk, first_address
from support.xet_writing import make_token

MIB = 1 << 20
SMALL = b"import os; os.system('true')\n"
OLD = b"import old\n"
LARGE = random.Random(3).randbytes(16 * MIB)
NAME = "model.safetensors"
RECALLS = "/api/moongate/v1/recalls"
AUDIT = "/api/moongate/v1/audit"
REFS = "/{}.git/info/refs?service=git-upload-pack"


def oid_of(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("recalled")
    double = HubDouble(folder / "hub")
    double.add_repo("acme/code").commit({"load.py": SMALL, "config.json": "{}"})
    double.add_repo("acme/clean").commit({"config.json": '{"a": 1}'})
    double.add_repo("acme/old").commit({"load.py": OLD})
    double.add_repo("acme/xet", xet=True).commit({NAME: LfsFile(LARGE)})
    env = {"MOONGATE_XET": "true", "MOONGATE_GUARD": "off", "MOONGATE_HOSTED_NAMESPACES": "lab"}
    with double.running():
        hosts = f"{double.cdn_netloc},{double.cas_netloc}"
        with Gateway(folder / "home", double.url, cdn=hosts, env=env, workers=2) as gateway:
            yield gateway


def recall(gateway: Gateway, target: str, **more: object) -> Any:
    """What the command does, too: once it is answered, no worker serves it any more."""
    body = json.dumps({"target": target, **more}).encode()
    answer = ask(gateway.url, RECALLS, "POST", {"Content-Type": "application/json"}, body)
    assert answer.status in (200, 201), answer.body
    return answer.json()


def undo(gateway: Gateway, made: Any) -> None:
    assert ask(gateway.url, f"{RECALLS}/{made['recall']['id']}", "DELETE").json()["undone_by"]


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
    bearer = {"Authorization": f"Bearer {token}"}
    assert ask(running.url, "/acme/code/resolve/main/load.py", headers=bearer).body == SMALL
    assert clone(running, "lab/one", tmp_path / "before") == 0
    until(lambda: ask(running.url, f"{AUDIT}?kind=git.fetch").json()["lines"])
    until(lambda: ask(running.url, f"{AUDIT}?kind=file.deliver").json()["lines"])

    made = recall(running, "lab/one@main/load.py", reason="runs code")
    assert made["recall"]["digest"] == oid_of(SMALL)
    assert {"models/lab/one", "models/acme/code"} <= {one["repo"] for one in made["receivers"]}
    (read,) = [one for one in made["receivers"] if one["repo"] == "models/acme/code"]
    assert (read["user"], read["address"], len(read["commit"])) == ("ada", "127.0.0.1", 40)
    assert re.fullmatch("[0-9a-f]{6,}", read["token"]), "the token's id, not the token"
    fetched = [one for one in made["receivers"] if one["repo"] == "models/lab/one" and not one["path"]]
    assert fetched, "who cloned it received it"
    assert {place["repo"] for place in made["places"]} == {"lab/one", "acme/code"}
    for repo in ("lab/one", "LAB/one", "acme/code"):
        assert statuses(running, REFS.format(repo)) <= {403, 307}, repo
    assert 403 in statuses(running, REFS.format("lab/one"))
    assert clone(running, "lab/one", tmp_path / "after") != 0
    assert clone(running, "lab/two", tmp_path / "other") == 0
    assert statuses(running, REFS.format("acme/clean")) == {200}

    undo(running, made)
    until(lambda: statuses(running, REFS.format("lab/one")) == {200})
    assert clone(running, "lab/one", tmp_path / "again") == 0


def test_2_a_hosted_commit_is_recalled_and_its_repository_is_fetched_by_nobody(running: Gateway) -> None:
    host(running, make_token(running.home, "ada", "write"), "three", {"run.py": b"import three\n"})
    target = "/lab/three/resolve/main/run.py"
    assert statuses(running, target) == {200}
    made = recall(running, "lab/three@main")
    assert len(made["recall"]["commit"]) == 40
    assert statuses(running, target) == {403}
    assert statuses(running, REFS.format("lab/three")) == {403}
    undo(running, made)
    until(lambda: statuses(running, target) == {200})


def test_3_chunks_on_their_way_are_cut(running: Gateway) -> None:
    talk = XetTalk(running.url, "acme/xet")
    assert talk.read(NAME) == LARGE
    url, spans = first_address(talk.cas(f"/v2/reconstructions/{talk.file_id(NAME)}"))
    readers = [begun(url, f"bytes={spans[0][0]}-{spans[0][1]}") for _ in range(4)]
    recall(running, "acme/xet")
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


def test_4_receivers_are_found_in_archives_too(
    running: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def moongate(*words: str) -> Any:
        capsys.readouterr()
        assert main.run([*words, "--home", str(running.home), "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    oid = oid_of(OLD)
    assert ask(running.url, "/acme/old/resolve/main/load.py").body == OLD
    until(lambda: recall(running, oid, dry_run=True)["receivers"])
    archive = tmp_path / "old.jsonl"
    moongate("audit", "checkpoint")
    moongate("audit", "archive", str(archive), "--older", "0s", "--yes")
    assert moongate("recall", oid, "--dry-run")["receivers"] == []
    told = moongate("recall", oid, "--dry-run", "--archive", str(archive))
    (receiver,) = told["receivers"]
    assert (receiver["repo"], receiver["path"], receiver["address"], receiver["bytes"]) == (
        "models/acme/old", "load.py", "127.0.0.1", len(OLD),
    )  # fmt: skip
    made = moongate("recall", oid, "--yes", "--archive", str(archive))
    shown = moongate("recall", "show", made["recall"]["id"], "--archive", str(archive))
    assert len(shown["receivers"]) == 1


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that judges, in front of small files that nobody asked for yet."""
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/seen").commit({"load.py": OLD})
    double.add_repo("acme/unseen").commit({"other.py": OLD, "new.json": b'{"b": 2}'})
    with double.running(), Gateway(tmp_path / "home", double.url, cdn=double.cdn_netloc) as gateway:
        yield gateway


def test_5_a_small_file_is_recalled_by_its_sha256(guarded: Gateway) -> None:
    seen, unseen = "/acme/seen/resolve/main/load.py", "/acme/unseen/resolve/main/other.py"
    assert ask(guarded.url, seen).body == OLD
    until(lambda: ask(guarded.url, f"{AUDIT}?kind=file.deliver").json()["lines"])
    sha256 = hashlib.sha256(OLD).hexdigest()

    made = recall(guarded, sha256, reason="a feed said so")
    assert [(one["repo"], one["digest"]) for one in made["receivers"]] == [("models/acme/seen", oid_of(OLD))]
    assert {place["repo"] for place in made["places"]} == {"acme/seen"}
    assert statuses(guarded, seen) == statuses(guarded, unseen) == {403}
    assert 403 in statuses(guarded, REFS.format("acme/seen"))

    for digest in (sha256, oid_of(OLD)):
        told = {line["kind"] for line in ask(guarded.url, f"{AUDIT}?digest={digest}").json()["lines"]}
        assert {"file.deliver", "recall.create", "file.deny"} <= told, digest
    undo(guarded, made)
    until(lambda: statuses(guarded, seen) == {200})


def test_6_a_small_file_that_was_recalled_before_anybody_asked_is_given_to_nobody(guarded: Gateway) -> None:
    target = "/acme/unseen/resolve/main/new.json"
    made = recall(guarded, hashlib.sha256(b'{"b": 2}').hexdigest())
    assert (made["receivers"], made["places"]) == ([], [])
    first = ask(guarded.url, target)
    assert (first.status, first.headers["x-error-code"]) == (403, "Recalled")
    assert statuses(guarded, target) == {403}
    (line,) = {
        line["path"]: line for line in ask(guarded.url, f"{AUDIT}?kind=file.deny").json()["lines"]
    }.values()
    assert (line["path"], line["rule"]) == ("new.json", f"recall {made['recall']['id']}")
