"""Uploads by every way in, the gateway killed at a random moment of each: ten, or fifty in `make test-long`.

What was acknowledged is there after the restart, whole; what was not is whole or invisible; and what
nobody points to goes.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.gateway import Gateway
from support.raw import RawAnswer
from support.upload_talk import Refused, UploadTalk, file_line, lfs_line
from support.uploading import contents, shard_of, told_file
from support.xet_writing import XetWriter, make_token
from support.xorbs import make_xorb

REPO = "acme/tiny"
HOSTS = {"MOONGATE_HOSTED_NAMESPACES": "acme", "MOONGATE_UPLOAD_PART_BYTES": str(64 << 10)}
BROKEN_OFF = (OSError, http.client.HTTPException)
MOONGATE = Path(sys.executable).parent / "moongate"
GIT_IDENTITY = ("-c", "user.name=Grace", "-c", "user.email=grace@example.test")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "home", "http://127.0.0.1:9", env=HOSTS) as running:
        yield running


def moongate(gateway: Gateway, *words: str) -> str:
    command = [MOONGATE, *words, "--home", gateway.home]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Writer:
    """Commits numbered files, each by one of the ways in, and remembers what was acknowledged."""

    def __init__(self, gateway: Gateway, folder: Path, seed: int) -> None:
        self.tried: dict[str, bytes] = {}
        self.acknowledged: dict[str, str] = {}
        self.trouble: Exception | None = None
        self._gateway = gateway
        self._folder = folder
        self._dice = random.Random(seed)
        self._token = make_token(gateway.home, "alice", "admin")
        self._numbers = itertools.count()
        self.ways: dict[str, Callable[[str], str | None]] = {
            "in the commit": self._regular,
            "LFS in one piece": lambda path: self._large(path, ("basic",)),
            "LFS in parts": lambda path: self._large(path, ("basic", "multipart")),
            "Xet": self._xet,
            "git": self._git,
        }

    def write(self, way: str) -> None:
        """Bring a file and commit it; whatever breaks off, breaks off."""
        path = f"{next(self._numbers)}.bin"
        try:
            made = self.ways[way](path)
        except (*BROKEN_OFF, Refused) as error:
            self.trouble = error
            return
        if made is not None:
            self.acknowledged[made] = path

    def _content(self, path: str) -> bytes:
        self.tried[path] = self._dice.randbytes(self._dice.randint(100_000, 400_000))
        return self.tried[path]

    def _talk(self) -> UploadTalk:
        return UploadTalk(self._gateway.url, self._token)

    def _regular(self, path: str) -> str:
        return self._talk().commit(REPO, file_line(path, self._content(path)))

    def _large(self, path: str, transfers: tuple[str, ...]) -> str:
        content = self._content(path)
        self._talk().upload(REPO, content, transfers)
        return self._talk().commit(REPO, lfs_line(path, content))

    def _xet(self, path: str) -> str:
        xorbs = [make_xorb(self._dice.getrandbits(32), chunks=20, most_bytes=20_000) for _ in range(3)]
        parts = [(number, 0, 20) for number in range(3)]
        self.tried[path] = contents(xorbs, parts)
        writer = XetWriter(self._gateway.url, REPO, self._token).log_in()
        for xorb in xorbs:
            _must_succeed(writer.send(xorb))
        _must_succeed(writer.register(shard_of([told_file(xorbs, parts)], xorbs)))
        return self._talk().commit(REPO, lfs_line(path, self.tried[path]))

    def _git(self, path: str) -> str | None:
        """A clone that is left behind, as after a reboot; large files go by git-lfs."""
        copy = self._folder / path
        url = self._gateway.url.replace("://", f"://alice:{self._token}@")
        cloned = self._run("clone", "-q", "--depth=1", f"{url}/{REPO}", str(copy), skip_smudge=True)
        if cloned is None:
            return None
        (copy / path).write_bytes(self._content(path))
        steps = (("add", path), (*GIT_IDENTITY, "commit", "-qm", "by git"), ("push", "-q", "origin", "main"))
        for words in steps:
            if self._run("-C", str(copy), *words) is None:
                return None
        made = self._run("-C", str(copy), "rev-parse", "HEAD")
        shutil.rmtree(copy)
        return made

    def _run(self, *words: str, skip_smudge: bool = False) -> str | None:
        """What git said, or None when it failed."""
        home = self._folder / "git home"
        if not home.exists():
            home.mkdir(parents=True)
            (home / ".gitconfig").write_text("[lfs]\n\ttransfer.maxretries = 1\n")
            self._run("lfs", "install", "--skip-repo")
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_TERMINAL_PROMPT": "0"}
        env |= {"GIT_LFS_SKIP_SMUDGE": "1"} if skip_smudge else {}
        command = ["git", *words]
        done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=120)
        return done.stdout.strip() if done.returncode == 0 else None


def _must_succeed(answer: RawAnswer) -> None:
    if answer.status != 200:
        raise Refused(answer)


def left_whole(talk: UploadTalk, writer: Writer, seen: set[str]) -> list[str]:
    """The history, when every commit in it that was not seen before has only files as they were brought."""
    history = talk.history(REPO)
    for made in history:
        if made in seen:
            continue
        seen.add(made)
        for one in talk.tree(REPO, made):
            if one["path"] != ".gitattributes":
                expected = writer.tried[one["path"]]
                assert one["size"] == len(expected), (made, one)
                if one["oid"] not in seen:
                    seen.add(one["oid"])
                    assert talk.read(REPO, one["path"], made) == expected, (made, one["path"])
    return history


@pytest.mark.clients
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills_per_way", [2, pytest.param(10, marks=pytest.mark.long)])
def test_1_killed_in_the_middle_of_uploads(
    gateway: Gateway, program: Callable[[str], Path], tmp_path: Path, kills_per_way: int
) -> None:
    program("git-lfs")
    talk = UploadTalk(gateway.url, make_token(gateway.home, "alice", "admin"))
    talk.create(REPO)
    writer, dice, seen = Writer(gateway, tmp_path / "copies", 1), random.Random(7), set[str]()
    broken_off = 0
    for way in writer.ways:
        begun = time.monotonic()
        writer.write(way)
        needed_seconds = time.monotonic() - begun
        assert len(writer.acknowledged) + broken_off == len(writer.tried), (way, writer.trouble)
        for _ in range(kills_per_way):
            upload = threading.Thread(target=writer.write, args=(way,))
            upload.start()
            upload.join(needed_seconds * dice.uniform(0, 1.1))
            gateway.kill()
            upload.join()
            gateway.start()
            history = left_whole(talk, writer, seen)
            assert set(writer.acknowledged) <= set(history)
        broken_off = len(writer.tried) - len(writer.acknowledged)
    if kills_per_way > 2:
        assert broken_off > kills_per_way, "most of them were in the middle of it"
    assert not json.loads(moongate(gateway, "verify", "--json")).get("wrong")
    nothing_is_left_over(gateway, talk, writer)


def nothing_is_left_over(gateway: Gateway, talk: UploadTalk, writer: Writer) -> None:
    """Once the leases are over, only what a commit has is kept."""
    with closing(sqlite3.connect(gateway.home / "index.sqlite3")) as index, index:
        index.execute("UPDATE upload_leases SET expires_at = 1")
    moongate(gateway, "gc")
    whole = {
        one["lfs"]["oid"] for made in talk.history(REPO) for one in talk.tree(REPO, made) if "lfs" in one
    }
    kept = {path.name for path in (gateway.home / "store/v1/blobs/sha256").glob("*/*")}
    assert kept <= whole
    for path, content in writer.tried.items():
        if hashlib.sha256(content).hexdigest() in whole:
            assert talk.read(REPO, path) == content
