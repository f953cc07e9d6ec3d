"""Fills that failed, for those who ask why."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, select

from moongate.core.digests import Etag
from moongate.core.names import RepoId, RepoPath
from moongate.store.index.database import Database
from moongate.store.schema import failures, repo_key, repo_of, tainted

_KEPT = 1000
_TAINTED_SECONDS = 7 * 24 * 3600.0
"""How long somebody may come back for the rest of a file of which they have wrong bytes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A fill that ended without its file. `why` is fit for a user."""

    etag: Etag
    repo: RepoId
    path: RepoPath
    why: str
    failed_at: float


class FillRows:
    """The last thousand failures, and whose wrong bytes may still lie with somebody."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        names = ("etag", "repo", "path", "why", "failed_at")
        self._record = prepare(
            database.insert(failures).values({name: bindparam(f"{name}_") for name in names})
        )
        newest = select(func.max(failures.c.failure_number)).scalar_subquery()
        self._trim = prepare(delete(failures).where(failures.c.failure_number <= newest - _KEPT))
        self._failures = prepare(
            select(*(failures.c[name] for name in names))
            .order_by(failures.c.failure_number.desc())
            .limit(bindparam("count"))
        )
        self._taint = database.upsert(tainted)
        self._heal = prepare(delete(tainted).where(tainted.c.tainted_at <= bindparam("until")))
        self._tainted_at = prepare(select(tainted.c.tainted_at).where(tainted.c.etag == bindparam("etag_")))

    def record_failure(self, etag: Etag, repo: RepoId, path: RepoPath, why: str, now: float) -> None:
        """Remember why a fill failed; the oldest failures are forgotten."""
        with self._db.transaction() as transaction:
            transaction.run(self._record, etag, repo_key(repo), path, _plain(why), now)
            transaction.run(self._trim)

    def failures(self, limit: int = 100) -> list[Failure]:
        """The last failures, newest first."""
        rows = self._db.all(self._failures, limit)
        return [Failure(row[0], repo_of(row[1]), *row[2:]) for row in rows]

    def taint(self, etag: Etag, now: float) -> None:
        """Wrong bytes were sent as this content, until their hash told; see `is_tainted`."""
        with self._db.transaction() as transaction:
            transaction.run(self._heal, now - _TAINTED_SECONDS)
            transaction.run(self._taint, etag, now)

    def is_tainted(self, etag: Etag, now: float) -> bool:
        """Whether the beginning of this content that somebody has may be wrong. A point read."""
        row = self._db.one(self._tainted_at, etag)
        return row is not None and row[0] > now - _TAINTED_SECONDS


def _plain(why: str) -> str:
    """Text that every database takes: it may quote what upstream said."""
    return why.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:2000]
