"""The lines of a commit request, as the Hub's clients send them."""

from __future__ import annotations

import base64
import json

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest
from moongate.core.names import CommitHash, RepoPath
from moongate.wire.commit_lines import (
    MAX_DEPTH,
    CommitHeader,
    Copy,
    Delete,
    Move,
    PutFile,
    PutLfs,
    read_line,
)
from moongate.wire.hosted_paths import Asked, DiscussionAsked, parse_hosted
from moongate.wire.preupload import read_preupload

SHA = "ab" * 32


def line(key: str, **value: object) -> bytes:
    return json.dumps({"key": key, "value": value}).encode()


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (line("header", summary="a", description="b"), CommitHeader("a", "b")),
        (line("header", summary="a", parentCommit="1" * 40), CommitHeader("a", "", CommitHash("1" * 40))),
        (line("header", summary="a", description=None, parentCommit=None), CommitHeader("a")),
        (line("file", path="a", content="eA==", encoding="base64"), PutFile(RepoPath("a"), b"x")),
        (line("file", path="a", content="x", encoding="utf-8"), PutFile(RepoPath("a"), b"x")),
        (line("file", path="b", content="", oldPath="a"), PutFile(RepoPath("b"), b"", RepoPath("a"))),
        (line("file", path="b", oldPath="a"), Move(RepoPath("b"), RepoPath("a"))),
        (line("lfsFile", path="a", algo="sha256", oid=SHA, size=5), PutLfs(RepoPath("a"), Etag(SHA), 5)),
        (line("lfsFile", path="a", oid=SHA), PutLfs(RepoPath("a"), Etag(SHA), None)),
        (line("lfsFile", path="b", oldPath="a"), Move(RepoPath("b"), RepoPath("a"))),
        (line("deletedFile", path="a"), Delete(RepoPath("a"), "file")),
        (line("deletedFolder", path="a/"), Delete(RepoPath("a"), "folder")),
        (line("deletedEntry", path="a"), Delete(RepoPath("a"), "entry")),
        (line("copyFile", path="b", srcPath="a"), Copy(RepoPath("b"), RepoPath("a"))),
    ],
)
def test_what_a_line_says(sent: bytes, read: object) -> None:
    assert read_line(sent) == read


def test_a_message_is_as_git_keeps_it() -> None:
    assert CommitHeader("title", "words").message == "title\n\nwords\n"
    assert CommitHeader("title").message == "title\n"


def test_paths_go_down_so_far() -> None:
    read_line(line("deletedEntry", path="/".join(["d"] * MAX_DEPTH)))
    with pytest.raises(BadRequest):
        read_line(line("deletedEntry", path="/".join(["d"] * (MAX_DEPTH + 1))))


@pytest.mark.parametrize(
    ("rest", "asked"),
    [
        ("commit/main", Asked("commit", "main")),
        ("commit/refs%2Fpr%2F1", Asked("commit", "refs/pr/1")),
        ("commit/refs/pr/1", Asked("commit", "refs/pr/1")),
        ("branch/a%2Fb", Asked("branch", "a/b")),
        ("settings", Asked("settings")),
        ("lfs-files/batch", Asked("lfs-batch")),
        (f"lfs-files/{SHA}", Asked("lfs-file", SHA)),
        ("discussions", Asked("discussions")),
        ("discussions/7/comment", DiscussionAsked(7, "comment")),
        ("discussions/7/comment/ab/hide", DiscussionAsked(7, "hide", "ab")),
        ("discussions/x/comment", None),
        ("commit", None),
        ("evil/main", None),
    ],
)
def test_what_an_address_asks(rest: str, asked: object) -> None:
    assert parse_hosted(rest) == asked


@pytest.mark.parametrize(
    ("sample", "binary"),
    [
        (b"", False),
        (b"plain", False),
        ("wörter".encode(), False),
        ("ö".encode()[:1], False),  # the sample ends inside a letter
        ("€".encode()[:2], False),
        (b"a\0b", True),
        (b"\xff\xfe", True),
        (b"\x89PNG\r\n", True),
        (b"\xc3(", True),
    ],
)
def test_what_looks_binary(sample: bytes, binary: bool) -> None:
    body = {"files": [{"path": "a", "size": 9, "sample": base64.b64encode(sample).decode()}]}
    (one,) = read_preupload(json.dumps(body).encode()).files
    assert one.looks_binary is binary
