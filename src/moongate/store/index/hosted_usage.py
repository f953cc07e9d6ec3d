"""What hosted repositories take up, each content counted once, and what retention rules let go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import bindparam, delete, func, select, update

from moongate.core.digests import Etag
from moongate.store.index.database import Database, by
from moongate.store.index.hosted_git import HostedBlob
from moongate.store.schema import hosted_blobs, hosted_repos, orphans, released_blobs

_ASKED_TOGETHER: Final = 100

Item = TypeVar("Item")


class HostedUsageRows:
    """Bytes and repositories of namespaces."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        held, repos, released = hosted_blobs, hosted_repos, released_blobs
        of_namespace = (
            select(held.c.etag, held.c.size_bytes)
            .join(repos, repos.c.repo_number == held.c.repo_number)
            .where(by(repos.c.namespace))
            .distinct()
        )
        contents = of_namespace.subquery()
        self._namespace_bytes = prepare(select(func.sum(contents.c.size_bytes)))
        own = select(held.c.etag, held.c.size_bytes).where(by(held.c.repo_number)).distinct().subquery()
        self._hosted_sum = prepare(select(func.sum(own.c.size_bytes)))
        self._hosted_count = prepare(select(func.count()).select_from(repos).where(by(repos.c.namespace)))
        self._known_etags = prepare(
            select(held.c.etag)
            .join(repos, repos.c.repo_number == held.c.repo_number)
            .where(by(repos.c.namespace), held.c.etag.in_(_several()))
            .distinct(),
            "namespace",
            *_NAMES,
        )
        self._known_sizes = prepare(
            select(held.c.size_bytes)
            .join(repos, repos.c.repo_number == held.c.repo_number)
            .where(by(repos.c.namespace), held.c.size_bytes.in_(_several()))
            .distinct(),
            "namespace",
            *_NAMES,
        )
        self._put_released = database.upsert(released)
        self._drop_held = prepare(
            delete(held).where(
                by(held.c.repo_number, held.c.oid), held.c.noted_at < bindparam("noted_before")
            )
        )
        self._note_release = prepare(
            update(repos)
            .values(changed_at=bindparam("now_"))
            .where(repos.c.repo_number == bindparam("number_")),
            "number_",
            "now_",
        )
        self._orphan_released = database.upsert(orphans)
        self._released_blob = prepare(
            select(released.c.oid, released.c.etag, released.c.size_bytes).where(
                by(released.c.repo_number, released.c.oid)
            )
        )

    def namespace_bytes(self, namespace: str) -> int:
        """What the repositories of a namespace take up in all their revisions, each content once."""
        row = self._db.one(self._namespace_bytes, namespace.lower())
        return int(row[0] or 0) if row is not None else 0

    def hosted_bytes(self, number: int) -> int:
        """What a repository takes up in all its revisions, each content once."""
        row = self._db.one(self._hosted_sum, number)
        return int(row[0] or 0) if row is not None else 0

    def repo_count(self, namespace: str) -> int:
        """How many repositories a namespace has."""
        row = self._db.one(self._hosted_count, namespace.lower())
        return int(row[0]) if row is not None else 0

    def contents_in(self, namespace: str, etags: Collection[Etag]) -> set[Etag]:
        """Those of these contents that a namespace has already."""
        return {
            row[0]
            for some in _batches(etags)
            for row in self._db.all(self._known_etags, namespace.lower(), *some)
        }

    def sizes_in(self, namespace: str, sizes: Collection[int]) -> set[int]:
        """Those of these lengths that some content of a namespace has."""
        return {
            int(row[0])
            for some in _batches(sizes)
            for row in self._db.all(self._known_sizes, namespace.lower(), *some)
        }

    def release_blobs(
        self, number: int, blobs: Sequence[HostedBlob], noted_before: float, now: float
    ) -> list[HostedBlob]:
        """Let go of large files: their pointers keep their meaning, their content is left to collection.

        What a commit named again since `noted_before` stays. Returns those that were let go.
        """
        gone = []
        with self._db.transaction() as transaction:
            for blob in blobs:
                if transaction.run(self._drop_held, number, blob.oid, noted_before):
                    transaction.run(self._put_released, number, blob.oid, blob.etag, blob.size_bytes, now)
                    transaction.run(self._orphan_released, blob.etag)
                    gone.append(blob)
            if gone:
                transaction.run(self._note_release, number, now)
        return gone

    def released_blob(self, number: int, oid: str) -> HostedBlob | None:
        """What a pointer means whose content was let go."""
        row = self._db.one(self._released_blob, number, oid)
        return None if row is None else HostedBlob(*row)


_NAMES: Final = tuple(f"one_{place}" for place in range(_ASKED_TOGETHER))


def _several() -> list[object]:
    return [bindparam(name) for name in _NAMES]


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in lists of one length, so that one statement serves all; the last is filled up."""
    remaining = iter(items)
    while some := list(islice(remaining, _ASKED_TOGETHER)):
        yield some + some[-1:] * (_ASKED_TOGETHER - len(some))
