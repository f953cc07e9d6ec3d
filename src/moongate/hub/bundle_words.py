"""What the JSON members of a bundle say, as values: written by export, checked word by word on import.

A bundle comes from elsewhere. Every name in it is parsed again, and an answer is taken only under a key that
belongs to the repository and commit it came with.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from moongate.core.digests import Etag, is_sha256, parse_etag
from moongate.core.errors import BadName
from moongate.core.names import (
    CommitHash,
    RepoId,
    Revision,
    parse_commit_hash,
    parse_repo_id,
    parse_repo_path,
    parse_repo_type,
    parse_revision,
)
from moongate.core.records import MAX_FILE_BYTES, FileEntry, RepoFacts
from moongate.core.spans import ByteSpan
from moongate.hub import keys
from moongate.hub.bundle_file import BadBundle
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.index import StoredAnswer
from moongate.xet.hashes import XetHash, hash_hex, parse_hash
from moongate.xet.xorb import MAX_XORB_BYTES, MAX_XORB_CHUNKS

_FORMAT: Final = "moongate-bundle"
_PLAIN_VERSION: Final = 1
_XET_VERSION: Final = 2

Chunks = Mapping[XetHash, Sequence[ChunkRange]]
"""Chunks by xorb."""


@dataclass(frozen=True, slots=True)
class RefSaid:
    """Where a revision pointed, and when upstream said so."""

    revision: Revision
    commit_hash: CommitHash
    checked_at: float


@dataclass(frozen=True, slots=True)
class RepoSaid:
    """One repository of a bundle; `old_ids` lead to it."""

    facts: RepoFacts
    refs: tuple[RefSaid, ...]
    old_ids: tuple[RepoId, ...] = ()

    @property
    def repo(self) -> RepoId:
        return self.facts.repo


@dataclass(frozen=True, slots=True)
class XetSaid:
    """A file that travels as chunks. `digest`: the sha256 of its reconstruction as the bundle has it.

    `chunks` are those that come with it, in order; the others came before, or the receiver has them.
    """

    file_id: str
    etag: Etag
    size_bytes: int
    digest: str
    chunks: tuple[tuple[XetHash, ChunkRange], ...]

    @property
    def carried_bytes(self) -> int:
        return sum(one.span.length for _, one in self.chunks)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds. `assumed`, `assumed_chunks`: what the receiver got with earlier bundles."""

    repos: tuple[RepoSaid, ...]
    blobs: Mapping[Etag, int]
    assumed: Mapping[Etag, int]
    records: int
    xet: tuple[XetSaid, ...] = ()
    assumed_chunks: Chunks = field(default_factory=dict)

    @property
    def files(self) -> int:
        return len(self.blobs) + len(self.xet)

    @property
    def size_bytes(self) -> int:
        return sum(self.blobs.values()) + sum(said.carried_bytes for said in self.xet)

    def as_json(self) -> bytes:
        """A bundle without chunks is one that any version reads."""
        with_xet = bool(self.xet or self.assumed_chunks)
        chunks: dict[str, object] = {
            "xet": [
                [said.file_id, said.etag, said.size_bytes, said.digest, _chunks_json(said.chunks)]
                for said in self.xet
            ],
            "assumed_chunks": _chunks_json(
                (xorb, one) for xorb, ones in self.assumed_chunks.items() for one in ones
            ),
        }
        return orjson.dumps(
            {
                "format": _FORMAT,
                "version": _XET_VERSION if with_xet else _PLAIN_VERSION,
                "repos": [
                    {
                        "type": said.repo.repo_type,
                        "id": said.repo.repo_id,
                        "private": said.facts.private,
                        "gated": said.facts.gated,
                        "checked_at": said.facts.checked_at,
                        "old_ids": [old.repo_id for old in said.old_ids],
                        "refs": [[ref.revision, ref.commit_hash, ref.checked_at] for ref in said.refs],
                    }
                    for said in self.repos
                ],
                "records": self.records,
                "blobs": [[etag, size_bytes] for etag, size_bytes in self.blobs.items()],
                "assumed": [[etag, size_bytes] for etag, size_bytes in self.assumed.items()],
                **(chunks if with_xet else {}),
            }
        )


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """One commit: its files as far as known, and the ready-made answers about it."""

    repo: RepoId
    commit_hash: CommitHash
    complete: bool
    files: tuple[FileEntry, ...]
    answers: Mapping[str, StoredAnswer]

    def as_json(self) -> bytes:
        return orjson.dumps(
            {
                "type": self.repo.repo_type,
                "id": self.repo.repo_id,
                "commit_hash": self.commit_hash,
                "complete": self.complete,
                "files": [[entry.path, entry.etag, entry.size_bytes] for entry in self.files],
                "xet": {entry.path: entry.xet_hash for entry in self.files if entry.xet_hash is not None},
                "answers": [
                    [key, kept.status, kept.headers, base64.b64encode(kept.body).decode(), kept.fetched_at]
                    for key, kept in self.answers.items()
                ],
            }
        )


