"""What git knows of hosted repositories: commits, trees and tags as bytes, what blobs mean, where refs point.

`land` is the one way in: everything that a push or a commit brings, and its refs by compare-and-swap, in one
transaction. Whoever reads sees all of it or nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

from sqlalchemy import Table, bindparam, delete, func, select, update

from moongate.core.digests import Etag
from moongate.core.errors import Conflict, RefMoved, RepoAbsent
from moongate.core.names import CommitHash, RepoId
from moongate.store.index.database import Database, Prepared, Row, Transaction, by
from moongate.store.index.discussions import DiscussionRow, discussion_values, new_discussion
from moongate.store.index.hosted_places import HostedRepoRows, HostedRow
from moongate.store.schema import (
    git_objects,
    hosted_blobs,
    hosted_refs,
    hosted_repos,
    leases,
    orphans,
    refs,
    repo_key,
    upload_leases,
)
from moongate.wire.git_refs import in_the_way

ObjectKind = Literal["commit", "tree", "tag"]

_PACK_ABOVE_BYTES = 512
_PACK_LEVEL = 1
_ASKED_TOGETHER = 200


@dataclass(frozen=True, slots=True)
class GitObjectRow:
    """A commit, tree or annotated tag, as git hashes it."""

    oid: str
    kind: ObjectKind
    body: bytes


@dataclass(frozen=True, slots=True)
class HostedBlob:
    """What a git blob of a repository means: its own bytes, or for a pointer the LFS file of `etag`.

    size_bytes: of the content. xet_hash: the content's Xet id, when it came in chunks.
    """

    oid: str
    etag: Etag
    size_bytes: int
    xet_hash: str | None = None

    @property
    def is_lfs(self) -> bool:
        return self.oid != self.etag


@dataclass(frozen=True, slots=True)
class HostedRef:
    """A ref by its full name. `target` is what git says of it: a commit, or an annotated tag on it."""

    name: str
    target: str
    commit_hash: CommitHash
    moved_at: float = 0.0


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """A ref's change: from `old` (None: it must not be there) to `target` (None: it goes).

    commit_hash: where the target leads; the target itself, unless that is an annotated tag.
    """

    name: str
    old: str | None
    target: str | None
    commit_hash: CommitHash | None = None


@dataclass(frozen=True, slots=True)
class Landing:
    """What a commit or a push brings to a repository, all of it or nothing.

    discussion: one that begins with it. receipt: a lease to take with it, as name, owner and end. needs: the
    commits that it builds on and does not bring.
    """

    refs: Sequence[RefUpdate]
    objects: Iterable[GitObjectRow] = field(default=())
    blobs: Iterable[HostedBlob] = field(default=())
    discussion: DiscussionRow | None = None
    receipt: tuple[str, str, float] | None = None
    needs: Sequence[str] = field(default=())


class GitRows(HostedRepoRows):
    """Git's objects and refs, of the repositories that are hosted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        prepare = database.prepare
        objects, held = git_objects, hosted_blobs
        self._lock_repo = prepare(
            select(hosted_repos.c.repo).where(by(hosted_repos.c.repo_number)).with_for_update()
        )
        self._note_change = prepare(
            update(hosted_repos)
            .values(changed_at=bindparam("now_"))
            .where(hosted_repos.c.repo_number == bindparam("number_")),
            "number_",
            "now_",
        )
        self._object = prepare(
            select(objects.c.oid, objects.c.kind, objects.c.body, objects.c.packed).where(
                by(objects.c.repo_number, objects.c.oid)
            )
        )
        self._has_object = prepare(select(objects.c.kind).where(by(objects.c.repo_number, objects.c.oid)))
        self._oids = prepare(
            select(objects.c.oid).where(by(objects.c.repo_number), objects.c.noted_at < bindparam("before")),
            "repo_number",
            "before",
        )
        self._blob_oids = prepare(
            select(held.c.oid, held.c.etag).where(
                by(held.c.repo_number), held.c.noted_at < bindparam("before")
            ),
            "repo_number",
            "before",
        )
        self._drop_object = prepare(
            delete(objects).where(
                by(objects.c.repo_number, objects.c.oid), objects.c.noted_at < bindparam("before")
            ),
            "repo_number",
            "oid",
            "before",
        )
        self._drop_blob_row = prepare(
            delete(held).where(by(held.c.repo_number, held.c.oid), held.c.noted_at < bindparam("before")),
            "repo_number",
            "oid",
            "before",
        )
        self._drop_lease = prepare(
            delete(upload_leases).where(by(upload_leases.c.repo_number, upload_leases.c.etag))
        )
        self._orphan = database.upsert(orphans)
        self._objects = prepare(
            select(objects.c.oid, objects.c.kind, objects.c.body, objects.c.packed).where(
                by(objects.c.repo_number), objects.c.oid.in_(_several())
            ),
            "repo_number",
            *_NAMES,
        )
        self._objects_after = prepare(
            select(objects.c.oid, objects.c.kind, objects.c.body, objects.c.packed)
            .where(by(objects.c.repo_number), objects.c.oid > bindparam("after"))
            .order_by(objects.c.oid)
            .limit(bindparam("count")),
            "repo_number",
            "after",
            "count",
        )
        insert = database.insert(objects).values(
            {column: bindparam(f"{column.name}_") for column in objects.c}
        )
        self._put_object = prepare(
            insert.on_conflict_do_update(
                index_elements=["repo_number", "oid"], set_={"noted_at": insert.excluded.noted_at}
            )
        )
        columns = (held.c.oid, held.c.etag, held.c.size_bytes, held.c.xet_hash)
        self._blob_of = prepare(select(*columns).where(by(held.c.repo_number, held.c.oid)))
        self._blobs_of = prepare(
            select(*columns).where(by(held.c.repo_number), held.c.oid.in_(_several())), "repo_number", *_NAMES
        )
        self._blobs_with = prepare(
            select(*columns).where(by(held.c.repo_number, held.c.etag)).order_by(held.c.oid)
        )
        self._blobs_after = prepare(
            select(*columns)
            .where(by(held.c.repo_number), held.c.oid > bindparam("after"))
            .order_by(held.c.oid)
            .limit(bindparam("count")),
            "repo_number",
            "after",
            "count",
        )
        self._contents_after = prepare(
            select(held.c.etag, func.max(held.c.size_bytes))
            .where(held.c.etag > bindparam("after"))
            .group_by(held.c.etag)
            .order_by(held.c.etag)
            .limit(bindparam("count")),
            "after",
            "count",
        )
        self._holders = prepare(
            select(held.c.repo_number).where(by(held.c.etag)).distinct().order_by(held.c.repo_number)
        )
        put_blob = database.insert(held).values({column: bindparam(f"{column.name}_") for column in held.c})
        self._hold_blob = prepare(
            put_blob.on_conflict_do_update(
                index_elements=["repo_number", "oid"],
                set_={
                    "xet_hash": func.coalesce(put_blob.excluded.xet_hash, held.c.xet_hash),
                    "noted_at": put_blob.excluded.noted_at,
                },
            )
        )
        point = (hosted_refs.c.name, hosted_refs.c.target, hosted_refs.c.commit_hash, hosted_refs.c.moved_at)
        self._hosted_ref = prepare(select(*point).where(by(hosted_refs.c.repo_number, hosted_refs.c.name)))
        self._hosted_refs = prepare(
            select(*point).where(by(hosted_refs.c.repo_number)).order_by(hosted_refs.c.name)
        )
        self._put_hosted_ref = database.upsert(hosted_refs)
        self._drop_hosted_ref = prepare(
            delete(hosted_refs).where(by(hosted_refs.c.repo_number, hosted_refs.c.name))
        )
        self._copies = [_copy(database, table) for table in (objects, held)]
        self._begin_discussion = prepare(new_discussion(database))
        self._take_receipt = database.upsert(leases)
        self._mirror_ref = database.upsert(refs)
        self._drop_mirror = prepare(delete(refs).where(by(refs.c.repo, refs.c.revision)))

    # Objects

    def git_object(self, number: int, oid: str) -> GitObjectRow | None:
        """One object of a repository. A point read."""
        row = self._db.one(self._object, number, oid)
        return None if row is None else _object_row(row)

    def git_objects(self, number: int, oids: Iterable[str]) -> dict[str, GitObjectRow]:
        """Those of these objects that the repository has, by oid."""
        return {
            row[0]: _object_row(row)
            for some in _batches(oids)
            for row in self._db.all(self._objects, number, *some)
        }

    def git_objects_after(self, number: int, oid: str, limit: int) -> list[GitObjectRow]:
        """The next page of a repository's objects, by oid; begin with an empty one."""
        return [_object_row(row) for row in self._db.all(self._objects_after, number, oid, limit)]

    def hosted_blob(self, number: int, oid: str) -> HostedBlob | None:
        """What a git blob of a repository means. A point read."""
        row = self._db.one(self._blob_of, number, oid)
        return None if row is None else HostedBlob(*row)

    def hosted_blobs(self, number: int, oids: Iterable[str]) -> dict[str, HostedBlob]:
        """What those of these blobs mean that the repository has, by oid."""
        return {
            row[0]: HostedBlob(*row)
            for some in _batches(oids)
            for row in self._db.all(self._blobs_of, number, *some)
        }

    def hosted_blobs_with(self, number: int, etag: Etag) -> list[HostedBlob]:
        """The blobs of a repository that have this content."""
        return [HostedBlob(*row) for row in self._db.all(self._blobs_with, number, etag)]

    def hosted_blobs_after(self, number: int, oid: str, limit: int) -> list[HostedBlob]:
        """The next page of a repository's blobs, by oid; begin with an empty one."""
        return [HostedBlob(*row) for row in self._db.all(self._blobs_after, number, oid, limit)]

    def hosted_contents_after(self, etag: str, limit: int) -> list[tuple[Etag, int]]:
        """The next page of all hosted content with its size, by etag; begin with an empty one."""
        return [(row[0], int(row[1])) for row in self._db.all(self._contents_after, etag, limit)]

    def holders(self, etag: Etag) -> list[int]:
        """The numbers of the hosted repositories that have this content."""
        return [row[0] for row in self._db.all(self._holders, etag)]

    # Refs

    def hosted_ref(self, number: int, name: str) -> HostedRef | None:
        """Where a ref points, by its full name. A point read."""
        row = self._db.one(self._hosted_ref, number, name)
        return None if row is None else HostedRef(*row)

    def hosted_refs(self, number: int) -> list[HostedRef]:
        """Every ref of a repository, by name."""
        return [HostedRef(*row) for row in self._db.all(self._hosted_refs, number)]

    def land(self, number: int, landing: Landing, now: float) -> None:
        """Add objects and blobs, and move refs, all at once.

        Raises:
            RepoAbsent: the repository is gone.
            RefMoved: a ref does not point where the landing was made for; nothing happened.
            Conflict: a new ref lies below another one, the discussion's number is taken, or a commit that it
                needs is gone; nothing happened.
        """
        with self._db.transaction() as transaction:
            self._land(transaction, number, landing, now)

    def keep_only_objects(
        self, number: int, roots: Collection[str], reached: Collection[str], before: float
    ) -> tuple[int, int] | None:
        """Forget a repository's objects and blobs that are not among `reached` and landed before a time.

        How many of each; None, and nothing happened, when its refs point elsewhere than at `roots` by now.
        """
        old_objects = [row[0] for row in self._db.all(self._oids, number, before) if row[0] not in reached]
        old_blobs = [row for row in self._db.all(self._blob_oids, number, before) if row[0] not in reached]
        with self._db.transaction() as transaction:
            if transaction.one(self._lock_repo, number) is None:
                return None
            if {ref.target for ref in self.hosted_refs(number)} != set(roots):
                return None
            transaction.run_many(self._drop_object, ((number, oid, before) for oid in old_objects))
            transaction.run_many(self._orphan, ((etag,) for _, etag in old_blobs))
            transaction.run_many(self._drop_blob_row, ((number, oid, before) for oid, _ in old_blobs))
        return len(old_objects), len(old_blobs)

    def begin_hosted(
        self,
        repo: RepoId,
        private: bool,
        creator: str,
        settings: Mapping[str, object],
        landing: Landing,
        now: float,
    ) -> HostedRow | None:
        """Make a repository with what lands in it first, all at once; None: it is there already."""
        with self._db.transaction() as transaction:
            row = self._add(transaction, repo, private, creator, settings, now)
            if row is not None:
                self._land(transaction, row.number, landing, now)
        return row

    def copy_hosted(
        self,
        source: HostedRow,
        repo: RepoId,
        private: bool,
        creator: str,
        settings: Mapping[str, object],
        now: float,
    ) -> HostedRow | None:
        """Make a repository with all commits, branches and tags of another one; None: it is there already."""
        with self._db.transaction() as transaction:
            row = self._add(transaction, repo, private, creator, settings, now)
            if row is not None:
                for statement in self._copies:
                    transaction.run(statement, row.number, source.number)
                for ref in self.hosted_refs(source.number):
                    if not ref.name.startswith("refs/pr/"):
                        change = RefUpdate(ref.name, None, ref.target, ref.commit_hash)
                        self._move(transaction, row.number, repo_key(repo), change, now)
        return row

    def _land(self, transaction: Transaction, number: int, landing: Landing, now: float) -> None:
        row = transaction.one(self._lock_repo, number)
        if row is None:
            raise RepoAbsent("Repository not found")
        for change in landing.refs:
            self._check(transaction, number, change)
        self._refuse_nested(number, [one.name for one in landing.refs if one.old is None and one.target])
        blobs = list(landing.blobs)
        transaction.run_many(self._put_object, (_packed(number, one, now) for one in landing.objects))
        transaction.run_many(
            self._hold_blob,
            ((number, one.oid, one.etag, one.size_bytes, one.xet_hash, now) for one in blobs),
        )
        # Leases of what landed have done their work.
        transaction.run_many(self._drop_lease, ((number, one.etag) for one in blobs))
        if landing.discussion is not None and not transaction.run(
            self._begin_discussion, *discussion_values(number, landing.discussion)
        ):
            raise Conflict(f"the number {landing.discussion.number} was taken meanwhile")
        if landing.receipt is not None:
            transaction.run(self._take_receipt, *landing.receipt)
        targets = [change.commit_hash or change.target for change in landing.refs if change.target]
        for oid in (*landing.needs, *targets):
            if transaction.one(self._has_object, number, oid) is None:
                raise Conflict(f"the commit {oid} is not there (any more)")
        for change in landing.refs:
            self._move(transaction, number, row[0], change, now)
        transaction.run(self._note_change, number, now)

    def _refuse_nested(self, number: int, new: Sequence[str]) -> None:
        """git keeps refs as files did: `a` and `a/b` cannot both be."""
        names = {*new, *(ref.name for ref in self.hosted_refs(number))} if new else set()
        for name in new:
            other = in_the_way(name, names)
            if other is not None:
                raise Conflict(f"{name} cannot be beside {other}: git could not clone both")

    def _check(self, transaction: Transaction, number: int, change: RefUpdate) -> None:
        row = transaction.one(self._hosted_ref, number, change.name)
        found = None if row is None else row[1]
        if found != change.old:
            raise RefMoved(f"{change.name} was changed by somebody else meanwhile", change.name, found)

    def _move(self, transaction: Transaction, number: int, repo: str, change: RefUpdate, now: float) -> None:
        short = change.name.removeprefix("refs/heads/")
        if change.target is None:
            transaction.run(self._drop_hosted_ref, number, change.name)
            transaction.run(self._drop_mirror, repo, short)
            return
        commit_hash = change.commit_hash or change.target
        transaction.run(self._put_hosted_ref, number, change.name, change.target, commit_hash, now)
        transaction.run(self._mirror_ref, repo, short, commit_hash, now)


