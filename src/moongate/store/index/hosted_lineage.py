"""Where hosted models come from: for a commit, the exact commits of its base models that were here then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from moongate.core.names import CommitHash, RepoId
from moongate.store.index.database import Database, by
from moongate.store.schema import hosted_lineage, repo_key, repo_of


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model of a hosted commit. `commit_hash` is None when nothing of it was here."""

    repo: RepoId
    commit_hash: CommitHash | None
    relation: str


class LineageRows:
    """Base models by commit."""

    def __init__(self, database: Database) -> None:
        self._db = database
        table = hosted_lineage
        self._bases = database.prepare(
            select(table.c.base_repo, table.c.base_commit, table.c.relation)
            .where(by(table.c.repo_number, table.c.commit_hash))
            .order_by(table.c.base_repo)
        )
        self._note_base = database.prepare(
            database.insert(table)
            .values({column: bindparam(f"{column.name}_") for column in table.c})
            .on_conflict_do_nothing()
        )

    def base_models(self, number: int, commit_hash: CommitHash) -> list[BaseModel]:
        """What a commit of a hosted repository was made from, by name. A point read."""
        return [
            BaseModel(repo_of(key), commit, relation)
            for key, commit, relation in self._db.all(self._bases, number, commit_hash)
        ]

    def note_bases(
        self, number: int, commit_hash: CommitHash, bases: Sequence[BaseModel], now: float
    ) -> None:
        """Write down what a commit was made from. What was noted before of it stays."""
        with self._db.transaction() as transaction:
            transaction.run_many(
                self._note_base,
                (
                    (number, commit_hash, repo_key(base.repo), base.commit_hash, base.relation, now)
                    for base in bases
                ),
            )
