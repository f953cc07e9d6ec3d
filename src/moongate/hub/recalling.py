"""Making a recall: what is meant, who received it, and the row that stops it.

    named ─► Target ─► trace (who got those bytes, by the audit log) ─► recall ─► undo

Works on an index from any thread. Whoever calls it waits `recalls.SURE_SECONDS` before saying that it holds.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from moongate.core.digests import Etag, is_sha256
from moongate.core.errors import Absent, BadRequest, StoreError
from moongate.core.names import (
    DEFAULT_REVISION,
    CommitHash,
    RepoId,
    RepoPath,
    Revision,
    parse_repo,
    parse_revision,
)
from moongate.core.records import FileAt, FileEntry
from moongate.hub.audit import Actor, Audit, AuditEvent
from moongate.hub.audit_line import read_line, row_of
from moongate.store.index import AuditRow, AuditSearch, RecallRow, RefRow, XetFileRow

_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64}|[0-9a-fA-F]{40})")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_PAGE: Final = 2000
_LAST: Final = (1 << 63) - 1
_MOST_REASON_CHARS: Final = 500


class RecallIndex(Protocol):
    """What this needs of the index."""

    def put_recall(self, recall: RecallRow) -> None: ...
    def get_recall(self, recall_id: str) -> RecallRow | None: ...
    def undo_recall(self, recall_id: str, who: str, now: float) -> bool: ...
    def recalls(self) -> list[RecallRow]: ...
    def get_ref(self, repo: RepoId, revision: Revision) -> RefRow | None: ...
    def get_file(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath) -> FileEntry | None: ...
    def where_is(self, etag: Etag) -> list[FileAt]: ...
    def proven_etag(self, file_id: str) -> Etag | None: ...
    def etag_of(self, sha256: str) -> Etag | None: ...
    def xet_files_of(self, etag: Etag) -> list[XetFileRow]: ...
    def search_audit(self, wanted: AuditSearch, before: int, count: int) -> list[AuditRow]: ...
    def audit_bounds(self) -> tuple[int, int]: ...


Recall = RecallRow
"""A recall as it is kept."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is recalled: content by `digest`, or a place. `words`: as it was asked for."""

    words: str
    digest: str | None = None
    repo: RepoId | None = None
    commit_hash: CommitHash | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who got bytes of it: what of which place, how often, when."""

    user: str
    kind: str
    token: str
    address: str
    repo: str
    commit: str
    path: str
    digest: str
    bytes: int
    deliveries: int
    first_at: str
    last_at: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """Something that runs with it."""

    name: str
    where: str


class Deployments(Protocol):
    """What is deployed, once anything is."""

    def using(self, target: Target) -> Sequence[Deployed]: ...


class NoDeployments:
    """Nothing is deployed."""

    def using(self, target: Target) -> Sequence[Deployed]:
        return ()


@dataclass(frozen=True, slots=True)
class Trace:
    """Who received it. began_at: the first audit line that is here; older ones are in archives."""

    receivers: tuple[Receiver, ...]
    places: tuple[FileAt, ...]
    deployments: tuple[Deployed, ...]
    began_at: int


class Recalling:
    """The desk where recalls are made."""

    def __init__(
        self,
        index: RecallIndex,
        audit: Audit,
        now: Callable[[], float],
        deployments: Deployments | None = None,
    ) -> None:
        self._index = index
        self._audit = audit
        self._now = now
        self._deployments = deployments or NoDeployments()

    def target(self, words: str) -> Target:
        """What is meant by `DIGEST`, `REPO`, `REPO@REVISION`, or either with a `/PATH` behind it.

        A path means that file's content, wherever else it is.

        Raises:
            BadName: it is none of these.
            Absent: the revision or the file is not known here.
        """
        digest = _DIGEST.fullmatch(words)
        if digest is not None:
            return Target(words, digest=digest[1].lower())
        repo, revision, path = _parts(words)
        if path is None and revision is None:
            return Target(words, repo=repo)
        commit = self._commit(repo, revision or DEFAULT_REVISION)
        if path is None:
            return Target(words, repo=repo, commit_hash=commit)
        entry = self._index.get_file(repo, commit, path)
        if entry is None:
            raise Absent(f"{path} is no file of {repo}@{commit[:12]} that is known here")
        return Target(words, digest=entry.etag)

    def trace(self, target: Target, archives: Sequence[Path] = ()) -> Trace:
        """Who received it, by the lines that are here, and those in archives. Walks all deliveries of it.

        Small files go out in packs of git, too: whoever fetched a repository in which it stands is told of.

        Raises:
            StoreError: an archive cannot be read.
            BadRequest: it is none.
        """
        if target.digest is not None:
            known = self._index.proven_etag(target.digest) or self._index.etag_of(target.digest)
            etag = known or Etag(target.digest)
            names = {etag, Etag(target.digest)}
            searches = [AuditSearch(kind="file.deliver", digest=name) for name in sorted(names)]
            places = tuple(self._index.where_is(etag))
            if not is_sha256(etag):
                repos = {f"{file.repo.repo_type}s/{file.repo.repo_id}" for file in places}
                searches += [AuditSearch(kind="git.fetch", repo=repo) for repo in sorted(repos)]
        else:
            assert target.repo is not None  # noqa: S101 - it is one or the other
            key = f"{target.repo.repo_type}s/{target.repo.repo_id}"
            searches = [AuditSearch(kind=kind, repo=key) for kind in ("file.deliver", "git.fetch")]
            places = ()
        found: dict[tuple[str, ...], Receiver] = {}
        for search in searches:
            before = _LAST
            while page := self._index.search_audit(search, before, _PAGE):
                for row in page:
                    _add(found, read_line(row.line), target)
                before = page[-1].seq
        for row in archived(archives):
            if any(search.finds(row) for search in searches):
                _add(found, read_line(row.line), target)
        receivers = sorted(found.values(), key=lambda one: one.last_at, reverse=True)
        deployments = tuple(self._deployments.using(target))
        return Trace(tuple(receivers), places, deployments, self._index.audit_bounds()[0])

    def recall(self, target: Target, reason: str, actor: Actor) -> RecallRow:
        """Stops it from now on, and has that written down.

        Raises:
            StoreError: it could not be kept.
        """
        row = RecallRow(
            secrets.token_hex(6),
            target.digest,
            target.repo,
            target.commit_hash,
            reason[:_MOST_REASON_CHARS],
            actor.name,
            self._now(),
        )
        self._index.put_recall(row)
        self._audit.record(self._event("recall.create", row, actor, {"asked": target.words}))
        return row

    def undo(self, recall_id: str, actor: Actor) -> RecallRow:
        """Takes a recall back, and has that written down.

        Raises:
            Absent: there is no such recall that stands.
        """
        now = self._now()
        if not self._index.undo_recall(recall_id, actor.name, now):
            raise Absent(f"no recall {recall_id[:40]!r} stands; `moongate recall list` shows those that do")
        row = self.show(recall_id)
        self._audit.record(self._event("recall.undo", row, actor, {}))
        return row

    def show(self, recall_id: str) -> RecallRow:
        """One recall.

        Raises:
            Absent: there is none of this id.
        """
        row = self._index.get_recall(recall_id)
        if row is None:
            raise Absent(f"there is no recall {recall_id[:40]!r}")
        return row

    def recalls(self) -> list[RecallRow]:
        """All of them, the oldest first."""
        return self._index.recalls()

    def _commit(self, repo: RepoId, revision: Revision) -> CommitHash:
        if _COMMIT.fullmatch(revision):
            return CommitHash(revision)
        ref = self._index.get_ref(repo, revision)
        if ref is None:
            raise Absent(f"{repo} has no revision {revision} that is known here")
        return ref.commit_hash

    @staticmethod
    def _event(kind: str, row: RecallRow, actor: Actor, details: dict[str, object]) -> AuditEvent:
        return AuditEvent(
            kind,
            actor,
            row.repo,
            row.commit_hash or "",
            digest=row.digest or "",
            reason=row.reason,
            subject=row.id,
            details=details,
        )


def archived(files: Sequence[Path]) -> Iterator[AuditRow]:
    """The lines in archives, or in exports as JSON Lines.

    Raises:
        StoreError: one cannot be read.
        BadRequest: it holds something else.
    """
    for path in files:
        try:
            with path.open("rb") as lines:
                for line in lines:
                    yield row_of(line.rstrip(b"\n"))
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        except ValueError:
            raise BadRequest(f"{path} is no archive of an audit log") from None


def target_of(row: RecallRow) -> Target:
    """What a recall is of."""
    words = row.digest or f"{row.repo}{f'@{row.commit_hash}' if row.commit_hash else ''}"
    return Target(words, row.digest, row.repo, row.commit_hash)


def _parts(words: str) -> tuple[RepoId, Revision | None, RepoPath | None]:
    """A repository, and perhaps a revision and a path, as people write them."""
    name, at, rest = words.partition("@")
    if at:
        pieces = rest.split("/")
        count = 3 if pieces[0] == "refs" and len(pieces) >= 3 else 1
        revision, path = "/".join(pieces[:count]), "/".join(pieces[count:])
        if not revision:
            raise BadRequest("there is no revision behind the @")
        return parse_repo(name), parse_revision(revision), _path(path)
    pieces = name.split("/")
    count = 3 if pieces[0] in ("models", "datasets", "spaces") else 2
    return parse_repo("/".join(pieces[:count])), None, _path("/".join(pieces[count:]))


def _path(text: str) -> RepoPath | None:
    return RepoPath(text) if text else None


def _add(found: dict[tuple[str, ...], Receiver], line: dict[str, Any], target: Target) -> None:
    actor, details = line.get("actor", {}), line.get("details", {})
    commit = str(line.get("commit", ""))
    if target.commit_hash is not None and commit and commit != target.commit_hash:
        return
    words = [str(actor.get(name, "")) for name in ("name", "kind", "token", "address")]
    words += [str(line.get(name, "")) for name in ("repo", "commit", "path", "digest")]
    size_bytes, at = int(details.get("bytes", 0)), str(line["at"])
    known = found.get(tuple(words))
    if known is None:
        found[tuple(words)] = Receiver(*words, size_bytes, 1, at, at)  # type: ignore[call-arg, arg-type]
        return
    found[tuple(words)] = replace(
        known,
        bytes=known.bytes + size_bytes,
        deliveries=known.deliveries + 1,
        first_at=min(known.first_at, at),
        last_at=max(known.last_at, at),
    )
