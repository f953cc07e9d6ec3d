"""What a repository is and where its revisions point: refs, facts, renames."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select, union

from moongate.core.names import CommitHash, RepoId, RepoType, Revision
from moongate.core.records import RepoFacts
from moongate.store.index.database import Database, by
from moongate.store.schema import commits, facts, refs, renames, repo_key, repo_of


@dataclass(frozen=True, slots=True)
class RefRow:
    """Where a revision pointed when upstream was last asked."""

    commit_hash: CommitHash
    checked_at: float


class RefRows:
    """Refs, facts and renames."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._get_ref = prepare(
            select(refs.c.commit_hash, refs.c.checked_at).where(by(refs.c.repo, refs.c.revision))
        )
        self._put_ref = database.upsert(refs)
        self._drop_refs = prepare(delete(refs).where(by(refs.c.repo)))
        self._refs_of = prepare(
            select(refs.c.revision, refs.c.commit_hash, refs.c.checked_at).where(by(refs.c.repo))
        )
        self._get_facts = prepare(
            select(facts.c.private, facts.c.gated, facts.c.checked_at).where(by(facts.c.repo))
        )
        self._put_facts = database.upsert(facts)
        self._repos = prepare(union(select(facts.c.repo), select(refs.c.repo), select(commits.c.repo)))
        self._put_rename = database.upsert(renames)
        self._get_rename = prepare(select(renames.c.new_repo).where(by(renames.c.old_repo)))

    def get_ref(self, repo: RepoId, revision: Revision) -> RefRow | None:
        """Where the revision pointed when last asked. A point read: fit for an event loop."""
        row = self._db.one(self._get_ref, repo_key(repo), revision)
        return None if row is None else RefRow(row[0], row[1])

    def put_ref(self, repo: RepoId, revision: Revision, commit_hash: CommitHash, now: float) -> None:
        """Remember where it points now."""
        self._db.run(self._put_ref, repo_key(repo), revision, commit_hash, now)

    def drop_refs(self, repo: RepoId) -> None:
        """Forget where its revisions point; commits and files stay."""
        self._db.run(self._drop_refs, repo_key(repo))

    def refs_of(self, repo: RepoId) -> dict[Revision, RefRow]:
        """Every revision of it that was asked for here."""
        rows = self._db.all(self._refs_of, repo_key(repo))
        return {Revision(row[0]): RefRow(row[1], row[2]) for row in sorted(rows)}

    def get_facts(self, repo: RepoId) -> RepoFacts | None:
        """What upstream said of it when last asked. A point read."""
        row = self._db.one(self._get_facts, repo_key(repo))
        return None if row is None else RepoFacts(repo, _truth(row[0]), _truth(row[1]), row[2])

    def put_facts(self, known: RepoFacts) -> None:
        """Remember what upstream said of a repository, in place of what it said before."""
        self._db.run(
            self._put_facts, repo_key(known.repo), _bit(known.private), _bit(known.gated), known.checked_at
        )

    def repos(self) -> list[RepoId]:
        """Every repository of which anything is known here, in order."""
        return sorted(repo_of(row[0]) for row in self._db.all(self._repos))

    def put_rename(self, repo_type: RepoType, old_id: str, new_id: str, now: float) -> None:
        """Remember that upstream answers under another name."""
        old, new = RepoId(repo_type, old_id), RepoId(repo_type, new_id)
        self._db.run(self._put_rename, repo_key(old), repo_key(new), now)

    def get_rename(self, repo_type: RepoType, old_id: str) -> str | None:
        """The id that upstream uses instead of `old_id`; None when it is not known to have moved."""
        row = self._db.one(self._get_rename, repo_key(RepoId(repo_type, old_id)))
        return None if row is None else repo_of(row[0]).repo_id


def _truth(bit: int | None) -> bool | None:
    return None if bit is None else bool(bit)


def _bit(truth: bool | None) -> int | None:
    return None if truth is None else int(truth)
