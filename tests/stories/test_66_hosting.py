"""Hosted repositories through many writers, several workers and full disks."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from moongate.double import HubDouble
from support.gateway import Gateway
from support.raw import ask
from support.upload_talk import Refused, UploadTalk, file_line, lfs_line

REPO = "acme/tiny"
HOSTS = {"MOONGATE_HOSTED_NAMESPACES": "acme", "MOONGATE_UPLOAD_PART_BYTES": str(64 << 10)}
MOONGATE = Path(sys.executable).parent / "moongate"


def gateway_at(folder: Path, **how: object) -> Gateway:
    """A gateway that hosts `acme` and has no upstream."""
    return Gateway(folder / "home", "http://127.0.0.1:9", env=HOSTS, **how)  # type: ignore[arg-type]


def moongate(gateway: Gateway, *words: str) -> str:
    """What a command says beside the running gateway."""
    command = [MOONGATE, *words, "--home", gateway.home]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with gateway_at(tmp_path) as running:
        yield running


def test_1_what_was_uploaded_and_never_committed_goes(gateway: Gateway) -> None:
    talk = UploadTalk(gateway.url)
    talk.create(REPO)
    talk.upload(REPO, b"never committed" * 10_000)
    talk.upload(REPO, b"committed" * 10_000)
    talk.commit(REPO, lfs_line("w.bin", b"committed" * 10_000))
    blobs = gateway.home / "store" / "v1" / "blobs" / "sha256"
    assert len(list(blobs.glob("*/*"))) == 2
    moongate(gateway, "gc")
    assert len(list(blobs.glob("*/*"))) == 2  # its lease still holds
    with closing(sqlite3.connect(gateway.home / "index.sqlite3")) as index, index:
        index.execute("UPDATE upload_leases SET expires_at = 1")
    moongate(gateway, "gc")
    assert len(list(blobs.glob("*/*"))) == 1
    assert talk.read(REPO, "w.bin") == b"committed" * 10_000
    with pytest.raises(Refused):
        talk.commit(REPO, lfs_line("v.bin", b"never committed" * 10_000))


def test_2_many_writers_and_several_workers_lose_nothing(tmp_path: Path) -> None:
    with gateway_at(tmp_path, workers=2) as gateway:
        talk = UploadTalk(gateway.url)
        talk.create(REPO)

        def write(number: int) -> None:
            mine = UploadTalk(gateway.url)
            made = mine.commit(REPO, file_line(f"{number}.txt", b"%d" % number))
            assert mine.read(REPO, f"{number}.txt") == b"%d" % number  # whichever worker answers
            assert any(one["path"] == f"{number}.txt" for one in mine.tree(REPO, made))

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(write, range(30)))
        assert len(talk.history(REPO)) == 31
        assert len(talk.tree(REPO)) == 31


def test_3_a_namespace_and_a_role_hold_at_once_in_every_worker(tmp_path: Path) -> None:
    with gateway_at(tmp_path, workers=2) as gateway:
        moongate(gateway, "namespace", "add", "beta")
        bob = json.loads(moongate(gateway, "token", "create", "--user", "bob", "--scope", "write", "--json"))
        for number in range(8):
            UploadTalk(gateway.url).create(f"beta/{number}", private=True)
        for number in range(8):
            with pytest.raises(Refused):
                UploadTalk(gateway.url, bob["token"]).tree(f"beta/{number}")
        moongate(gateway, "access", "add", "beta", "user:bob")
        for number in range(8):
            assert UploadTalk(gateway.url, bob["token"]).tree(f"beta/{number}")
        moongate(gateway, "access", "remove", "beta", "user:bob")
        for number in range(8):
            with pytest.raises(Refused):
                UploadTalk(gateway.url, bob["token"]).tree(f"beta/{number}")


def test_4_of_two_on_one_parent_one_wins_and_the_other_is_told(gateway: Gateway) -> None:
    talk = UploadTalk(gateway.url)
    talk.create(REPO)
    parent = talk.history(REPO)[0]

    def write(number: int) -> tuple[int, str]:
        try:
            talk.commit(REPO, file_line(f"{number}.txt", b"x"), parentCommit=parent)
        except Refused as refused:
            return refused.answer.status, refused.answer.headers["x-error-code"]
        return 200, ""

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(write, range(6))) == [(200, ""), *[(412, "PreconditionFailed")] * 5]
    assert len(talk.history(REPO)) == 2


def test_5_without_room_it_refuses_and_loses_nothing(tmp_path: Path) -> None:
    full = {**HOSTS, "MOONGATE_QUOTA_BYTES": "200000", "MOONGATE_MIN_FREE_BYTES": "0"}
    with Gateway(tmp_path / "home", "http://127.0.0.1:9", env=full) as gateway:
        talk = UploadTalk(gateway.url)
        talk.create(REPO)
        talk.upload(REPO, b"a" * 100_000)
        head = talk.commit(REPO, lfs_line("a.bin", b"a" * 100_000))
        for attempt in (
            lambda: talk.upload(REPO, b"b" * 150_000, ("basic",)),
            lambda: talk.upload(REPO, b"c" * 150_000),
            lambda: talk.commit(REPO, file_line("d.txt", b"d" * 150_000)),
        ):
            with pytest.raises(Refused) as refused:
                attempt()
            assert refused.value.answer.status == 507
            assert refused.value.answer.headers["x-error-code"] == "StoreFull"
        assert talk.history(REPO)[0] == head
        assert talk.read(REPO, "a.bin") == b"a" * 100_000
        talk.commit(REPO, {"key": "deletedFile", "value": {"path": "a.bin"}})


def test_6_a_door_that_is_closed_takes_uploads_by_their_address(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = [MOONGATE, "token", "create", "--user", "alice", "--scope", "write", "--home", home, "--json"]
    token = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["token"]
    with Gateway(home, "http://127.0.0.1:9", env={**HOSTS, "MOONGATE_HOST": "127.0.0.2"}) as gateway:
        talk = UploadTalk(gateway.url, token)
        talk.create(REPO)
        for content in (b"short", b"long" * 50_000):
            talk.upload(REPO, content)
            talk.commit(REPO, lfs_line("w.bin", content))
            assert talk.read(REPO, "w.bin") == content
        href = talk.batch(REPO, b"more")["actions"]["upload"]["href"]
        moongate(gateway, "token", "revoke", _token_id(gateway))
        with pytest.raises(Refused):
            talk.put(href, b"more")  # what a token opened closes with it


def _token_id(gateway: Gateway) -> str:
    return str(json.loads(moongate(gateway, "token", "list", "--json"))["tokens"][0]["id"])


def test_9_a_bundle_carries_it_elsewhere_and_takes_no_name_that_lives_there(
    gateway: Gateway, tmp_path: Path
) -> None:
    talk = UploadTalk(gateway.url)
    talk.create(REPO)
    talk.upload(REPO, b"weights" * 10_000)
    talk.commit(REPO, file_line("a/b.txt", b"hello"), lfs_line("w.bin", b"weights" * 10_000))
    bundle = str(tmp_path / "out.bundle")
    moongate(gateway, "export", REPO, "-o", bundle)
    elsewhere = Gateway(tmp_path / "elsewhere", "http://127.0.0.1:9", arguments=("--offline",))
    with elsewhere:
        moongate(elsewhere, "import", bundle)
        there = UploadTalk(elsewhere.url)
        assert there.tree(REPO) == talk.tree(REPO)
        assert there.read(REPO, "w.bin") == b"weights" * 10_000
        assert there.say("GET", f"/api/models/{REPO}").json()["sha"] == talk.history(REPO)[0]
        with pytest.raises(subprocess.CalledProcessError):
            moongate(elsewhere, "namespace", "add", "acme")  # it would hide what was carried
        moongate(elsewhere, "rm", REPO, "--yes")
        moongate(elsewhere, "namespace", "add", "acme")
        with pytest.raises(subprocess.CalledProcessError):
            moongate(elsewhere, "import", bundle)


def test_8_upstream_cannot_take_a_name_that_lives_here(tmp_path: Path) -> None:
    double = HubDouble(tmp_path / "hub")
    double.add_repo("meta/old").commit({"config.json": b"theirs"})
    double.rename("meta/old", REPO)
    with double.running(), Gateway(tmp_path / "home", double.url, env=HOSTS) as gateway:
        UploadTalk(gateway.url).create(REPO)
        for target in ("/api/models/meta/old", "/meta/old/resolve/main/config.json"):
            assert ask(gateway.url, target).status == 404
        assert ask(gateway.url, f"/{REPO}/resolve/main/config.json").status == 404


def test_7_a_repository_that_moved_is_found_by_every_route(gateway: Gateway) -> None:
    talk = UploadTalk(gateway.url)
    talk.create(REPO)
    talk.commit(REPO, file_line("a b.txt", b"hello"))
    talk.post("/api/repos/move", {"fromRepo": REPO, "toRepo": "acme/new", "type": "model"})
    for target in (
        f"/api/models/{REPO}",
        f"/api/models/{REPO}/tree/main?recursive=true",
        f"/api/models/{REPO}/refs",
        f"/{REPO}/resolve/main/a%20b.txt",
        f"/{REPO}/raw/main/a%20b.txt?x=1",
    ):
        answer = ask(gateway.url, target)
        assert answer.status == 307
        assert answer.headers["location"] == target.replace(REPO, "acme/new")
        assert ask(gateway.url, answer.headers["location"]).status == 200
    moved = ask(gateway.url, f"/api/models/{REPO}/commit/main", "POST", {}, b"{}")
    assert (moved.status, moved.headers["location"]) == (307, "/api/models/acme/new/commit/main")
