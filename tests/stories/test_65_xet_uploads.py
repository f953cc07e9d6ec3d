"""Uploads through Xet that a crash interrupts: what was not committed is nowhere; nothing is sent twice."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moongate.double import HubDouble
from moongate.store.index import Index
from moongate.store.layout import Layout
from moongate.xet.hashes import hash_hex
from moongate.xet.shard import read_shard
from moongate.xet.xorb import footer
from support.clients import SCRIPTS, client_environment, run_script
from support.front import until
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.uploading import contents, otherwise, shard_of, told_file
from support.xet_talk import XetTalk
from support.xet_writing import XetWriter, make_token
from support.xorbs import make_xorb

pytestmark = pytest.mark.long

MIB = 1 << 20
REPO, NAME = "lab/mine", "model.bin"
XORBS = [make_xorb(seed, chunks=30, most_bytes=20_000) for seed in (21, 22, 23)]
PARTS = [(0, 0, 30), (1, 3, 20), (2, 0, 30)]
FILE, CONTENT = told_file(XORBS, PARTS), contents(XORBS, PARTS)
SHARD = shard_of([FILE], XORBS)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with started(tmp_path) as running:
        yield running


def started(tmp_path: Path, **env: str) -> Gateway:
    env = {"MOONGATE_HOSTED_NAMESPACES": "lab", "MOONGATE_MIN_FREE_BYTES": "0", **env}
    return Gateway(tmp_path / "home", "http://127.0.0.1:9", env=env)


def patched(tmp_path: Path, patch: str) -> Gateway:
    """A gateway in whose process these lines ran first."""
    folder = tmp_path / "patch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(patch)
    return started(tmp_path, PYTHONPATH=str(folder))


@pytest.fixture
def token(gateway: Gateway) -> str:
    return make_token(gateway.home, "alice")


def post(gateway: Gateway, path: str, token: str, body: bytes) -> RawAnswer:
    return ask(gateway.url, path, "POST", {"Authorization": f"Bearer {token}"}, body)


def create(gateway: Gateway, token: str) -> None:
    told = json.dumps({"name": "mine", "organization": "lab"}).encode()
    assert post(gateway, "/api/repos/create", token, told).status == 200


def commit(gateway: Gateway, token: str, etag: str | None = FILE.sha256) -> RawAnswer:
    """Commit the file, as a client does after its upload."""
    lines: list[dict[str, Any]] = [
        {"key": "header", "value": {"summary": "more"}},
        {
            "key": "file",
            "value": {"path": "a.txt", "content": base64.b64encode(b"a").decode(), "encoding": "base64"},
        },
        {"key": "lfsFile", "value": {"path": NAME, "algo": "sha256", "oid": etag, "size": len(CONTENT)}},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    return post(gateway, f"/api/models/{REPO}/commit/main", token, body)


def paths(gateway: Gateway) -> set[str]:
    told = ask(gateway.url, f"/api/models/{REPO}/tree/main?recursive=true").json()
    return {one["path"] for one in told} - {".gitattributes"}


def crash(gateway: Gateway) -> None:
    gateway.kill()
    gateway.start()


def test_1_a_crash_after_each_step(gateway: Gateway, token: str) -> None:
    create(gateway, token)
    before = paths(gateway)
    writer = XetWriter(gateway.url, REPO, token).log_in()
    for number, xorb in enumerate(XORBS):
        assert writer.grant(xorb.hash, xorb.data).status == 201
        assert writer.send(xorb).json() == {"was_inserted": True}
        crash(gateway)
        for sent in XORBS[: number + 1]:
            assert writer.grant(sent.hash, sent.data).status == 200, "it need not be sent again"
        assert commit(gateway, token).status == 400
    assert writer.register(SHARD).json() == {"result": 1}
    crash(gateway)
    assert paths(gateway) == before
    assert ask(gateway.url, f"/{REPO}/resolve/main/{NAME}").status == 404
    assert writer.register(SHARD).json() == {"result": 0}
    answer = commit(gateway, token)
    assert answer.status == 200, answer.body
    crash(gateway)
    assert paths(gateway) == before | {NAME, "a.txt"}
    assert ask(gateway.url, f"/{REPO}/resolve/main/{NAME}").body == CONTENT
    assert XetTalk(gateway.url, REPO).read(NAME) == CONTENT


def test_2_a_granted_xorb_survives_a_crash_before_it_is_committed(gateway: Gateway, token: str) -> None:
    create(gateway, token)
    writer, xorb = XetWriter(gateway.url, REPO, token).log_in(), XORBS[0]
    granted = writer.grant(xorb.hash, xorb.data)
    assert writer.put(granted, xorb.data).status == 200
    crash(gateway)
    assert writer.commit(xorb.hash, granted).status == 200
    assert writer.grant(xorb.hash, xorb.data).status == 200


def test_3_a_hash_alone_is_not_enough_to_commit(gateway: Gateway, token: str) -> None:
    create(gateway, token)
    writer = XetWriter(gateway.url, REPO, token).log_in()
    for xorb in XORBS:
        writer.send(xorb)
    assert writer.register(SHARD).json() == {"result": 1}
    mallory = make_token(gateway.home, "mallory")
    assert commit(gateway, mallory).status == 400
    assert commit(gateway, token, "ab" * 32).status == 400
    assert NAME not in paths(gateway)
    assert commit(gateway, token).status == 200


def collect(gateway: Gateway) -> None:
    """Run `moongate gc` beside it."""
    command = [Path(sys.executable).parent / "moongate", "gc", "--home", gateway.home]
    subprocess.run(command, check=True, capture_output=True, cwd=gateway.home, timeout=60)


def test_4_collection_takes_nothing_that_is_needed(gateway: Gateway, token: str) -> None:
    create(gateway, token)
    writer = XetWriter(gateway.url, REPO, token).log_in()
    for xorb in XORBS:
        writer.send(xorb)
    collect(gateway)
    assert writer.register(SHARD).json() == {"result": 1}
    collect(gateway)
    assert commit(gateway, token).status == 200
    collect(gateway)
    assert XetTalk(gateway.url, REPO).read(NAME) == CONTENT
    assert ask(gateway.url, f"/{REPO}/resolve/main/{NAME}").body == CONTENT


def stored(gateway: Gateway) -> int:
    """What lies in the store, also of what is still coming."""
    store = gateway.home / "store" / "v1"
    total = 0
    for path in store.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@pytest.mark.clients
@pytest.mark.slow
def test_5_a_crash_while_a_real_client_uploads(
    gateway: Gateway, token: str, client_python: Callable[[str], Path], tmp_path: Path
) -> None:
    """Killed after so many bytes came, in any step of the way; then the client is run again."""
    client = client_python("hub-2.4")
    dice = random.Random(7)
    for turn, after_bytes in enumerate((1, 3 * MIB, 8 * MIB)):
        folder, repo = tmp_path / f"folder {turn}", f"lab/turn{turn}"
        folder.mkdir()
        content = {f"w{number}.bin": dice.randbytes(2 * MIB) for number in range(4)}
        for name, data in content.items():
            (folder / name).write_bytes(data)
        plan = json.dumps({"put": str(folder), "repo": repo})
        home = tmp_path / f"client {turn}"
        quick = {"HF_TOKEN": token, "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1"}
        env = client_environment(home, gateway.url, quick)
        before = stored(gateway)
        running = subprocess.Popen(
            [client, SCRIPTS / "xet_round_trip.py", plan],
            env=env,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: running.poll() is not None or stored(gateway) >= before + after_bytes, 60)  # noqa: B023
        gateway.kill()
        said = running.communicate(timeout=120)[0]
        gateway.start()
        assert running.returncode or json.loads(said)["back"], "it knows how it ended"
        answer = ask(gateway.url, f"/api/models/{repo}/tree/main")
        seen = {one["path"] for one in answer.json()} if answer.status == 200 else set()
        assert seen & set(content) in (set(), set(content)), "all of a commit or nothing"
        told = run_script(
            client,
            "xet_round_trip.py",
            json.loads(plan),
            home=home,
            endpoint=gateway.url,
            env={"HF_TOKEN": token},
        )
        assert told["back"] == {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        kept = [path for path in (gateway.home / "store/v1/xorbs").rglob("*_*") if path.is_file()]
        assert sum(path.stat().st_size for path in kept) < (turn + 1) * 1.02 * 8 * MIB, "kept once"


def test_6_upstream_never_hears_of_it(tmp_path: Path) -> None:
    hub = HubDouble(tmp_path / "hub")
    hub.add_repo("acme/tiny").commit({"config.json": "{}"})
    env = {"MOONGATE_HOSTED_NAMESPACES": "lab"}
    with hub.running(), Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc, env=env) as gateway:
        token = make_token(gateway.home, "alice")
        create(gateway, token)
        writer = XetWriter(gateway.url, REPO, token).log_in()
        for xorb in XORBS:
            writer.send(xorb)
        writer.register(SHARD)
        commit(gateway, token)
        assert XetTalk(gateway.url, REPO).read(NAME) == CONTENT
        assert ask(gateway.url, f"/{REPO}/resolve/main/none.bin").status == 404
        writer.cas("GET", f"/v1/chunks/default/{'a' * 64}")
        for segment in (gateway.home / "store/v1/xorbs").rglob("*_*"):
            segment.unlink()
        lost = ask(gateway.url, f"/{REPO}/resolve/main/{NAME}")
        assert lost.status >= 400 or lost.body == CONTENT
        assert hub.meters.requests() == []


IMPATIENT = """
from moongate.app import cas_write_routes
cas_write_routes._AT_ONCE_SECONDS = 0.0
cas_write_routes.HEARTBEAT_SECONDS = 0.02
from moongate.hub.hosted import shard_uploads
real = shard_uploads.ShardUploads._chunks
def slow(self, file, reader):
    import time
    for chunk in real(self, file, reader):
        time.sleep(0.005)
        yield chunk
