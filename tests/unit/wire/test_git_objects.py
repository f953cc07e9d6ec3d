"""Git's objects, compared with git's own programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from moongate.core.errors import BadName, BadRequest
from moongate.wire.git_objects import (
    EMPTY_TREE,
    MODE_EXECUTABLE,
    MODE_FILE,
    MODE_FOLDER,
    MODE_SUBMODULE,
    MODE_SYMLINK,
    CommitObject,
    Signature,
    TagObject,
    TreeItem,
    blob_oid,
    encode_commit,
    encode_tag,
    encode_tree,
    object_oid,
    parse_commit,
    parse_tag,
    parse_tree,
)

Git = Callable[..., bytes]
OID = "a" * 40
ADA = Signature("Ada Lovelace", "ada@example.test", 1_700_000_000, "+0130")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Git in a fresh repository, with nobody's settings."""
    env = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": ADA.name,
        "GIT_AUTHOR_EMAIL": ADA.email,
        "GIT_AUTHOR_DATE": f"{ADA.at} {ADA.offset}",
        "GIT_COMMITTER_NAME": "Grace  <Hopper>",
        "GIT_COMMITTER_EMAIL": "grace@example.test",
        "GIT_COMMITTER_DATE": "1700000099 -0800",
    }

    def run(*words: str, sent: bytes = b"") -> bytes:
        done = subprocess.run(
            ["git", "-C", tmp_path, *words], env=env, input=sent, capture_output=True, check=True
        )
        return done.stdout

    run("init", "--quiet")
    return run


@pytest.mark.parametrize("data", [b"", b"hello\n", bytes(range(256)) * 40])
def test_a_blob_is_called_as_git_calls_it(git: Git, data: bytes) -> None:
    assert blob_oid(data) == git("hash-object", "--stdin", sent=data).decode().strip()


def test_a_tree_is_what_mktree_makes(git: Git) -> None:
    items = [
        TreeItem(MODE_FOLDER, "a", OID),
        TreeItem(MODE_FILE, "a.txt", OID),
        TreeItem(MODE_FILE, "a-b", OID),
        TreeItem(MODE_EXECUTABLE, "run", OID),
        TreeItem(MODE_SYMLINK, "link", OID),
        TreeItem(MODE_SUBMODULE, "sub", OID),
        TreeItem(MODE_FILE, "naïve ☃", OID),
        TreeItem(MODE_FILE, "Z", OID),
    ]
    kinds = {MODE_FOLDER: "tree", MODE_SUBMODULE: "commit"}
    lines = b"".join(
        f"{item.mode:06o} {kinds.get(item.mode, 'blob')} {item.oid}\t{item.name}\0".encode() for item in items
    )
    oid = git("mktree", "--missing", "-z", sent=lines).decode().strip()
    body = encode_tree(items)
    assert object_oid("tree", body) == oid
    assert body == git("cat-file", "tree", oid)
    assert sorted(parse_tree(body), key=str) == sorted(items, key=str)
    assert [item.name for item in parse_tree(body)][:4] == ["Z", "a-b", "a.txt", "a"]


def test_the_empty_tree_is_gits(git: Git) -> None:
    assert git("mktree", sent=b"").decode().strip() == EMPTY_TREE


def test_a_commit_is_what_commit_tree_makes(git: Git) -> None:
    tree = git("mktree", sent=b"").decode().strip()
    first = git("commit-tree", tree, "-m", "first").decode().strip()
    second = git("commit-tree", tree, "-p", first, "-m", "Titel: größer").decode().strip()
    merged = git("commit-tree", tree, "-p", second, "-p", first, "-m", "both\n\nand more").decode().strip()
    committer = Signature("Grace  <Hopper>", "grace@example.test", 1_700_000_099, "-0800")
    made = CommitObject(tree, (second, first), ADA, committer, "both\n\nand more\n")
    assert object_oid("commit", encode_commit(made)) == merged
    read = parse_commit(git("cat-file", "commit", second))
    assert (read.tree, read.parents, read.author, read.message) == (tree, (first,), ADA, "Titel: größer\n")


