"""Reconstructions: which chunks of which xorbs make a file, and who else needs them.

A Xet file is here when its row is *verified*: every byte was proven once, and the segments with its chunks
have been kept since. Whatever frees chunks drops the row first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, bindparam, case, delete, select, tuple_, union_all, update

from moongate.core.digests import Etag
from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange, pack, union, unpack
from moongate.store.index.blobs import Eviction, pinned
from moongate.store.index.database import Database, Prepared, Row, by
from moongate.store.schema import file_xorbs, reconstructions, xorb_leases
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import Term

_TERM = struct.Struct("<32sIII")
_FETCH = struct.Struct("<32sIIII")
_BEFORE_ALL = float("-inf")


@dataclass(frozen=True, slots=True)
class KeptFetch:
    """A range of a xorb, as upstream offers it for a file: what is fetched, kept and counted for the file."""

    xorb: XetHash
    chunks: ChunkRange


@dataclass(frozen=True, slots=True)
class XetFileRow:
    """A Xet file, without its terms. `noted_at` tells this row from a later one of the same file."""

    file_id: str
    etag: Etag
    size_bytes: int
    noted_at: float
    verified_at: float | None
    read_at: float


@dataclass(frozen=True, slots=True)
class ReconstructionRow:
    """A whole file's reconstruction. `verified_at`: when every byte was last proven; None: not proven."""

    file_id: str
    etag: Etag
    size_bytes: int
    terms: tuple[Term, ...]
    fetches: tuple[KeptFetch, ...]
    noted_at: float
    verified_at: float | None
    read_at: float

    @property
    def verified(self) -> bool:
        return self.verified_at is not None


_COLUMNS = [
    reconstructions.c[name]
    for name in ("file_id", "etag", "size_bytes", "noted_at", "verified_at", "read_at")
]
_ORDERS: dict[Eviction, tuple[ColumnElement[float], Callable[[XetFileRow], float]]] = {
    "lru": (reconstructions.c.read_at, lambda row: row.read_at),
    "fifo": (reconstructions.c.noted_at, lambda row: row.noted_at),
    "largest": (-reconstructions.c.size_bytes, lambda row: -row.size_bytes),
}