def _copy(database: Database, table: Table) -> Prepared:
    """Give a repository the rows of another one."""
    number = bindparam("to_number", type_=table.c.repo_number.type)
    others = [column for column in table.c if column.name != "repo_number"]
    rows = select(number, *others).where(table.c.repo_number == bindparam("from_number"))
    insert = database.insert(table).from_select(["repo_number", *(column.name for column in others)], rows)
    return database.prepare(insert.on_conflict_do_nothing(), "to_number", "from_number")


_NAMES: Final = tuple(f"oid_{place}" for place in range(_ASKED_TOGETHER))


def _several() -> list[object]:
    return [bindparam(name) for name in _NAMES]


def _batches(oids: Iterable[str]) -> Iterator[list[str]]:
    """The oids in lists of one length, so that one statement serves all; the last is filled up."""
    remaining = iter(oids)
    while some := list(islice(remaining, _ASKED_TOGETHER)):
        yield some + some[-1:] * (_ASKED_TOGETHER - len(some))


def _packed(number: int, one: GitObjectRow, now: float) -> tuple[object, ...]:
    packed = zlib.compress(one.body, _PACK_LEVEL) if len(one.body) > _PACK_ABOVE_BYTES else one.body
    smaller = len(packed) < len(one.body)
    return number, one.oid, one.kind, packed if smaller else one.body, int(smaller), now


def _object_row(row: Row) -> GitObjectRow:
    oid, kind, body, packed = row
    return GitObjectRow(oid, kind, zlib.decompress(body) if packed else bytes(body))