def read_manifest_json(body: bytes) -> Manifest:
    """The manifest that a bundle begins with.

    Raises:
        BadBundle: it is none of ours, or of a newer kind, or makes no sense.
    """
    said = _object(body)
    if said.get("format") != _FORMAT:
        raise BadBundle("this is no bundle of Moongate")
    if said.get("version") not in (_PLAIN_VERSION, _XET_VERSION):
        raise BadBundle("this bundle was made by another version of Moongate, which this one cannot read")
    try:
        return Manifest(
            repos=tuple(_repo_said(item) for item in said["repos"]),
            blobs=_sizes(said["blobs"]),
            assumed=_sizes(said["assumed"]),
            records=_size(said["records"]),
            xet=tuple(_xet_said(item) for item in said.get("xet", ())),
            assumed_chunks=_by_xorb(_chunks(said.get("assumed_chunks", ()))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, BadName):
        raise BadBundle("the bundle's table of contents makes no sense") from None


def read_record_json(body: bytes, repos: frozenset[RepoId]) -> CommitRecord:
    """One commit's record, for one of these repositories.

    Raises:
        BadBundle: it makes no sense, or is about something else.
    """
    said = _object(body)
    try:
        repo = _repo(said)
        commit_hash = parse_commit_hash(said["commit_hash"])
        if repo not in repos:
            raise BadBundle("the bundle holds a listing of a repository that it does not name")
        xet = dict(said.get("xet", {}))
        files = tuple(
            FileEntry(parse_repo_path(path), parse_etag(etag), _size(size_bytes), _file_id(xet.get(path)))
            for path, etag, size_bytes in said["files"]
        )
        answers = dict(_answer(item, repo, commit_hash) for item in said["answers"])
        return CommitRecord(repo, commit_hash, said["complete"] is True, files, answers)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, BadName):
        raise BadBundle("a listing in the bundle makes no sense") from None


def _object(body: bytes) -> dict[str, Any]:  # JSON from elsewhere
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise BadBundle("the bundle holds JSON that is damaged")
    return said


def _repo(said: Mapping[str, Any]) -> RepoId:
    return parse_repo_id(parse_repo_type(said["type"]), said["id"])


def _repo_said(said: Mapping[str, Any]) -> RepoSaid:
    facts = RepoFacts(_repo(said), _truth(said["private"]), _truth(said["gated"]), float(said["checked_at"]))
    refs = tuple(
        RefSaid(parse_revision(revision), parse_commit_hash(commit_hash), float(checked_at))
        for revision, commit_hash, checked_at in said["refs"]
    )
    old_ids = tuple(parse_repo_id(facts.repo.repo_type, old) for old in said["old_ids"])
    return RepoSaid(facts, refs, old_ids)


def _answer(item: list[Any], repo: RepoId, commit_hash: CommitHash) -> tuple[str, StoredAnswer]:
    key, status, headers, body, fetched_at = item
    bases = (keys.info(repo, commit_hash), keys.at_commit("tree", repo, commit_hash, "/"))
    ours = any(key == base or key.startswith((f"{base}?", f"{bases[1]}?")) for base in bases)
    refs = keys.of_repo("refs", repo)
    if not ours and key != refs and not key.startswith(f"{refs}?"):
        raise ValueError("an answer to something else")
    named = {str(name): str(value) for name, value in headers.items()}
    if any(not text.isprintable() for pair in named.items() for text in pair):
        raise ValueError("a header that cannot be one")
    orjson.loads(content := base64.b64decode(body, validate=True))
    if status != 200:
        raise ValueError("only good answers travel")
    return key, StoredAnswer(200, named, content, float(fetched_at))


def _xet_said(item: list[Any]) -> XetSaid:
    file_id, etag, size_bytes, digest, chunks = item
    if _file_id(file_id) is None or not is_sha256(parse_etag(etag)) or not is_sha256(parse_etag(digest)):
        raise ValueError("not a Xet file")
    return XetSaid(file_id, parse_etag(etag), _size(size_bytes), digest, tuple(_chunks(chunks)))


def _file_id(text: object) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError("not a Xet id")
    return hash_hex(parse_hash(text))


def _chunks_json(chunks: Iterable[tuple[XetHash, ChunkRange]]) -> list[list[object]]:
    return [[hash_hex(xorb), one.first, one.end, one.span.start, one.span.end] for xorb, one in chunks]


def _chunks(items: list[Any]) -> list[tuple[XetHash, ChunkRange]]:
    chunks = []
    for xorb, first, end, start, stop in items:
        _size(first), _size(start)
        if not first < _size(end) <= MAX_XORB_CHUNKS or not start < _size(stop) <= 2 * MAX_XORB_BYTES:
            raise ValueError("not a range of a xorb")
        chunks.append((parse_hash(xorb), ChunkRange(first, end, ByteSpan(start, stop))))
    return chunks


def _by_xorb(chunks: Iterable[tuple[XetHash, ChunkRange]]) -> dict[XetHash, list[ChunkRange]]:
    by_xorb: dict[XetHash, list[ChunkRange]] = {}
    for xorb, one in chunks:
        by_xorb.setdefault(xorb, []).append(one)
    return by_xorb


def _sizes(items: list[Any]) -> dict[Etag, int]:
    return {parse_etag(etag): _size(size_bytes) for etag, size_bytes in items}


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_FILE_BYTES:
        raise ValueError("not a size")
    return value


def _truth(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError("not a truth value")
    return value
