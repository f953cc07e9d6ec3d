"""The proof of a Xet file: every chunk decodes, the chunks' hashes make its Xet id, the bytes its sha256.

It reads the file's terms in order while they come, one chunk at a time. One process proves a file, by a lease
in the index; the others see the outcome in the file's row: verified, or gone. What was proven wrong is
discarded before anybody may ask again, but for chunks that a verified file needs.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial

from moongate.core.digests import content_hasher
from moongate.core.errors import MoongateError, StoreError, UpstreamUnreachable, VerificationFailed
from moongate.core.spans import ByteSpan
from moongate.hub.xet_fill import Patience, XetFill
from moongate.hub.xet_flow import ChunkFlow
from moongate.store.index import ChunkRun
from moongate.store.pieces import Batches, read_span
from moongate.store.release import discard
from moongate.xet.hashes import FileHasher, Leaf, XetHash, chunk_hash, hash_hex
from moongate.xet.reconstruction import Term
from moongate.xet.shard import is_dedup_chunk
from moongate.xet.xorb import BadXorb

_LOOK_SECONDS = 0.25
_STOP_SECONDS = 10.0


class Wrong(MoongateError):
    """What upstream sent is not what it said; the text tells how that shows."""


def prove(fill: XetFill) -> None:
    """Prove a file, or see it proven by another process; blocks until that, or until the fill ends."""
    _Proof(fill).run()


class _Proof:
    def __init__(self, fill: XetFill) -> None:
        self._fill = fill
        self._room = fill.room
        self._row = fill.row
        self._troubles = fill.trouble_serial
        self._lease = f"xet-proof {fill.row.file_id}"
        self._owner = f"{os.getpid()}-{threading.get_ident()}-{uuid.uuid4().hex}"
        self._renewed_at = 0.0

    def run(self) -> None:
        fill = self._fill
        flow = ChunkFlow(self._room.segments, _Waiting(fill, self._troubles, self._renew))
        try:
            if not self._take_turn():
                return
            leaves = self._check(flow)
            self._judge()
            self._let_go()
            self._wait_for_the_rest()
            self._make_durable()
            self._say_proven()
            self._note_chunks(leaves)
        except (Wrong, BadXorb) as error:
            flow.close()
            self._discard(error)
        except MoongateError as error:
            if not fill.halted and fill.trouble_serial == self._troubles:
                fill.fail(error)
        finally:
            flow.close()
            self._release()

    # -- whose turn it is ------------------------------------------------------------------------------------

    def _take_turn(self) -> bool:
        """Whether this process is to prove the file; False when that is settled already."""
        bells = self._room.bells
        while True:
            since = bells.serial
            self._fill.raise_trouble(self._troubles)
            if self._fill.halted:
                return False
            verified_at = self._verified_at()
            if verified_at is None:
                if self._lease_taken():
                    return True
            elif self._fill.complete:
                self._fill.sound = self._fill.proven = True
                return False
            bells.wait(self._row.file_id, since, _LOOK_SECONDS)

    def _verified_at(self) -> float | None:
        for row in self._room.index.xet_files_of(self._row.etag):
            if row.file_id == self._row.file_id and row.noted_at == self._row.noted_at:
                return row.verified_at
        error = UpstreamUnreachable("what was known of this file was given up; ask for it again")
        self._fill.fail(error, wrong=True)
        self._free_unproven()
        raise error

    def _free_unproven(self) -> None:
        """Free what this process went on fetching while another one found the file wrong."""
        self._fill.wait_for_workers(_STOP_SECONDS)
        room = self._room
        for xorb in {one.xorb for one in self._row.fetches}:
            needed = partial(room.index.needed, xorb, verified_since=float("-inf"))
            room.segments.keep_only(xorb, needed, force=True)

    def _lease_taken(self) -> bool:
        room = self._room
        self._renewed_at = time.monotonic()
        try:
            return room.index.try_lease(
                self._lease, self._owner, room.rules.proof_lease_seconds, room.clock()
            )
        except StoreError:  # a full disk: better proven twice than not at all
            return True

    def _renew(self) -> None:
        if time.monotonic() - self._renewed_at > self._room.rules.proof_lease_seconds / 3:
            self._lease_taken()

    def _release(self) -> None:
        try:
            self._room.index.release_lease(self._lease, self._owner)
        except StoreError:
            return  # it runs out by itself

    # -- the proof -------------------------------------------------------------------------------------------

    def _check(self, flow: ChunkFlow) -> list[Leaf]:
        row, leaves, file = self._row, list[Leaf](), FileHasher()
        hasher = content_hasher(row.etag, row.size_bytes)
        for term in row.terms:
            left_bytes = term.unpacked_bytes
            for run in flow.runs(term.xorb, term.start, term.end):
                for chunk in run:
                    leaves.append((chunk_hash(chunk), len(chunk)))
                    file.add(leaves[-1])
                    left_bytes -= len(chunk)
                hasher.update(flow.together())
            if left_bytes:
                raise Wrong("a term has another length than its chunks")
            self._fill.raise_trouble(self._troubles)
            self._renew()
        if hash_hex(file.digest()) != row.file_id:
            raise Wrong("the chunks are not those of the file's Xet id")
        if hasher.hexdigest() != row.etag:
            raise Wrong("the bytes are not those of the file's sha256")
        return leaves

    def _judge(self) -> None:
        """Have it judged, while its end is still held."""
        batches = Batches(self._room.segments)

        def read(span: ByteSpan) -> bytes:
            self._renew()
            return read_span(batches, self._row, span)

        self._room.judge(self._row, read)

    def _let_go(self) -> None:
        """Give out what was held: it is right, and whoever waits for it need not wait for the disk."""
        self._fill.sound = True
        self._room.bells.ring(*self._fill.keys)

    def _make_durable(self) -> None:
        """Have every byte on disk before the index says that it is right."""
        for one in self._row.fetches:
            self._room.segments.make_durable(one.xorb, one.chunks.first, one.chunks.end)
            self._renew()

    def _wait_for_the_rest(self) -> None:
        """Until chunks that were offered with the file's, and do not occur in it, are here, too."""
        bells = self._room.bells
        while not self._fill.complete:
            since = bells.serial
            self._fill.raise_trouble(self._troubles)
            if self._fill.halted:
                raise UpstreamUnreachable("this gateway is stopping")
            if not self._fill.complete:
                bells.wait(self._row.file_id, since, _LOOK_SECONDS)
            self._renew()

    def _say_proven(self) -> None:
        row, room, fill = self._row, self._room, self._fill
        if not room.index.mark_verified(row.file_id, row.etag, room.clock(), row.noted_at):
            error = UpstreamUnreachable(
                "what was known of this file was given up meanwhile; ask for it again"
            )
            fill.fail(error, wrong=True)
            return
        fill.proven = True
        room.bells.ring(*fill.keys)
        room.watcher.proven(row.file_id, row.etag, row.size_bytes, time.monotonic() - fill.began)

    def _note_chunks(self, leaves: list[Leaf]) -> None:
        """Write down which chunks are where, so that whoever uploads something like it need not send them."""
        at, index = 0, self._room.index
        try:
            for number, term in enumerate(self._row.terms):
                run = tuple(leaves[at : at + term.end - term.start])
                dedup = [
                    chunk
                    for place, (chunk, _) in enumerate(run)
                    if is_dedup_chunk(chunk, first_of_file=number == place == 0)
                ]
                index.put_chunks(term.xorb, term.xorb, ChunkRun(term.start, run), dedup)
                at += len(run)
        except StoreError:
            return  # it would have been of use, and nothing counts on it

    def _discard(self, why: MoongateError) -> None:
        fill, room = self._fill, self._room
        error = VerificationFailed(
            f"what upstream sent for {self._row.etag} is not that content ({why.message}); nothing of it was "
            "kept, and the next request fetches it afresh"
        )
        fill.fail(error, wrong=True)
        fill.wait_for_workers(_STOP_SECONDS)
        discard(room.segments, room.index, self._row.file_id)


class _Waiting(Patience):
    def __init__(self, fill: XetFill, troubles: int, renew: Callable[[], None]) -> None:
        super().__init__(fill, troubles)
        self._reading = fill
        self._renew = renew

    def before_wait(self, xorb: XetHash, chunk: int) -> None:
        self._renew()
        self._reading.recheck(self._reading.range_of(Term(xorb, 0, chunk, chunk + 1)))
        self._reading.encourage()
