"""Sealed content: how long, since when, last read, last verified. The files themselves are `Blobs`' business.

Pages go by a cursor, so that a walk over a large store holds neither a lock nor the whole list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from moongate.core.digests import Etag
from moongate.store.index.database import Database, Prepared, by
from moongate.store.schema import (
    blobs,
    commits,
    files,
    hosted_blobs,
    pins,
    reconstructions,
    refs,
    upload_leases,
)

Eviction = Literal["lru", "fifo", "largest"]
EVICTIONS: tuple[Eviction, ...] = ("lru", "fifo", "largest")


@dataclass(frozen=True, slots=True)
class BlobRow:
    """One sealed file. `verified_at` is when its bytes were last hashed: at sealing, or later."""

    etag: Etag
    size_bytes: int
    sealed_at: float
    read_at: float
    verified_at: float


_ORDERS: dict[Eviction, tuple[ColumnElement[float], Callable[[BlobRow], float]]] = {
    "lru": (blobs.c.read_at, lambda row: row.read_at),
    "fifo": (blobs.c.sealed_at, lambda row: row.sealed_at),
    "largest": (-blobs.c.size_bytes, lambda row: -row.size_bytes),
}
_BEFORE_ALL = float("-inf")


class BlobRows:
    """Sealed content and who holds it."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        put_blob = database.insert(blobs).values({column: bindparam(f"{column.name}_") for column in blobs.c})
        self._put_blob = prepare(
            put_blob.on_conflict_do_update(
                index_elements=["etag"],
                set_={
                    "size_bytes": put_blob.excluded.size_bytes,
                    "sealed_at": put_blob.excluded.sealed_at,
                    "verified_at": put_blob.excluded.verified_at,
                },
            )
        )
        self._touch_blob = self._later(database, "read_at")
        self._note_verified = self._later(database, "verified_at")
        self._drop_blob = prepare(delete(blobs).where(by(blobs.c.etag)))
        self._drop_row = prepare(delete(blobs).where(by(blobs.c.etag, blobs.c.sealed_at)))
        self._blob = prepare(select(blobs).where(by(blobs.c.etag)))
        self._total = prepare(select(func.count(), total(blobs.c.size_bytes)).select_from(blobs))
        self._candidates = {
            (policy, copies): prepare(
                select(blobs)
                .where(
                    tuple_(order, blobs.c.etag) > tuple_(bindparam("after"), bindparam("after_etag")),
                    *([_is_copy()] if copies else [~pinned(blobs.c.etag), ~_is_copy()]),
                )
                .order_by(order, blobs.c.etag)
                .limit(bindparam("count")),
                "after",
                "after_etag",
                "count",
            )
            for policy, (order, _) in _ORDERS.items()
            for copies in (False, True)
        }
        self._page = prepare(
            select(blobs)
            .where(blobs.c.etag > bindparam("after"), blobs.c.verified_at < bindparam("verified_before"))
            .order_by(blobs.c.etag)
            .limit(bindparam("count")),
            "after",
            "verified_before",
            "count",
        )
        self._is_pinned = prepare(
            select(literal_column("1")).where(pinned(bindparam("etag", type_=blobs.c.etag.type)))
        )
        self._is_hosted = prepare(
            select(literal_column("1")).where(hosted(bindparam("etag", type_=blobs.c.etag.type))), "etag"
        )
        self._unlisted = prepare(
            select(func.count(), total(blobs.c.size_bytes)).where(
                ~exists().where(files.c.etag == blobs.c.etag), ~hosted(blobs.c.etag)
            )
        )

    @staticmethod
    def _later(database: Database, name: str) -> Prepared:
        column = blobs.c[name]
        return database.prepare(
            update(blobs)
            .values({column: bindparam("at")})
            .where(blobs.c.etag == bindparam("etag_"), column < bindparam("at")),
            "etag_",
            "at",
        )

    def put_blob(self, etag: Etag, size_bytes: int, now: float) -> None:
        """Say that this content was verified and sealed now. Its last read, if any, stays."""
        self._db.run(self._put_blob, etag, size_bytes, now, now, now)

    def register_blob(self, etag: Etag, size_bytes: int, sealed_at: float) -> None:
        """Say that this content was found sealed; that its bytes are right is not known until verified."""
        self._db.run(self._put_blob, etag, size_bytes, sealed_at, sealed_at, 0.0)

    def put_blobs(self, sizes: Mapping[Etag, int], now: float) -> None:
        """Say that these contents were verified and sealed now."""
        if sizes:
            rows = [(etag, size_bytes, now, now, now) for etag, size_bytes in sorted(sizes.items())]
            with self._db.transaction() as transaction:
                transaction.run_many(self._put_blob, rows)

    def touch_blobs(self, read_at: Mapping[Etag, float]) -> None:
        """Remember when contents were last read; earlier than what is known changes nothing."""
        self._many(self._touch_blob, read_at)

    def note_verified(self, verified_at: Mapping[Etag, float]) -> None:
        """Remember when contents were last found right."""
        self._many(self._note_verified, verified_at)

    def _many(self, statement: Prepared, times: Mapping[Etag, float]) -> None:
        if times:
            with self._db.transaction() as transaction:
                transaction.run_many(statement, sorted(times.items()))

    def drop_blob(self, gone: Etag | BlobRow) -> bool:
        """Forget content that is gone; whether it was known.

        Given the row that was read before the content went, a row that was sealed since then stays.
        """
        if isinstance(gone, BlobRow):
            return self._db.run(self._drop_row, gone.etag, gone.sealed_at) > 0
        return self._db.run(self._drop_blob, gone) > 0

    def blob(self, etag: Etag) -> BlobRow | None:
        """What is known of one sealed content. A point read."""
        row = self._db.one(self._blob, etag)
        return None if row is None else BlobRow(*row)

    def blobs_after(self, etag: str, limit: int, verified_before: float = float("inf")) -> list[BlobRow]:
        """The next page by etag; begin with an empty one."""
        return self._blob_page(self._page, etag, verified_before, limit)

    def blob_count(self) -> int:
        """How many contents are sealed."""
        return self._totals(self._total)[0]

    def total_bytes(self) -> int:
        """What all sealed content takes."""
        return self._totals(self._total)[1]

    def unlisted_bytes(self) -> int:
        """What is sealed and in no listing: fetched by its hash, or left by a removal that was cut short."""
        return self._totals(self._unlisted)[1]

    def _totals(self, statement: Prepared) -> tuple[int, int]:
        row = self._db.one(statement)
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def eviction_candidates(
        self, limit: int, policy: Eviction = "lru", after: BlobRow | None = None, *, copies: bool = False
    ) -> list[BlobRow]:
        """What to evict next, best first; `after` continues a walk.

        `copies`: content that verified chunks make, too, so that nothing is lost with it, pinned or not.
        Without: all other content, but for what is pinned.
        """
        key = _ORDERS[policy][1]
        cursor = (_BEFORE_ALL, "") if after is None else (key(after), after.etag)
        return self._blob_page(self._candidates[policy, copies], *cursor, limit)

    def _blob_page(self, statement: Prepared, *args: object) -> list[BlobRow]:
        return [BlobRow(*row) for row in self._db.all(statement, *args)]

    def is_pinned(self, etag: Etag) -> bool:
        """Whether a pinned commit lists this content, or it cannot be had again. A point read."""
        return self._db.one(self._is_pinned, etag) is not None

    def is_hosted(self, etag: Etag) -> bool:
        """Whether it was brought here, and is in a hosted repository or about to be. A point read."""
        return self._db.one(self._is_hosted, etag) is not None


def total(column: ColumnElement[int]) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(column), 0), BigInteger)


def _is_copy() -> ColumnElement[bool]:
    """Whether a blob could be made again from verified chunks."""
    return exists().where(reconstructions.c.etag == blobs.c.etag, reconstructions.c.verified_at.is_not(None))


def hosted(etag: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether it was brought here, and a hosted repository has it or is about to: nobody else may."""
    return or_(exists().where(hosted_blobs.c.etag == etag), exists().where(upload_leases.c.etag == etag))


def pinned(etag: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the content has to stay.

    It is hosted, or a pinned commit lists it: all of a repository, a commit, or where a ref points.
    """
    points_here = exists().where(
        refs.c.repo == pins.c.repo,
        refs.c.revision == pins.c.revision,
        refs.c.commit_hash == commits.c.commit_hash,
    )
    listed = exists().where(
        files.c.etag == etag,
        commits.c.commit_number == files.c.commit_number,
        pins.c.repo == commits.c.repo,
        or_(pins.c.revision == "", pins.c.revision == commits.c.commit_hash, points_here),
    )
    return or_(hosted(etag), listed)
