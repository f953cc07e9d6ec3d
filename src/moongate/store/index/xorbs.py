"""Xorbs as clients know them: which chunks they have, who brought them, and until when they stay for that.

A xorb that came by an upload is kept under a name of our own (see `hub.hosted.xorb_uploads`); clients know it
by its hash, and several may lie here that have one hash. Of a xorb that upstream has, both are the same, and
only runs of its chunks may be known.

A lease says that its holder may use chunks of a xorb, and that they stay meanwhile though no file needs them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, or_, select

from moongate.store.chunk_ranges import ChunkRange, pack, union, unpack
from moongate.store.index.database import Database, Transaction, by
from moongate.store.schema import dedup_chunks, xorb_chunks, xorb_leases
from moongate.xet.hashes import Leaf, XetHash

_LEAF = struct.Struct("<32sI")
_MOST_XORBS = 64


@dataclass(frozen=True, slots=True)
class ChunkRun:
    """Chunks of a xorb from number `first` on, each with its hash and raw length."""

    first: int
    leaves: tuple[Leaf, ...]

    @property
    def end(self) -> int:
        return self.first + len(self.leaves)


class XorbRows:
    """Chunks of xorbs, and leases on them."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_run = database.upsert(xorb_chunks)
        self._put_dedup = database.upsert(dedup_chunks)
        self._runs = prepare(
            select(xorb_chunks.c.first, xorb_chunks.c.leaves)
            .where(by(xorb_chunks.c.xorb))
            .order_by(xorb_chunks.c.first)
        )
        self._run_at = prepare(
            select(xorb_chunks.c.leaves).where(by(xorb_chunks.c.xorb, xorb_chunks.c.first))
        )
        self._named = prepare(
            select(xorb_chunks.c.xorb)
            .where(or_(xorb_chunks.c.named == bindparam("name"), xorb_chunks.c.xorb == bindparam("name")))
            .distinct()
            .limit(_MOST_XORBS),
            "name",
        )
        self._name_of = prepare(select(xorb_chunks.c.named).where(by(xorb_chunks.c.xorb)).limit(1))
        self._with_chunk = prepare(
            select(dedup_chunks.c.xorb).where(by(dedup_chunks.c.chunk)).limit(_MOST_XORBS)
        )
        self._xorbs_after = prepare(
            select(xorb_chunks.c.xorb)
            .where(xorb_chunks.c.xorb > bindparam("after"))
            .distinct()
            .order_by(xorb_chunks.c.xorb)
            .limit(bindparam("count")),
            "after",
            "count",
        )
        self._drop_runs = prepare(delete(xorb_chunks).where(by(xorb_chunks.c.xorb)))
        self._drop_dedup = prepare(delete(dedup_chunks).where(by(dedup_chunks.c.xorb)))
        self._put_lease = database.upsert(xorb_leases)
        self._lease = prepare(
            select(xorb_leases.c.ranges, xorb_leases.c.expires_at).where(
                by(xorb_leases.c.holder, xorb_leases.c.xorb)
            ),
            "holder",
            "xorb",
        )
        self._end_lease = prepare(
            delete(xorb_leases).where(by(xorb_leases.c.holder, xorb_leases.c.xorb)), "holder", "xorb"
        )
        self._prune_leases_of_xorbs = prepare(
            delete(xorb_leases).where(xorb_leases.c.expires_at <= bindparam("now"))
        )

    # -- chunks ----------------------------------------------------------------------------------------------

    def put_chunks(self, xorb: XetHash, named: XetHash, run: ChunkRun, dedup: Iterable[XetHash] = ()) -> None:
        """Say which chunks a xorb has; `dedup` are those of them by which it can be asked for.

        A run that is known to be longer stays.
        """
        with self._db.transaction() as transaction:
            known = transaction.one(self._run_at, xorb, run.first)
            if known is None or len(known[0]) < len(run.leaves) * _LEAF.size:
                packed = b"".join(_LEAF.pack(*leaf) for leaf in run.leaves)
                transaction.run(self._put_run, xorb, run.first, named, packed)
            transaction.run_many(self._put_dedup, [(chunk, xorb) for chunk in sorted(set(dedup))])

    def put_dedup(self, chunk: XetHash, xorb: XetHash) -> None:
        """Say that a xorb can be asked for by this chunk of it."""
        self._db.run(self._put_dedup, chunk, xorb)

    def chunk_runs(self, xorb: XetHash) -> list[ChunkRun]:
        """What is known of a xorb's chunks, in order; runs may overlap."""
        return [
            ChunkRun(first, tuple((XetHash(chunk), length) for chunk, length in _LEAF.iter_unpack(leaves)))
            for first, leaves in self._db.all(self._runs, xorb)
        ]

    def xorbs_named(self, name: XetHash) -> list[XetHash]:
        """The xorbs that clients may mean by a hash; some of them may have been freed meanwhile."""
        return [XetHash(bytes(row[0])) for row in self._db.all(self._named, name)]

    def name_of_xorb(self, xorb: XetHash) -> XetHash:
        """The hash by which clients know a xorb."""
        row = self._db.one(self._name_of, xorb)
        return xorb if row is None else XetHash(bytes(row[0]))

    def xorbs_with_chunk(self, chunk: XetHash) -> list[XetHash]:
        """The xorbs that were said to be asked for by this chunk; at most 64."""
        return [XetHash(bytes(row[0])) for row in self._db.all(self._with_chunk, chunk)]

    def xorbs_after(self, xorb: bytes, limit: int) -> list[XetHash]:
        """The next page of xorbs whose chunks are known; begin with an empty one."""
        return [XetHash(bytes(row[0])) for row in self._db.all(self._xorbs_after, xorb, limit)]

    def drop_chunks(self, xorb: XetHash) -> None:
        """Forget which chunks a xorb has: it is not here any more."""
        with self._db.transaction() as transaction:
            transaction.run(self._drop_dedup, xorb)
            transaction.run(self._drop_runs, xorb)

    # -- leases ----------------------------------------------------------------------------------------------

    def lease_xorbs(
        self, holder: str, chunks: Mapping[XetHash, Sequence[ChunkRange]], until: float, now: float
    ) -> None:
        """Let a holder use these chunks until then, beside what it may use already."""
        with self._db.transaction() as transaction:
            for xorb, ranges in sorted(chunks.items()):
                self._extend(transaction, holder, xorb, ranges, until, now)

    def _extend(
        self,
        transaction: Transaction,
        holder: str,
        xorb: XetHash,
        ranges: Sequence[ChunkRange],
        until: float,
        now: float,
    ) -> None:
        row = transaction.one(self._lease, holder, xorb)
        if row is not None and row[1] > now:
            ranges, until = [*ranges, *unpack(row[0])], max(until, row[1])
        transaction.run(self._put_lease, holder, xorb, pack(union(ranges)), until)

    def leased_chunks(self, holder: str, xorb: XetHash, now: float) -> list[ChunkRange]:
        """The chunks of a xorb that a holder may use by a lease that has not run out."""
        row = self._db.one(self._lease, holder, xorb)
        return unpack(row[0]) if row is not None and row[1] > now else []

    def move_lease(self, holder: str, to: str, xorb: XetHash, until: float, now: float) -> bool:
        """Give a holder's lease to another one; False when there is none that has not run out."""
        with self._db.transaction() as transaction:
            row = transaction.one(self._lease, holder, xorb)
            if row is None or row[1] <= now:
                return False
            self._extend(transaction, to, xorb, unpack(row[0]), until, now)
            transaction.run(self._end_lease, holder, xorb)
        return True

    def prune_xorb_leases(self, now: float) -> int:
        """Forget leases that ran out; how many."""
        return self._db.run(self._prune_leases_of_xorbs, now)