class ReconstructionRows:
    """Reconstructions, and the chunks that each one needs."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        table = reconstructions
        put = database.insert(table).values({column: bindparam(f"{column.name}_") for column in table.c})
        self._xet_put = prepare(
            put.on_conflict_do_update(
                index_elements=["file_id"],
                set_={name: new for name, new in put.excluded.items() if name != "file_id"},
                where=table.c.verified_at.is_(None),
            )
        )
        self._xet_put_xorb = database.upsert(file_xorbs)
        self._xet_drop_xorbs = prepare(delete(file_xorbs).where(by(file_xorbs.c.file_id)))
        self._xet_drop = prepare(delete(table).where(by(table.c.file_id)))
        self._xet_renew = prepare(
            update(table)
            .values(noted_at=bindparam("now_"))
            .where(
                table.c.file_id == bindparam("file_id_"),
                table.c.etag == bindparam("etag_"),
                table.c.verified_at.is_not(None),
            ),
            "file_id_",
            "etag_",
            "now_",
        )
        self._xet_drop_row = prepare(delete(table).where(by(table.c.file_id, table.c.noted_at)))
        self._xet_get = prepare(select(table).where(by(table.c.file_id)))
        unproven = case((table.c.verified_at.is_(None), 1), else_=0)
        self._xet_proven_etag = prepare(
            select(table.c.etag).where(by(table.c.file_id), table.c.verified_at.is_not(None))
        )
        self._xet_by_etag = prepare(
            select(table).where(by(table.c.etag)).order_by(unproven, table.c.file_id).limit(1)
        )
        self._xet_of_etag = prepare(select(*_COLUMNS).where(by(table.c.etag)).order_by(table.c.file_id))
        self._xet_verified = {
            dated: prepare(
                update(table)
                .values(etag=bindparam("etag_"), verified_at=bindparam("now_"))
                .where(
                    table.c.file_id == bindparam("file_id_"),
                    *([table.c.noted_at == bindparam("noted_at_")] if dated else []),
                ),
                *("file_id_", "etag_", "now_", *(["noted_at_"] if dated else [])),
            )
            for dated in (False, True)
        }
        self._xet_unverified = prepare(
            update(table).values(verified_at=None).where(table.c.file_id == bindparam("file_id_")), "file_id_"
        )
        self._xet_touch = prepare(
            update(table)
            .values(read_at=bindparam("at"))
            .where(table.c.file_id == bindparam("file_id_"), table.c.read_at < bindparam("at")),
            "file_id_",
            "at",
        )
        self._xet_xorbs_of = prepare(
            select(file_xorbs.c.xorb, file_xorbs.c.ranges)
            .where(by(file_xorbs.c.file_id))
            .order_by(file_xorbs.c.xorb)
        )
        needs = select(file_xorbs.c.file_id, file_xorbs.c.ranges).where(by(file_xorbs.c.xorb))
        self._xet_needs = prepare(needs)
        leased = select(xorb_leases.c.holder, xorb_leases.c.ranges).where(by(xorb_leases.c.xorb))
        self._xet_all_needs = prepare(union_all(needs, leased), "xorb")
        self._xet_proven_needs = prepare(
            needs.join(table, table.c.file_id == file_xorbs.c.file_id).where(
                table.c.verified_at >= bindparam("verified_since")
            ),
            "xorb",
            "verified_since",
        )
        self._xet_page = prepare(
            select(*_COLUMNS)
            .where(table.c.file_id > bindparam("after"), table.c.verified_at < bindparam("verified_before"))
            .order_by(table.c.file_id)
            .limit(bindparam("count")),
            "after",
            "verified_before",
            "count",
        )
        self._xet_idle = prepare(
            select(*_COLUMNS)
            .where(
                table.c.file_id > bindparam("after"),
                table.c.verified_at.is_(None),
                table.c.read_at < bindparam("read_before"),
            )
            .order_by(table.c.file_id)
            .limit(bindparam("count")),
            "after",
            "read_before",
            "count",
        )
        self._xet_candidates_of: dict[str, Prepared] = {
            policy: prepare(
                select(*_COLUMNS)
                .where(
                    tuple_(order, table.c.file_id) > tuple_(bindparam("after"), bindparam("after_id")),
                    ~pinned(table.c.etag),
                )
                .order_by(order, table.c.file_id)
                .limit(bindparam("count")),
                "after",
                "after_id",
                "count",
            )
            for policy, (order, _) in _ORDERS.items()
        }

    # -- one file --------------------------------------------------------------------------------------------

    def put_reconstruction(
        self,
        file_id: str,
        etag: Etag,
        size_bytes: int,
        terms: Iterable[Term],
        fetches: Mapping[XetHash, Iterable[ChunkRange]],
        now: float,
    ) -> bool:
        """Keep what upstream says of a file, in place of what it said before, as not proven.

        A file that is verified stays as it is, and the answer is False. Put it before any of its chunks is
        fetched: what no reconstruction needs may be freed at any moment.
        """
        packed, offered, ranges = _packed(terms, fetches)
        with self._db.transaction() as transaction:
            row = (file_id, etag, size_bytes, packed, offered, now, None, now)
            if not transaction.run(self._xet_put, *row):
                return False
            transaction.run(self._xet_drop_xorbs, file_id)
            transaction.run_many(self._xet_put_xorb, [(file_id, *row) for row in ranges])
        return True

    def put_proven(
        self,
        file_id: str,
        etag: Etag,
        size_bytes: int,
        terms: Iterable[Term],
        needs: Mapping[XetHash, Iterable[ChunkRange]],
        now: float,
    ) -> None:
        """Keep what a file is made of, as proven now.

        One that was proven before stays as it is, but for its `noted_at`: whoever is about to give it up for
        an older reason finds that it was needed again. Its chunks must be leased until this returned.
        """
        packed, offered, ranges = _packed(terms, needs)
        with self._db.transaction() as transaction:
            if transaction.run(self._xet_renew, file_id, etag, now):
                return
            transaction.run(self._xet_drop, file_id)
            transaction.run(self._xet_put, file_id, etag, size_bytes, packed, offered, now, now, now)
            transaction.run(self._xet_drop_xorbs, file_id)
            transaction.run_many(self._xet_put_xorb, [(file_id, *row) for row in ranges])

    def get_reconstruction(self, file_id: str) -> ReconstructionRow | None:
        """What is known of this file, verified or not. One read, however many terms it has."""
        return _reconstruction(self._db.one(self._xet_get, file_id))

    def proven_etag(self, file_id: str) -> Etag | None:
        """The content that this file was proven to be; None when it was not. A point read."""
        row = self._db.one(self._xet_proven_etag, file_id)
        return None if row is None else Etag(row[0])

    def by_etag(self, etag: Etag) -> ReconstructionRow | None:
        """The reconstruction of this content, a verified one before others."""
        return _reconstruction(self._db.one(self._xet_by_etag, etag))

    def xet_files_of(self, etag: Etag) -> list[XetFileRow]:
        """Every reconstruction that is said to make this content; more than one means that one is a lie."""
        return [XetFileRow(*row) for row in self._db.all(self._xet_of_etag, etag)]

    def mark_verified(self, file_id: str, etag: Etag, now: float, noted_at: float | None = None) -> bool:
        """Say that every byte of this file was proven, and that its sha256 is `etag`.

        False when its row is gone, or (given `noted_at`) not the one of which that was proven: chunks may
        have been freed meanwhile, and it has to be put and proven again.
        """
        if noted_at is None:
            return self._db.run(self._xet_verified[False], file_id, etag, now) > 0
        return self._db.run(self._xet_verified[True], file_id, etag, now, noted_at) > 0

    def mark_unverified(self, file_id: str) -> bool:
        """Say that this file has to be proven again: chunks of it were lost, or are in doubt."""
        return self._db.run(self._xet_unverified, file_id) > 0

    def drop_reconstruction(self, gone: str | XetFileRow) -> bool:
        """Forget a file and what it needs; whether it was known.

        Given the row that was read before, one that was put since then stays. Before its chunks are freed,
        not after: a verified row promises that they are here.
        """
        with self._db.transaction() as transaction:
            if isinstance(gone, XetFileRow):
                dropped = transaction.run(self._xet_drop_row, gone.file_id, gone.noted_at)
            else:
                dropped = transaction.run(self._xet_drop, gone)
            if dropped:
                transaction.run(self._xet_drop_xorbs, gone.file_id if isinstance(gone, XetFileRow) else gone)
        return dropped > 0

    def touch_reconstructions(self, read_at: Mapping[str, float]) -> None:
        """Remember when files were last read through Xet; earlier than what is known changes nothing."""
        if read_at:
            with self._db.transaction() as transaction:
                transaction.run_many(self._xet_touch, sorted(read_at.items()))

    # -- who needs what --------------------------------------------------------------------------------------

    def ranges_of(self, file_id: str) -> dict[XetHash, list[ChunkRange]]:
        """What a file needs, by xorb; joined and in order."""
        return {XetHash(bytes(row[0])): unpack(row[1]) for row in self._db.all(self._xet_xorbs_of, file_id)}

    def references(self, xorb: XetHash) -> list[str]:
        """The files that need chunks of this xorb, verified or not."""
        return sorted(row[0] for row in self._db.all(self._xet_needs, xorb))

    def unreferenced(self, xorbs: Iterable[XetHash]) -> list[XetHash]:
        """Those of them that no file needs and nobody leases."""
        return [xorb for xorb in xorbs if self._db.one(self._xet_all_needs, xorb) is None]

    def needed(
        self, xorb: XetHash, *, without: Collection[str] = (), verified_since: float | None = None
    ) -> list[ChunkRange]:
        """The chunks of a xorb that files need or somebody leases; joined and in order.

        Leaves out the files `without`. Given `verified_since`, only what files need that were found right
        then or later.
        """
        if verified_since is None:
            rows = self._db.all(self._xet_all_needs, xorb)
        else:
            rows = self._db.all(self._xet_proven_needs, xorb, verified_since)
        return union(one for file_id, ranges in rows if file_id not in without for one in unpack(ranges))

    # -- walks -----------------------------------------------------------------------------------------------

    def xet_files_after(
        self, file_id: str, limit: int, verified_before: float = float("inf")
    ) -> list[XetFileRow]:
        """The next page of verified files, by id; begin with an empty one."""
        return self._xet_rows(self._xet_page, file_id, verified_before, limit)

    def unproven_after(self, file_id: str, limit: int, read_before: float) -> list[XetFileRow]:
        """The next page of files that are not verified and were not read since."""
        return self._xet_rows(self._xet_idle, file_id, read_before, limit)

    def xet_candidates(
        self, limit: int, policy: Eviction = "lru", after: XetFileRow | None = None
    ) -> list[XetFileRow]:
        """What to evict next, best first, pinned content left out; `after` continues a walk."""
        cursor = (_BEFORE_ALL, "") if after is None else (_ORDERS[policy][1](after), after.file_id)
        return self._xet_rows(self._xet_candidates_of[policy], *cursor, limit)

    def _xet_rows(self, statement: Prepared, *args: object) -> list[XetFileRow]:
        return [XetFileRow(*row) for row in self._db.all(statement, *args)]


def _packed(
    terms: Iterable[Term], fetches: Mapping[XetHash, Iterable[ChunkRange]]
) -> tuple[bytes, bytes, list[tuple[XetHash, bytes]]]:
    """Terms, fetch ranges, and what is needed of each xorb, as the tables keep them."""
    packed = b"".join(_TERM.pack(one.xorb, one.start, one.end, one.unpacked_bytes) for one in terms)
    ranges = {xorb: tuple(ones) for xorb, ones in fetches.items()}
    offered = b"".join(
        _FETCH.pack(xorb, one.first, one.end, one.span.start, one.span.end)
        for xorb, ones in ranges.items()
        for one in ones
    )
    return packed, offered, [(xorb, pack(union(ones))) for xorb, ones in sorted(ranges.items()) if ones]


def _reconstruction(row: Row | None) -> ReconstructionRow | None:
    if row is None:
        return None
    file_id, etag, size_bytes, terms, fetches, noted_at, verified_at, read_at = row
    return ReconstructionRow(
        file_id,
        etag,
        size_bytes,
        tuple(
            Term(XetHash(xorb), unpacked_bytes, start, end)
            for xorb, start, end, unpacked_bytes in _TERM.iter_unpack(terms)
        ),
        tuple(
            KeptFetch(XetHash(xorb), ChunkRange(first, end, ByteSpan(start, stop)))
            for xorb, first, end, start, stop in _FETCH.iter_unpack(fetches)
        ),
        noted_at,
        verified_at,
        read_at,
    )