shard_uploads.ShardUploads._chunks = slow
"""


def test_7_a_long_check_is_told_on_the_way(tmp_path: Path) -> None:
    """In events, the last of which is the verdict; also when it is a bad one."""
    with patched(tmp_path, IMPATIENT) as gateway:
        token = make_token(gateway.home, "alice")
        create(gateway, token)
        writer = XetWriter(gateway.url, REPO, token).log_in()
        for xorb in XORBS:
            writer.send(xorb)
        lied = writer.register(shard_of([otherwise(FILE, sha256="ab" * 32)]), "/v2/shards")
        assert (lied.status, lied.headers["content-type"]) == (200, "application/x-ndjson")
        *heartbeats, last = [json.loads(line) for line in lied.body.splitlines()]
        assert last["type"] == "error"
        assert "sha256" in last["message"]
        assert last["retryable"] is False
        answer = writer.register(SHARD, "/v2/shards")
        events = [json.loads(line) for line in answer.body.splitlines()]
        assert events[-1] == {"type": "result", "result": 1}
        assert [one["stage"] for one in events if one["type"] == "committing"] == ["uploading", "syncing"]
        told = [one["verified"] for one in events if one["type"] == "validating"]
        assert told == sorted(told)
        assert len(set(told)) > 2, "it moves on"
        assert len(heartbeats) > 2
        assert commit(gateway, token).status == 200


def test_8_a_full_disk_refuses_and_keeps_nothing(tmp_path: Path) -> None:
    with started(tmp_path, MOONGATE_MIN_FREE_BYTES=str(1 << 60)) as gateway:
        token = make_token(gateway.home, "alice")
        create(gateway, token)
        writer, xorb = XetWriter(gateway.url, REPO, token).log_in(), XORBS[0]
        before = stored(gateway)
        for answer in (
            writer.send(xorb),
            writer.put(writer.grant(xorb.hash, xorb.data), xorb.data),
            writer.register(SHARD),
        ):
            assert (answer.status, answer.headers["x-error-code"]) == (507, "StoreFull")
        assert stored(gateway) == before


def test_9_a_namespace_that_is_full_refuses_before_bytes_are_read(gateway: Gateway, token: str) -> None:
    create(gateway, token)
    with Index(Layout(gateway.home).index_path) as index:
        index.add_namespace("lab", 1.0)
        index.set_namespace("lab", {"quota_bytes": len(CONTENT) - 1})
    writer = XetWriter(gateway.url, REPO, token).log_in()
    for xorb in XORBS:
        writer.send(xorb)
    answer = writer.register(SHARD)
    assert (answer.status, answer.headers["x-error-code"]) == (403, "QuotaExceeded"), answer.body


@pytest.mark.parametrize(
    ("xorbs", "shards", "has_footer"),
    [
        ("/xorb/default", f"/shard/default/{'a' * 64}", True),
        ("/xorb/default-merkledb", f"/shard/default/{'a' * 64}", False),
        ("/xorbs/default", "/shards", False),
        ("/v1/xorbs/default", "/shards", False),
        ("/v1/xorbs/default", "/v1/shards", False),
        ("/v1/xorbs/default", "/v2/shards", False),
    ],
)
def test_10_every_spelling(gateway: Gateway, token: str, xorbs: str, shards: str, has_footer: bool) -> None:
    """As the generations of the official client write: the first one puts a footer behind its xorbs."""
    create(gateway, token)
    writer = XetWriter(gateway.url, REPO, token).log_in()
    for xorb in XORBS:
        tail = footer(xorb.hash, xorb.leaves, xorb.layout) if has_footer else b""
        assert writer.send(xorb, xorb.data + tail, xorbs).json() == {"was_inserted": True}
        assert writer.send(xorb, None, xorbs).json() == {"was_inserted": False}
        length = writer.cas("HEAD", f"/v1/xorbs/default/{hash_hex(xorb.hash)}").headers["content-length"]
        assert int(length) == len(xorb.data)
    body = SHARD[:40] + (200).to_bytes(8, "little") + SHARD[48:] + bytes(200 if has_footer else 0)
    answer = writer.register(body, shards)
    assert json.loads(answer.body.splitlines()[-1])["result"] == 1
    assert commit(gateway, token).status == 200
    first = hash_hex(XORBS[0].leaves[0][0])
    for spelling in ("/v1/chunks/default", "/chunks/default-merkledb", "/chunk/default"):
        told = read_shard(writer.cas("GET", f"{spelling}/{first}").body)
        assert [one.xorb_hash for one in told.xorbs] == [xorb.hash for xorb in XORBS]
    talk = XetTalk(gateway.url, REPO).log_in()
    assert talk.read(NAME) == CONTENT
    length = talk.cas(f"/v1/files/{talk.file_id(NAME)}", method="HEAD").headers["content-length"]
    assert int(length) == len(CONTENT)
