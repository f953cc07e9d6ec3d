"""What was recalled: content by its digest, a repository, or one commit of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, update

from moongate.core.names import CommitHash, RepoId
from moongate.store.index.database import Database, Row, by
from moongate.store.schema import recalls, repo_key, repo_of


@dataclass(frozen=True, slots=True)
class RecallRow:
    """One recall: of a `digest` wherever it is, or of a `repo`, all of it or one commit.

    digest: an etag (sha256 or git oid) or a Xet file id. undone_at: None while it holds.
    """

    id: str
    digest: str | None
    repo: RepoId | None
    commit_hash: CommitHash | None
    reason: str
    made_by: str
    made_at: float
    undone_by: str | None = None
    undone_at: float | None = None


class RecallRows:
    """Recalls, those undone too: they are never deleted."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_recall = database.upsert(recalls)
        self._recall = prepare(select(recalls).where(by(recalls.c.recall_id)))
        self._recalls = prepare(select(recalls))
        self._standing = prepare(select(recalls).where(recalls.c.undone_at.is_(None)))
        self._undo = prepare(
            update(recalls)
            .values(undone_by=bindparam("who_"), undone_at=bindparam("now_"))
            .where(recalls.c.recall_id == bindparam("id_"), recalls.c.undone_at.is_(None)),
            "who_",
            "now_",
            "id_",
        )

    def put_recall(self, recall: RecallRow) -> None:
        """Keep a new recall. Every process sees it when it looks next."""
        with self._db.durable_transaction() as transaction:
            transaction.run(
                self._put_recall,
                recall.id,
                recall.digest,
                None if recall.repo is None else repo_key(recall.repo),
                recall.commit_hash,
                recall.reason,
                recall.made_by,
                recall.made_at,
                recall.undone_by,
                recall.undone_at,
            )

    def get_recall(self, recall_id: str) -> RecallRow | None:
        """One recall, undone or not. A point read."""
        row = self._db.one(self._recall, recall_id)
        return None if row is None else _recall_of(row)

    def recalls(self) -> list[RecallRow]:
        """Every recall that was ever made, the oldest first."""
        return _in_order(self._db.all(self._recalls))

    def standing_recalls(self) -> list[RecallRow]:
        """Those that hold, the oldest first. There are few, and each process asks several times a second."""
        return _in_order(self._db.all(self._standing))

    def undo_recall(self, recall_id: str, who: str, now: float) -> bool:
        """Let it hold no more; whether it did."""
        with self._db.durable_transaction() as transaction:
            return transaction.run(self._undo, who, now, recall_id) > 0


def _in_order(rows: list[Row]) -> list[RecallRow]:
    return sorted((_recall_of(row) for row in rows), key=lambda recall: (recall.made_at, recall.id))


def _recall_of(row: Row) -> RecallRow:
    recall_id, digest, repo, *others = row
    return RecallRow(recall_id, digest, None if repo is None else repo_of(repo), *others)
