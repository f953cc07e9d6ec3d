"""The lines of a commit request: one JSON object each, a header and operations.

    {"key":"header","value":{"summary":"…","description":"…","parentCommit":"<40 hex>"}}
    {"key":"file","value":{"content":"<base64>","path":"a.txt","encoding":"base64","oldPath":"b.txt"}}
    {"key":"lfsFile","value":{"path":"w.bin","algo":"sha256","oid":"<sha256>","size":5,"oldPath":"v.bin"}}
    {"key":"deletedFile","value":{"path":"b.txt"}}
    {"key":"deletedFolder","value":{"path":"dir/"}}
    {"key":"deletedEntry","value":{"path":"either"}}

`oldPath` moves: the old path goes. A line without content (`file`) or hash (`lfsFile`) and with `oldPath`
moves what stands there. Every reader raises `BadRequest` (or `BadName`) and never anything else.

Source: the Hub's commit route, as its clients send it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moongate.core.digests import Etag, is_sha256, parse_etag
from moongate.core.errors import BadName, BadRequest
from moongate.core.names import CommitHash, RepoPath, is_commit_hash, parse_new_path, shown
from moongate.core.records import MAX_FILE_BYTES

MAX_DEPTH = 100
"""How many folders a path may go down."""

_MAX_SUMMARY_CHARS = 1000
_MAX_DESCRIPTION_CHARS = 65_536


@dataclass(frozen=True, slots=True)
class CommitHeader:
    """What a commit is called, and which commit it was made for."""

    summary: str
    description: str = ""
    parent_commit: CommitHash | None = None

    @property
    def message(self) -> str:
        """As git keeps it."""
        return f"{self.summary}\n\n{self.description}\n" if self.description else f"{self.summary}\n"


@dataclass(frozen=True, slots=True)
class PutFile:
    """Put these bytes at a path; `old_path` goes."""

    path: RepoPath
    content: bytes
    old_path: RepoPath | None = None


@dataclass(frozen=True, slots=True)
class PutBlob:
    """Put a regular file at a path whose bytes are in the store already, under this oid; `old_path` goes."""

    path: RepoPath
    oid: str
    size_bytes: int
    old_path: RepoPath | None = None


@dataclass(frozen=True, slots=True)
class PutLfs:
    """Put an LFS file at a path; `old_path` goes."""

    path: RepoPath
    etag: Etag
    size_bytes: int | None
    old_path: RepoPath | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Put what stands at `old_path`, a file or a folder, at a path."""

    path: RepoPath
    old_path: RepoPath


@dataclass(frozen=True, slots=True)
class Copy:
    """Put what stands at a path of a commit at another path, too."""

    path: RepoPath
    source: RepoPath


@dataclass(frozen=True, slots=True)
class Delete:
    """Drop what stands at a path. kind: `file`, `folder`, or `entry` for either."""

    path: RepoPath
    kind: str = "entry"


Operation = PutFile | PutBlob | PutLfs | Move | Copy | Delete


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """A whole request."""

    header: CommitHeader
    operations: Sequence[Operation]


def read_line(line: bytes) -> CommitHeader | Operation:
    """What one line says.

    Raises:
        BadRequest, BadName: it is none, or what it says cannot be.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest("a line of the commit is not JSON") from None
    key = said.get("key") if isinstance(said, dict) else None
    value = said.get("value") if isinstance(said, dict) else None
    if not isinstance(key, str) or not isinstance(value, dict):
        raise BadRequest("a line of the commit lacks its key or value")
    match key:
        case "header":
            return _header(value)
        case "file":
            return _file(value)
        case "lfsFile":
            return _lfs_file(value)
        case "deletedFile":
            return Delete(_path(value), "file")
        case "deletedFolder":
            return Delete(_path(value), "folder")
        case "deletedEntry":
            return Delete(_path(value), "entry")
        case "copyFile":
            source = value.get("srcPath", value.get("sourcePath"))
            return Copy(_path(value), _named(source))
        case _:
            raise BadRequest(f"a commit has no lines {shown(key)}")


def _header(value: Mapping[str, object]) -> CommitHeader:
    summary, description = value.get("summary") or "", value.get("description") or ""
    parent = value.get("parentCommit") or None
    if not isinstance(summary, str) or not isinstance(description, str):
        raise BadRequest("a commit's summary and description are texts")
    if not summary.strip():
        raise BadRequest("a commit needs a summary")
    if len(summary) > _MAX_SUMMARY_CHARS or len(description) > _MAX_DESCRIPTION_CHARS:
        raise BadRequest("the commit's summary or description is absurdly long")
    if parent is not None and not (isinstance(parent, str) and is_commit_hash(parent)):
        raise BadRequest("parentCommit is not a commit hash")
    return CommitHeader(_told(summary), _told(description), None if parent is None else CommitHash(parent))


def _file(value: Mapping[str, object]) -> PutFile | Move:
    path, old_path = _path(value), _old_path(value)
    content, encoding = value.get("content"), value.get("encoding", "utf-8")
    if content is None and old_path is not None:
        return Move(path, old_path)
    if not isinstance(content, str):
        raise BadRequest(f"{shown(path)} has no content")
    if encoding == "base64":
        try:
            return PutFile(path, base64.b64decode(content, validate=True), old_path)
        except (binascii.Error, ValueError):
            raise BadRequest(f"the content of {shown(path)} is not base64") from None
    if encoding != "utf-8":
        raise BadRequest("a file's encoding is base64 or utf-8")
    return PutFile(path, _told(content).encode(), old_path)


def _lfs_file(value: Mapping[str, object]) -> PutLfs | Move:
    path, old_path = _path(value), _old_path(value)
    oid, size_bytes = value.get("oid"), value.get("size")
    if oid is None and old_path is not None:
        return Move(path, old_path)
    if value.get("algo", "sha256") != "sha256" or not isinstance(oid, str):
        raise BadRequest(f"{shown(path)} is named by no sha256")
    etag = parse_etag(oid)
    if not is_sha256(etag):
        raise BadName(f"{shown(path)} is named by no sha256")
    if size_bytes is not None and (
        not isinstance(size_bytes, int)
        or isinstance(size_bytes, bool)
        or not 0 <= size_bytes < MAX_FILE_BYTES
    ):
        raise BadRequest(f"{shown(path)} has no sensible size")
    return PutLfs(path, etag, size_bytes, old_path)


def _path(value: Mapping[str, object]) -> RepoPath:
    return _named(value.get("path"))


def _old_path(value: Mapping[str, object]) -> RepoPath | None:
    old = value.get("oldPath")
    return None if old is None else _named(old)


def _named(path: object) -> RepoPath:
    if not isinstance(path, str):
        raise BadRequest("a line of the commit names no path")
    checked = parse_new_path(path.removesuffix("/"))
    segments = checked.split("/")
    if any(segment.lower() == ".git" for segment in segments):
        raise BadName(f"git keeps no files called .git: {shown(path)}")
    if len(segments) > MAX_DEPTH:
        raise BadName(f"too many folders deep: {shown(path)}")
    return checked


def _told(text: str) -> str:
    """Text that every row and git object takes."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
