"""What goes when a repository is removed: which contents only it holds, and every row about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, exists, func, or_, select

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId
from moongate.store.index.blobs import hosted
from moongate.store.index.database import Database, by
from moongate.store.schema import access, answers, commits, facts, files, refs, renames, repo_key


@dataclass(frozen=True, slots=True)
class HeldContent:
    """A content of a repository or commit. `shared`: a listing or hosted repository has it, too."""

    etag: Etag
    size_bytes: int
    shared: bool


class RemovalRows:
    """Removing a repository, or one commit of it."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        of_repo = by(commits.c.repo)
        of_commit = by(commits.c.repo, commits.c.commit_hash)
        self._contents_of_repo = prepare(
            _contents(of_repo, _other.c.repo != bindparam("repo")), "repo", "after", "count"
        )
        self._contents_of_commit = prepare(
            _contents(
                of_commit,
                or_(_other.c.repo != bindparam("repo"), _other.c.commit_hash != bindparam("commit_hash")),
            ),
            "repo",
            "commit_hash",
            "after",
            "count",
        )
        self._drops_of_repo = [
            prepare(statement, "repo")
            for statement in (
                delete(files).where(
                    files.c.commit_number.in_(select(commits.c.commit_number).where(of_repo))
                ),
                delete(commits).where(of_repo),
                delete(refs).where(by(refs.c.repo)),
                delete(facts).where(by(facts.c.repo)),
                delete(answers).where(by(answers.c.repo)),
                delete(access).where(by(access.c.repo)),
                delete(renames).where(renames.c.old_repo == bindparam("repo")),
            )
        ]
        self._drops_of_commit = [
            prepare(statement, "repo", "commit_hash")
            for statement in (
                delete(files).where(
                    files.c.commit_number.in_(select(commits.c.commit_number).where(of_commit))
                ),
                delete(commits).where(of_commit),
                delete(refs).where(by(refs.c.repo, refs.c.commit_hash)),
                delete(answers).where(by(answers.c.repo), answers.c.key.contains(bindparam("commit_hash"))),
            )
        ]

    def contents_of(
        self, repo: RepoId, commit_hash: CommitHash | None, after: str, limit: int
    ) -> list[HeldContent]:
        """The next page of the contents that a repository, or one commit of it, lists; by etag."""
        if commit_hash is None:
            rows = self._db.all(self._contents_of_repo, repo_key(repo), after, limit)
        else:
            rows = self._db.all(self._contents_of_commit, repo_key(repo), commit_hash, after, limit)
        return [HeldContent(row[0], row[1], bool(row[2])) for row in rows]

    def drop_repo(self, repo: RepoId) -> None:
        """Forget everything about a repository but its pins and grants. Sealed content stays registered."""
        with self._db.transaction() as transaction:
            for statement in self._drops_of_repo:
                transaction.run(statement, repo_key(repo))

    def drop_commit(self, repo: RepoId, commit_hash: CommitHash) -> None:
        """Forget one commit: its files, the refs that point to it, the answers that name it."""
        with self._db.transaction() as transaction:
            for statement in self._drops_of_commit:
                transaction.run(statement, repo_key(repo), commit_hash)


_other = commits.alias("other")


def _contents(removed: ColumnElement[bool], stays: ColumnElement[bool]) -> Select[Any]:
    """A page of distinct contents in the removed commits, and whether a commit that stays has each."""
    contents = (
        select(files.c.etag, func.max(files.c.size_bytes).label("size_bytes"))
        .select_from(commits.join(files, files.c.commit_number == commits.c.commit_number))
        .where(removed, files.c.etag > bindparam("after"))
        .group_by(files.c.etag)
        .order_by(files.c.etag)
        .limit(bindparam("count"))
        .subquery("contents")
    )
    elsewhere = files.alias("elsewhere")
    listed = exists().where(
        elsewhere.c.etag == contents.c.etag, _other.c.commit_number == elsewhere.c.commit_number, stays
    )
    shared = or_(listed, hosted(contents.c.etag))
    return select(contents.c.etag, contents.c.size_bytes, case((shared, 1), else_=0)).order_by(
        contents.c.etag
    )
