"""Which repository holds how much: counted from listings, blobs and the chunks that Xet files need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    case,
    func,
    select,
    tuple_,
    union_all,
)

from moongate.core.names import RepoId
from moongate.store.chunk_ranges import ChunkRange, difference, total_bytes, union, unpack
from moongate.store.index.blobs import total
from moongate.store.index.database import Database
from moongate.store.schema import blobs, commits, file_xorbs, files, reconstructions, repo_of

_PAGE = 5000


@dataclass(frozen=True, slots=True)
class RepoUsage:
    """What one repository holds of the store.

    files: paths, over all its commits, whose content is here (a path counts once for each content).
    logical_bytes: the sizes of those files, added up.
    stored_bytes: what its contents take on disk: blobs and xorbs' chunks, each once.
    own_bytes: the part of `stored_bytes` that no other repository's listing has.
    """

    repo: RepoId
    files: int
    logical_bytes: int
    stored_bytes: int
    own_bytes: int
    last_read_at: float

    @property
    def saved_bytes(self) -> int:
        """What keeping equal contents and equal chunks once saves; negative when hot files are kept twice."""
        return self.logical_bytes - self.stored_bytes


@dataclass(frozen=True, slots=True)
class _Chunks:
    """What chunks take: by repository, the part only it has, and all that some listing has."""

    stored: dict[str, int]
    own: dict[str, int]
    listed_bytes: int


class UsageRows:
    """Counting. Walks every listing: not for a hot path."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._usage_held = database.prepare(_held_statement())
        self._usage_blobs = database.prepare(_blobs_statement())
        self._usage_files = database.prepare(
            select(commits.c.repo, reconstructions.c.file_id)
            .select_from(
                reconstructions.join(files, files.c.etag == reconstructions.c.etag).join(
                    commits, commits.c.commit_number == files.c.commit_number
                )
            )
            .where(reconstructions.c.verified_at.is_not(None))
            .distinct()
        )
        self._usage_ranges = database.prepare(
            select(file_xorbs.c.xorb, file_xorbs.c.file_id, file_xorbs.c.ranges)
            .where(
                tuple_(file_xorbs.c.xorb, file_xorbs.c.file_id)
                > tuple_(bindparam("xorb", type_=file_xorbs.c.xorb.type), bindparam("file_id"))
            )
            .order_by(file_xorbs.c.xorb, file_xorbs.c.file_id)
            .limit(bindparam("count")),
            "xorb",
            "file_id",
            "count",
        )
        self._usage_xet_files = database.prepare(
            select(func.count()).where(reconstructions.c.verified_at.is_not(None))
        )

    def usage_by_repo(self) -> list[RepoUsage]:
        """What each repository holds, the largest first."""
        of_blobs = {row[0]: row[1:] for row in self._db.all(self._usage_blobs)}
        chunks = self._chunks()
        usage = []
        for repo, count, logical, read_at in self._db.all(self._usage_held):
            stored, own = of_blobs.get(repo, (0, 0))
            stored, own = stored + chunks.stored.get(repo, 0), own + chunks.own.get(repo, 0)
            usage.append(RepoUsage(repo_of(repo), count, logical, stored, own, read_at))
        return sorted(usage, key=lambda one: (-one.stored_bytes, one.repo))

    def listed_chunk_bytes(self) -> int:
        """What the chunks of verified files that some listing has take, each chunk once."""
        return self._chunks().listed_bytes

    def xet_file_count(self) -> int:
        """How many Xet files are verified."""
        row = self._db.one(self._usage_xet_files)
        return 0 if row is None else int(row[0])

    def _chunks(self) -> _Chunks:
        repos: dict[str, list[str]] = defaultdict(list)
        for repo, file_id in self._db.all(self._usage_files):
            repos[file_id].append(repo)
        stored: dict[str, int] = defaultdict(int)
        own: dict[str, int] = defaultdict(int)
        listed_bytes = 0
        for _, rows in groupby(self._needs_by_xorb(), key=lambda row: row[0]) if repos else ():
            needs: dict[str, list[ChunkRange]] = defaultdict(list)
            for _, file_id, ranges in rows:
                for repo in repos.get(file_id, ()):
                    needs[repo] += ranges
            for repo, ranges in needs.items():
                joined = union(ranges)
                others = [one for other, ones in needs.items() if other != repo for one in ones]
                stored[repo] += total_bytes(joined)
                own[repo] += total_bytes(difference(joined, others) if others else joined)
            listed_bytes += total_bytes(union(one for ones in needs.values() for one in ones))
        return _Chunks(stored, own, listed_bytes)

    def _needs_by_xorb(self) -> Iterator[tuple[bytes, str, list[ChunkRange]]]:
        xorb, file_id = b"", ""
        while page := self._db.all(self._usage_ranges, xorb, file_id, _PAGE):
            for row in page:
                xorb, file_id = bytes(row[0]), row[1]
                yield xorb, file_id, unpack(row[2])


def _held_statement() -> Select[Any]:
    """Per repository: files whose content is here, their bytes, the last read of any."""
    here = union_all(
        select(blobs.c.etag, blobs.c.size_bytes, blobs.c.read_at),
        select(reconstructions.c.etag, reconstructions.c.size_bytes, reconstructions.c.read_at).where(
            reconstructions.c.verified_at.is_not(None)
        ),
    ).subquery("here")
    content = (
        select(
            here.c.etag,
            func.max(here.c.size_bytes).label("size_bytes"),
            func.max(here.c.read_at).label("read_at"),
        )
        .group_by(here.c.etag)
        .cte("content")
    )
    held = (
        select(commits.c.repo, files.c.path, content.c.etag, content.c.size_bytes, content.c.read_at)
        .select_from(
            content.join(files, files.c.etag == content.c.etag).join(
                commits, commits.c.commit_number == files.c.commit_number
            )
        )
        .distinct()
        .cte("held")
    )
    return select(held.c.repo, func.count(), total(held.c.size_bytes), func.max(held.c.read_at)).group_by(
        held.c.repo
    )


def _blobs_statement() -> Select[Any]:
    """Per repository: bytes of its blobs, and of those that only it lists."""
    content = (
        select(commits.c.repo, blobs.c.etag, blobs.c.size_bytes)
        .select_from(
            blobs.join(files, files.c.etag == blobs.c.etag).join(
                commits, commits.c.commit_number == files.c.commit_number
            )
        )
        .distinct()
        .cte("content")
    )
    holders = select(content.c.etag, func.count().label("repos")).group_by(content.c.etag).cte("holders")
    only_one: ColumnElement[int] = case((holders.c.repos == 1, content.c.size_bytes), else_=0)
    return (
        select(content.c.repo, total(content.c.size_bytes), total(only_one))
        .select_from(content.join(holders, holders.c.etag == content.c.etag))
        .group_by(content.c.repo)
    )
