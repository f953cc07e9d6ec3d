"""Hosted repositories by git and git-lfs and by the Hub's own client, in turns, in one running gateway."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.clients import run_client, run_script
from support.gateway import Gateway
from support.pickled import EVIL, zipped

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

MIB = 1 << 20
WHO = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Grace"), ("EMAIL", "grace@example.test"))
}


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that hosts `acme` and has no upstream."""
    home = tmp_path_factory.mktemp("hosting") / "home"
    env = {"MOONGATE_HOSTED_NAMESPACES": "acme"}
    with Gateway(home, "http://127.0.0.1:9", env=env, arguments=("--offline",)) as running:
        yield running


@dataclass
class Workshop:
    """A repository of its own, a git with git-lfs, and the Hub's client."""

    gateway: Gateway
    folder: Path
    executable: Path
    python: Path
    repo: str
    repo_type: str = "model"
    token: str | None = None

    @property
    def url(self) -> str:
        """Where the repository is, as somebody with this token has it."""
        place = self.repo if self.repo_type == "model" else f"{self.repo_type}s/{self.repo}"
        base = self.gateway.url
        return f"{base.replace('://', f'://grace:{self.token}@') if self.token else base}/{place}"

    def git(
        self, *words: str, cwd: Path | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> str:
        """What a git said."""
        done = run_client(
            [self.executable, *words],
            home=self.folder / "home",
            endpoint=self.gateway.url,
            env={"GIT_TERMINAL_PROMPT": "0", **WHO, **(env or {})},
            cwd=cwd or self.folder,
            check=check,
        )
        return done.stdout + done.stderr

    def clone(self, name: str, *words: str) -> Path:
        self.git("clone", "-q", *words, self.url, name)
        return self.folder / name

    def head(self, where: Path, revision: str = "HEAD") -> str:
        return self.git("rev-parse", revision, cwd=where).strip()

    def work(self, where: Path, files: Mapping[str, bytes], message: str = "by git") -> str:
        """Commits these files; the commit."""
        for name, content in files.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_bytes(content)
        self.git("add", "-A", cwd=where)
        self.git("commit", "-qm", message, cwd=where)
        return self.head(where)

    def api(self, *steps: Mapping[str, object]) -> list[Any]:
        """What the Hub's client answered to each step."""
        plan = {"repo": self.repo, "repo_type": self.repo_type, "token": self.token, "steps": steps}
        told = run_script(
            self.python,
            "hub_hosted.py",
            plan,
            home=self.folder / "api",
            endpoint=self.gateway.url,
            env={"HF_HUB_DISABLE_XET": "1"},
        )
        assert isinstance(told, list)
        return told


@pytest.fixture
def workshop(
    hosting: Gateway,
    program: Callable[[str], Path],
    client_python: Callable[[str], Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Workshop:
    program("git-lfs")
    repo = "acme/" + request.node.originalname.removeprefix("test_").replace("_", "-")[:60]
    made = Workshop(hosting, tmp_path, program("git"), client_python("hub-2.4"), repo)
    (tmp_path / "home").mkdir()
    made.git("lfs", "install", "--skip-repo")
    return made


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def large(path: str, count: int) -> bytes:
    """What `hub_hosted.py` uploads there."""
    return hashlib.sha512(path.encode()).digest() * 16 * count


def contents(where: Path) -> dict[str, str]:
    return {
        path.relative_to(where).as_posix(): sha256(path.read_bytes())
        for path in where.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(where).parts
    }


def test_what_the_api_committed_git_has(workshop: Workshop) -> None:
    _, first, second = workshop.api(
        {"do": "create"},
        {"do": "commit", "files": {"a.txt": "one", "sub/b.txt": "b"}, "large": {"w.safetensors": 3000}},
        {"do": "commit", "files": {"a.txt": "two"}, "gone": ["sub/b.txt"]},
    )
    copy = workshop.clone("copy")
    assert workshop.head(copy) == second
    assert workshop.head(copy, "HEAD~1") == first
    assert (copy / "a.txt").read_text() == "two"
    assert sha256((copy / "w.safetensors").read_bytes()) == sha256(large("w.safetensors", 3000))
    assert not (copy / "sub").exists()
    workshop.git("fsck", "--strict", cwd=copy)
    assert workshop.git("lfs", "fsck", cwd=copy).strip().endswith("OK")
    (tree,) = workshop.api({"do": "tree"})
    listed = workshop.git("ls-tree", "-r", "HEAD", cwd=copy).splitlines()
    of_git = {line.split("\t")[1]: line.split()[2] for line in listed}
    assert {path: oid for path, oid, _ in tree} == of_git


def test_what_git_pushed_the_api_has(workshop: Workshop) -> None:
    workshop.api({"do": "create"})
    copy = workshop.clone("copy")
    workshop.git("lfs", "track", "*.bin", cwd=copy)
    weights = random.Random(1).randbytes(3 * MIB)
    oid = workshop.work(
        copy, {"README.md": b"---\nlicense: mit\n---\n# hi\n", "x/y.txt": b"y", "deep/w.bin": weights}
    )
    workshop.git("push", "-q", "origin", "HEAD:main", cwd=copy)
    read, tree, commits, refs = workshop.api(
        {"do": "read"}, {"do": "tree"}, {"do": "commits"}, {"do": "refs"}
    )
    assert read == {"commit": oid, "files": contents(copy)}
    assert read["files"]["deep/w.bin"] == sha256(weights)
    assert ["deep/w.bin", sha256(weights)] in [[path, digest] for path, _, digest in tree]
    assert commits[0] == oid
    assert refs["refs/heads/main"] == oid


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
def test_other_kinds_of_repositories(workshop: Workshop, repo_type: str) -> None:
    workshop.repo_type, workshop.repo = repo_type, f"acme/kind-{repo_type}"
    workshop.api({"do": "create", "space_sdk": "static"} if repo_type == "space" else {"do": "create"})
    copy = workshop.clone("copy")
    oid = workshop.work(copy, {"data/a.txt": b"a"})
    workshop.git("push", "-q", "origin", "HEAD:main", cwd=copy)
    (read,) = workshop.api({"do": "read"})
    assert read == {"commit": oid, "files": contents(copy)}


def test_turns(workshop: Workshop) -> None:
    """Git, the API, git again: each builds on what the other did, with large files on both sides."""
    _, first = workshop.api(
        {"do": "create"}, {"do": "commit", "files": {"a.txt": "1"}, "large": {"a.bin": 2000}}
    )
    copy = workshop.clone("copy")
    second = workshop.work(copy, {"b.txt": b"2", "b.bin": random.Random(2).randbytes(2 * MIB)})
    workshop.git("push", "-q", "origin", "main", cwd=copy)
    third, _ = workshop.api(
        {"do": "commit", "files": {"c.txt": "3"}, "large": {"c.bin": 1000}, "parent": second}, {"do": "read"}
    )
    workshop.git("pull", "-q", cwd=copy)
    assert workshop.head(copy) == third
    assert workshop.git("rev-list", "HEAD", cwd=copy).split()[:3] == [third, second, first]
    fourth = workshop.work(copy, {"a.txt": b"4"})
    workshop.git("push", "-q", "origin", "main", cwd=copy)
    read, commits = workshop.api({"do": "read"}, {"do": "commits"})
    assert read == {"commit": fourth, "files": contents(copy)}
    assert commits[:4] == [fourth, third, second, first]


def test_a_conflict_either_way(workshop: Workshop) -> None:
    _, first = workshop.api({"do": "create"}, {"do": "commit", "files": {"a.txt": "1"}})
    copy = workshop.clone("copy")
    (theirs,) = workshop.api({"do": "commit", "files": {"a.txt": "theirs"}})
    ours = workshop.work(copy, {"b.txt": b"ours"})
    said = workshop.git("push", "origin", "main", cwd=copy, check=False)
    assert "fetch first" in said
    workshop.git("pull", "-q", "--rebase", cwd=copy)
    workshop.git("push", "-q", "origin", "main", cwd=copy)
    rebased = workshop.head(copy)
    assert rebased != ours
    with pytest.raises(AssertionError, match="412"):
        workshop.api({"do": "commit", "files": {"c.txt": "late"}, "parent": theirs})
    workshop.git("reset", "-q", "--hard", first, cwd=copy)
    forced = workshop.work(copy, {"d.txt": b"instead"})
    assert "rejected" in workshop.git("push", "origin", "main", cwd=copy, check=False)
    workshop.git("push", "-q", "--force", "origin", "main", cwd=copy)
    (read,) = workshop.api({"do": "read"})
    assert read == {"commit": forced, "files": contents(copy)}


def test_branches_and_tags_of_both(workshop: Workshop) -> None:
    _, first, *_ = workshop.api(
        {"do": "create"},
        {"do": "commit", "files": {"a.txt": "1"}},
        {"do": "branch", "name": "dev"},
        {"do": "tag", "name": "v1"},
        {"do": "tag", "name": "v2", "message": "the second"},
    )
    copy = workshop.clone("copy")
    assert workshop.git("tag", cwd=copy).split() == ["v1", "v2"]
    assert workshop.head(copy, "v1^{commit}") == workshop.head(copy, "origin/dev") == first
    workshop.git("checkout", "-q", "-b", "feat/x", cwd=copy)
    mine = workshop.work(copy, {"x.txt": b"x"})
    workshop.git("tag", "-am", "the third", "v3", cwd=copy)
    workshop.git("push", "-q", "origin", "feat/x", "v3", ":dev", cwd=copy)
    read, by_tag, refs = workshop.api(
        {"do": "read", "revision": "feat/x"}, {"do": "read", "revision": "v3"}, {"do": "refs"}
    )
    assert read["commit"] == by_tag["commit"] == mine
    assert set(refs) == {
        "refs/heads/main",
        "refs/heads/feat/x",
        "refs/tags/v1",
        "refs/tags/v2",
        "refs/tags/v3",
    }
    assert "main cannot be deleted" in workshop.git("push", "origin", ":main", cwd=copy, check=False)


def test_large_files_without_git_lfs_are_refused(workshop: Workshop) -> None:
    workshop.api({"do": "create"})
    copy = workshop.clone("copy")
    (copy / ".gitattributes").write_text("")  # as somebody has it who never heard of git-lfs
    workshop.work(copy, {"model.bin": bytes(11 * MIB)})
    said = workshop.git("push", "origin", "HEAD:main", cwd=copy, check=False)
    assert "remote:   model.bin (11.0 MiB)" in said
    assert 'git lfs track "*.bin"' in said
    workshop.git("lfs", "migrate", "import", "--include=*.bin", "--yes", cwd=copy)
    workshop.git("push", "-q", "origin", "HEAD:main", cwd=copy)
    (read,) = workshop.api({"do": "read"})
    assert read["files"]["model.bin"] == sha256(bytes(11 * MIB))


def test_pointers_alone_are_refused(workshop: Workshop) -> None:
    workshop.api({"do": "create"})
    copy = workshop.clone("copy")
    workshop.git("lfs", "track", "*.bin", cwd=copy)
    workshop.work(copy, {"w.bin": b"weights" * 5000})
    said = workshop.git("push", "--no-verify", "origin", "HEAD:main", cwd=copy, check=False)
    assert "was not uploaded" in said
    workshop.git("lfs", "push", "--all", "origin", cwd=copy)
    workshop.git("push", "-q", "--no-verify", "origin", "HEAD:main", cwd=copy)
    fresh = workshop.clone("fresh")
    assert (fresh / "w.bin").read_bytes() == b"weights" * 5000


@pytest.mark.parametrize("way", ["lfs", "plain"])
def test_a_pickle_that_runs_code_does_not_land(workshop: Workshop, way: str) -> None:
    workshop.repo = f"acme/evil-{way}"
    workshop.api({"do": "create"})
    copy = workshop.clone("copy")
    before = workshop.head(copy)
    if way == "lfs":
        workshop.git("lfs", "track", "*.bin", cwd=copy)
    workshop.work(copy, {"README.md": b"# Mine\n", "deep/weights.bin": zipped({"archive/data.pkl": EVIL})})
    said = workshop.git("push", "origin", "HEAD:main", "HEAD:refs/heads/other", cwd=copy, check=False)
    assert "This gateway refuses deep/weights.bin of acme/evil-" in said
    assert "system" in said
    read, refs = workshop.api({"do": "read"}, {"do": "refs"})
    assert read["commit"] == before
    assert set(read["files"]) <= {".gitattributes"}
    assert set(refs) == {"refs/heads/main"}
    workshop.git("checkout", "-q", "-b", "good", before, cwd=copy)
    workshop.work(copy, {"README.md": b"# Mine\n"})
    workshop.git("push", "-q", "origin", "HEAD:main", cwd=copy)


def test_git_lfs_asks_nobody_about_locks(workshop: Workshop) -> None:
    workshop.api({"do": "create"})
    copy = workshop.clone("copy")
    workshop.git("lfs", "track", "*.bin", cwd=copy)
    workshop.work(copy, {"w.bin": b"w" * 5000})
    assert "locking" not in workshop.git("push", "origin", "HEAD:main", cwd=copy).lower()
    assert "not offered" in workshop.git("lfs", "locks", cwd=copy, check=False)


def token(home: Path, user: str, scope: str) -> str:
    command = [Path(sys.executable).parent / "moongate", "token", "create", "--home", home, "--json"]
    done = subprocess.run(
        [*command, "--user", user, "--scope", scope], capture_output=True, text=True, check=True
    )
    made = json.loads(done.stdout)["token"]
    assert isinstance(made, str)
    return made


def test_private_repositories_behind_a_closed_door(workshop: Workshop, tmp_path: Path) -> None:
    home = tmp_path / "closed"
    writes, reads, stranger = (
        token(home, user, scope) for user, scope in (("grace", "write"), ("grace", "read"), ("eve", "write"))
    )
    env = {"MOONGATE_HOSTED_NAMESPACES": "acme"}
    with Gateway(home, "http://127.0.0.1:9", env=env, arguments=("--offline", "--host", "0.0.0.0")) as closed:
        workshop.gateway, workshop.token = closed, writes
        workshop.api({"do": "create", "private": True})
        copy = workshop.clone("copy")
        workshop.git("lfs", "track", "*.bin", cwd=copy)
        oid = workshop.work(copy, {"w.bin": b"w" * 5000})
        workshop.git("push", "-q", "origin", "HEAD:main", cwd=copy)
        (read,) = workshop.api({"do": "read"})
        assert read["commit"] == oid
        workshop.token = reads
        other = workshop.clone("other")
        assert (other / "w.bin").read_bytes() == b"w" * 5000
        workshop.work(other, {"b.txt": b"b"})
        assert "403" in workshop.git("push", "origin", "main", cwd=other, check=False)
        workshop.token = stranger
        assert "not found" in workshop.git("clone", workshop.url, "none", check=False)
        workshop.token = "hf_" + "x" * 48
        assert "Authentication failed" in workshop.git("clone", workshop.url, "none", check=False)
        workshop.token = None
        assert "could not read Username" in workshop.git("clone", workshop.url, "none", check=False)
        log = closed.log_path.read_text()
        assert not any(secret in log for secret in (writes, reads, stranger))


def test_a_moved_repository_is_found(workshop: Workshop) -> None:
    workshop.api({"do": "create"}, {"do": "commit", "files": {"a.txt": "1"}})
    copy = workshop.clone("copy")
    new = f"{workshop.repo}-elsewhere"
    sent = json.dumps({"fromRepo": workshop.repo, "toRepo": new, "type": "model"}).encode()
    asked = urllib.request.Request(
        f"{workshop.gateway.url}/api/repos/move", sent, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked) as answer:
        assert answer.status == 200
    workshop.git("pull", "-q", cwd=copy)
    oid = workshop.work(copy, {"b.txt": b"b"})
    workshop.git("push", "-q", "origin", "HEAD:main", cwd=copy)
    workshop.repo = new
    (read,) = workshop.api({"do": "read"})
    assert read["commit"] == oid


def test_a_history_is_moved_in_whole(workshop: Workshop) -> None:
    """Hundreds of commits with LFS files in the past: pushed at once, and cloned again as they were."""
    workshop.git("init", "-q", "-b", "main", "old")
    old = workshop.folder / "old"
    workshop.git("lfs", "install", "--local", cwd=old)
    workshop.git("lfs", "track", "*.bin", cwd=old)
    for number in range(5):
        workshop.work(old, {"w.bin": random.Random(number).randbytes(300_000)}, f"weights {number}")
    script = "".join(
        f"commit refs/heads/main\ncommitter G <g@h> {1700000000 + n} +0100\ndata 2\nc\n"
        + ("from refs/heads/main^0\n" if n == 0 else "")
        + f"M 100644 inline notes/{n % 50}.txt\ndata {len(str(n))}\n{n}\n"
        for n in range(300)
    )
    subprocess.run(["git", "-C", old, "fast-import", "--quiet"], input=script.encode(), check=True)
    workshop.api({"do": "create"})
    workshop.git("push", "-q", workshop.url, "main:main", "--force", cwd=old)
    copy = workshop.clone("copy")
    assert workshop.git("rev-list", "HEAD", cwd=copy) == workshop.git("rev-list", "main", cwd=old)
    workshop.git("checkout", "-q", "HEAD~302", cwd=copy)
    assert sha256((copy / "w.bin").read_bytes()) == sha256(random.Random(2).randbytes(300_000))


DEATHS: Mapping[str, Callable[[Path, int], bool]] = {
    "in quarantine": lambda store, kept: any(store.glob("git/*.git/incoming/*")),
    "unpacked": lambda store, kept: any(store.glob("git/*.git/incoming/*/objects/pack/*.idx")),
    "looked at": lambda store, kept: any(store.glob("git/*.git/incoming/*/described")),
    "files kept": lambda store, kept: len(list(store.glob("blobs/git/*/*"))) > kept,
    "landed": lambda store, kept: landed(store.parent.parent / "index.sqlite3"),
}


def landed(index: Path) -> bool:
    """Whether a branch beside main is there."""
    with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as reading:
        return bool(reading.execute("select 1 from hosted_refs where name = 'refs/heads/side'").fetchone())


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [moment if moment in ("in quarantine", "landed") else pytest.param(moment, marks=pytest.mark.long)
     for moment in DEATHS],
)  # fmt: skip
def test_a_death_in_the_middle_of_a_push(workshop: Workshop, tmp_path: Path, moment: str) -> None:
    """What was acknowledged is whole, all else is not there, and the same push goes through afterwards."""
    env = {"MOONGATE_HOSTED_NAMESPACES": "acme"}
    with Gateway(tmp_path / "mortal", "http://127.0.0.1:9", env=env, arguments=("--offline",)) as mortal:
        workshop.gateway, store = mortal, mortal.home / "store" / "v1"
        workshop.api({"do": "create"})
        copy = workshop.clone("copy")
        workshop.git("lfs", "track", "*.bin", cwd=copy)
        workshop.git("checkout", "-q", "-b", "side", cwd=copy)
        noise = random.Random(moment)
        files = {f"f{number}.txt": noise.randbytes(2000) for number in range(300)}
        oid = workshop.work(copy, {"w.bin": noise.randbytes(MIB), **files})
        kept = len(list(store.glob("blobs/git/*/*")))
        environment = {
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": str(workshop.folder / "home"),
            "PATH": os.environ["PATH"],
        }
        push = subprocess.Popen(
            [workshop.executable, "push", "-q", "origin", "side"],
            cwd=copy,
            env=environment,
            stderr=subprocess.PIPE,
        )
        while push.poll() is None and not DEATHS[moment](store, kept):
            pass
        mortal.kill()
        push.communicate()
        mortal.start()
        listed = workshop.git("ls-remote", "origin", "refs/heads/side", cwd=copy)
        if push.returncode == 0 or moment == "landed":
            assert oid in listed
        workshop.git("push", "-q", "origin", "side", cwd=copy)
        fresh = workshop.clone("fresh", "-b", "side")
        assert workshop.head(fresh) == oid
        workshop.git("fsck", "--strict", cwd=fresh)
        (read,) = workshop.api({"do": "read", "revision": "side"})
        assert read == {"commit": oid, "files": contents(fresh)}
        assert not list(store.glob("git/*.git/incoming/*"))