def test_an_annotated_tag_is_what_git_tag_makes(git: Git) -> None:
    tree = git("mktree", sent=b"").decode().strip()
    commit = git("commit-tree", tree, "-m", "first").decode().strip()
    git("tag", "--annotate", "v1.0", commit, "-m", "the first")
    oid = git("rev-parse", "v1.0").decode().strip()
    tagger = Signature("Grace  Hopper", "grace@example.test", 1_700_000_099, "-0800")
    made = TagObject(commit, "commit", "v1.0", tagger, "the first\n")
    assert object_oid("tag", encode_tag(made)) == oid
    assert parse_tag(git("cat-file", "tag", oid)) == made


def test_a_commit_of_other_programs_is_read() -> None:
    """A signature over several lines, another encoding, a name that is empty, a date that is nonsense."""
    body = (
        f"tree {OID}\nauthor  <a@b> 12\ncommitter J\u00fcrgen <> -5 +0000\nencoding ISO-8859-1\n"
        "gpgsig -----BEGIN\n \n more\n -----END\n\nM\u00fcll"
    ).encode("latin-1")
    read = parse_commit(body)
    assert read.author == Signature("", "a@b", 12, "+0000")
    assert read.committer == Signature("Jürgen", "", -5, "+0000")
    assert read.message == "Müll"


def test_a_commit_without_a_message_is_read() -> None:
    body = f"tree {OID}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n".encode()
    assert parse_commit(body + b"\n").message == ""
    assert parse_commit(body).message == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"tree xyz\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n",
        f"tree {OID}\nauthor nobody\ncommitter A <a> 1 +0000\n\n".encode(),
        f"author A <a> 1 +0000\ntree {OID}\ncommitter A <a> 1 +0000\n\n".encode(),
        f"tree {OID}\nparent {OID}\nparent\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n".encode(),
    ],
)
def test_what_is_no_commit_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_commit(body)


@pytest.mark.parametrize(
    "body",
    [
        b"100644 a",
        b"100644 a\0" + b"x" * 19,
        b"644 a\0" + b"x" * 20,
        b"100600 a\0" + b"x" * 20,
        b"100644 b\0" + b"x" * 20 + b"100644 a\0" + b"x" * 20,
        b"100644 a\0" + b"x" * 20 + b"100644 a\0" + b"x" * 20,
        b"100644 a\0" + b"x" * 20 + b"100644 a.\0" + b"x" * 20 + b"40000 a\0" + b"x" * 20,
        b"100644 \xff\0" + b"x" * 20,
        b"100644 a/b\0" + b"x" * 20,
        b"40000 ..\0" + b"x" * 20,
    ],
)
def test_what_is_no_tree_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_tree(body)


def test_old_group_writable_files_are_files() -> None:
    assert parse_tree(b"100664 a\0" + b"x" * 20) == (TreeItem(MODE_FILE, "a", (b"x" * 20).hex()),)


@pytest.mark.parametrize(
    "item",
    [
        TreeItem(MODE_FILE, "a/b", OID),
        TreeItem(MODE_FILE, "", OID),
        TreeItem(MODE_FILE, "..", OID),
        TreeItem(MODE_FILE, "\ud800", OID),
        TreeItem(0o100600, "a", OID),
        TreeItem(MODE_FILE, "a", "a" * 64),
    ],
)
def test_a_tree_that_git_would_not_read_is_not_written(item: TreeItem) -> None:
    with pytest.raises(BadRequest):
        encode_tree([item])


def test_a_file_and_a_folder_of_one_name_are_refused() -> None:
    with pytest.raises(BadName):
        encode_tree([TreeItem(MODE_FILE, "a", OID), TreeItem(MODE_FOLDER, "a", OID)])


def test_names_cannot_forge_headers() -> None:
    evil = Signature("A\nparent " + OID, "a@b>\ngpgsig x", 1)
    body = encode_commit(CommitObject(OID, (), evil, evil, "hello\0 \ud800"))
    assert body.count(b"\n") == 4
    assert parse_commit(body).parents == ()
