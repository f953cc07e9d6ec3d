"""Listings: which content stands at which path of which commit.

A listing grows file by file (a question about one file tells of one) until it is known to be complete; then
a path that is not in it does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from sqlalchemy import bindparam, case, delete, func, select, update

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.store.index.database import Database, Prepared, Transaction, by
from moongate.store.schema import commits, files, repo_key, repo_of

_BATCH = 5000
_WHERE_LIMIT = 1000


class FileRows:
    """Commits and their files."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        listed = commits.join(files, files.c.commit_number == commits.c.commit_number)
        of_commit = by(commits.c.repo, commits.c.commit_hash)
        self._get_file = prepare(
            select(files.c.etag, files.c.size_bytes, files.c.xet_hash)
            .select_from(listed)
            .where(of_commit, by(files.c.path)),
            "repo",
            "commit_hash",
            "path",
        )
        self._files_of = prepare(
            select(files.c.path, files.c.etag, files.c.size_bytes, files.c.xet_hash)
            .select_from(listed)
            .where(of_commit),
            "repo",
            "commit_hash",
        )
        self._xet_files_in = prepare(
            select(files.c.path, files.c.etag, files.c.size_bytes, files.c.xet_hash)
            .select_from(listed)
            .where(of_commit, files.c.xet_hash.is_not(None)),
            "repo",
            "commit_hash",
        )
        self._commit = prepare(
            select(commits.c.commit_number, commits.c.complete).where(of_commit), "repo", "commit_hash"
        )
        self._add_commit = prepare(
            database.insert(commits)
            .values(repo=bindparam("repo_"), commit_hash=bindparam("commit_hash_"), complete=0)
            .on_conflict_do_nothing(),
            "repo_",
            "commit_hash_",
        )
        self._put_file = _put_file(database)
        self._drop_file = prepare(delete(files).where(by(files.c.commit_number, files.c.path)))
        numbers = select(commits.c.commit_number).where(of_commit)
        self._drops_of_listing = [
            prepare(delete(files).where(files.c.commit_number.in_(numbers)), "repo", "commit_hash"),
            prepare(delete(commits).where(of_commit), "repo", "commit_hash"),
        ]
        other = files.alias("other")
        copied = select(
            bindparam("to_number", type_=files.c.commit_number.type),
            other.c.path,
            other.c.etag,
            other.c.size_bytes,
            other.c.xet_hash,
        ).where(other.c.commit_number == bindparam("from_number"))
        self._copy_files = prepare(
            database.insert(files)
            .from_select([column.name for column in files.c], copied)
            .on_conflict_do_nothing(),
            "to_number",
            "from_number",
        )
        self._complete = prepare(update(commits).values(complete=1).where(by(commits.c.commit_number)))
        self._commits_of = prepare(
            select(commits.c.commit_hash).where(by(commits.c.repo)).order_by(commits.c.commit_number)
        )
        self._where_is = prepare(
            select(
                commits.c.repo,
                commits.c.commit_hash,
                files.c.path,
                files.c.etag,
                files.c.size_bytes,
                files.c.xet_hash,
            )
            .select_from(listed)
            .where(by(files.c.etag))
            .limit(_WHERE_LIMIT)
        )

    def get_file(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath) -> FileEntry | None:
        """One file of one commit; None when it is not known here. A point read: fit for an event loop."""
        row = self._db.one(self._get_file, repo_key(repo), commit_hash, path)
        return None if row is None else FileEntry(path, *row)

    def put_files(
        self, repo: RepoId, commit_hash: CommitHash, entries: Iterable[FileEntry], complete: bool = False
    ) -> None:
        """Add files to a commit's listing; `complete` says that with them it has every file.

        A Xet id that is known of a file stays when it is told again, as the same content, without one.

        Long listings are written in several transactions, so that other writers get their turn; the listing
        counts as complete only after the last.
        """
        first: int | None = None
        remaining = iter(entries)
        while True:
            batch = sorted(islice(remaining, _BATCH), key=_path_of)  # one order: writers cannot deadlock
            with self._db.transaction() as transaction:
                number = self._commit_number(transaction, repo_key(repo), commit_hash)
                first = number if first is None else first
                transaction.run_many(
                    self._put_file,
                    ((number, one.path, one.etag, one.size_bytes, one.xet_hash) for one in batch),
                )
                ends = len(batch) < _BATCH
                if ends and complete and number == first:  # a removal in between starts the listing anew
                    transaction.run(self._complete, number)
            if ends:
                return

    def put_changed_files(
        self,
        repo: RepoId,
        commit_hash: CommitHash,
        like: CommitHash,
        gone: Iterable[RepoPath],
        entries: Iterable[FileEntry],
    ) -> bool:
        """Write a commit's whole listing as another one's with changes; False when that one is not whole.

        In one transaction; costs little more than the changes, however long the listing.
        """
        with self._db.transaction() as transaction:
            known = transaction.one(self._commit, repo_key(repo), like)
            if known is None or not known[1]:
                return False
            number = self._commit_number(transaction, repo_key(repo), commit_hash)
            transaction.run(self._copy_files, number, known[0])
            transaction.run_many(self._drop_file, ((number, path) for path in gone))
            rows = ((number, one.path, one.etag, one.size_bytes, one.xet_hash) for one in entries)
            transaction.run_many(self._put_file, rows)
            transaction.run(self._complete, number)
        return True

    def drop_listing(self, repo: RepoId, commit_hash: CommitHash) -> None:
        """Forget which files a commit has; whoever wrote it can write it again."""
        with self._db.transaction() as transaction:
            for statement in self._drops_of_listing:
                transaction.run(statement, repo_key(repo), commit_hash)

    def _commit_number(self, transaction: Transaction, repo: str, commit_hash: CommitHash) -> int:
        row = transaction.one(self._commit, repo, commit_hash)
        while row is None:
            transaction.run(self._add_commit, repo, commit_hash)
            row = transaction.one(self._commit, repo, commit_hash)
        return int(row[0])

    def listing_complete(self, repo: RepoId, commit_hash: CommitHash) -> bool:
        """Whether every file of this commit is known here. A point read."""
        row = self._db.one(self._commit, repo_key(repo), commit_hash)
        return row is not None and bool(row[1])

    def files_of(self, repo: RepoId, commit_hash: CommitHash) -> list[FileEntry]:
        """Every known file of one commit, by path."""
        rows = self._db.all(self._files_of, repo_key(repo), commit_hash)
        return sorted((FileEntry(*row) for row in rows), key=_path_of)

    def xet_files_in(self, repo: RepoId, commit_hash: CommitHash) -> list[FileEntry]:
        """Every file of one commit whose Xet id is known, in no order."""
        return [FileEntry(*row) for row in self._db.all(self._xet_files_in, repo_key(repo), commit_hash)]

    def commits_of(self, repo: RepoId) -> list[CommitHash]:
        """Its commits that were met here, the first one first."""
        return [row[0] for row in self._db.all(self._commits_of, repo_key(repo))]

    def where_is(self, etag: Etag) -> list[FileAt]:
        """Where this content stands; at most 1000 places."""
        return [
            FileAt(repo_of(repo), commit_hash, FileEntry(*entry))
            for repo, commit_hash, *entry in self._db.all(self._where_is, etag)
        ]


def _put_file(database: Database) -> Prepared:
    insert = database.insert(files).values({column: bindparam(f"{column.name}_") for column in files.c})
    new = insert.excluded
    known = case((files.c.etag == new.etag, files.c.xet_hash))
    return database.prepare(
        insert.on_conflict_do_update(
            index_elements=["commit_number", "path"],
            set_={
                "etag": new.etag,
                "size_bytes": new.size_bytes,
                "xet_hash": func.coalesce(new.xet_hash, known),
            },
        )
    )


def _path_of(entry: FileEntry) -> RepoPath:
    return entry.path
