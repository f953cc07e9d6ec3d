"""Git itself agrees with our ids and can read what we write."""

from __future__ import annotations

import subprocess
from pathlib import Path

from moongate.double import LfsFile, Repo
from moongate.double.objects import git_object, pointer_text, write_bare


def git(*words: str, at: Path) -> str:
    return subprocess.run(["git", "-C", str(at), *words], check=True, capture_output=True, text=True).stdout


def test_known_blob_ids() -> None:
    assert git_object("blob", b"").oid == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_object("blob", b"hello\n").oid == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_pointer_is_the_one_git_lfs_writes() -> None:
    text = pointer_text("ab" * 32, 12)
    assert text == b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12\n"


def test_git_reads_our_repository_and_finds_nothing_wrong(tmp_path: Path) -> None:
    repo = Repo("acme/tiny")
    repo.commit({"a.txt": "1", "a/b/c.txt": "2", "a-b": "3", "a.b/c": "4", "w.bin": LfsFile(b"large")})
    head = repo.commit({"a/b/d.txt": "5"}, delete=["a-b"], message="second\n\nwith more")
    repo.tag("v1")
    write_bare(tmp_path, repo.objects.values(), repo.refs)

    assert git("fsck", "--strict", "--full", at=tmp_path) == ""
    assert git("rev-parse", "HEAD", "v1", at=tmp_path).split() == [head, head]
    listed = dict(line.split()[2:4][::-1] for line in git("ls-tree", "-r", "HEAD", at=tmp_path).splitlines())
    assert listed == {path: node.oid for path, node in repo.commits[head].files.items()}
    assert set(listed) == {".gitattributes", "a.txt", "a/b/c.txt", "a/b/d.txt", "a.b/c", "w.bin"}
    assert git("rev-list", "--count", "HEAD", at=tmp_path).strip() == "2"


def test_revisions_and_refs() -> None:
    repo = Repo("acme/tiny")
    first = repo.commit({"a": "1"})
    second = repo.commit({"a": "2"})
    repo.tag("v1", first)
    number = repo.pull_request("v1")
    names = {"main": second, "HEAD": second, "v1": first, f"refs/pr/{number}": first, first[:8]: first}
    assert {name: found.hash for name in names if (found := repo.resolve(name))} == names
    assert repo.resolve("nothing") is None
    repo.set_ref("main", first)
    assert repo.resolve("main") == repo.commits[first]
