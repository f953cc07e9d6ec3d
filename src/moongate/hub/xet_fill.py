"""Fetching one Xet file: the ranges of xorbs that it needs and that are not here, each of them once.

Worker threads take ranges, those that readers wait for first, then the others in order of the file. A range
is reduced to the segments that are missing, and each segment is led by one worker of one process (the lead
dies with the process) and grows at its end, so that readers follow it from its first byte on. What others
lead is waited for, and taken over when they stop.

How many connections: while one brings bytes faster than networks do (`hub.pace`), no more than that, in the
order of the file, so that its proof keeps up. Else as a leader of a plain file decides it
(`hub.leader.Probe`). A reader who waits for a range that nobody works on gets a connection of its own: at
once, or after a while when others are that fast.

A worker that loses its connection goes on at the very byte. An address that expired is asked for again, once
for all workers. When the fill ends for any reason, what came stays, and the next request goes on with it;
only a proof that failed throws away what is not proven otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from moongate.core.errors import (
    MoongateError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from moongate.core.spans import ByteSpan
from moongate.hub.leader import Probe
from moongate.hub.pace import Pace
from moongate.hub.xet_addresses import Addresses, NobodyToAsk, Outdated
from moongate.hub.xet_ranges import hold_of, in_order
from moongate.hub.xet_room import XetRoom
from moongate.store.index import KeptFetch, ReconstructionRow
from moongate.store.segments import Lead, Segment
from moongate.upstream.cas import CasRoad
from moongate.upstream.connection import Body
from moongate.upstream.xorbs import AddressExpired, XorbConnection
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import Term

_READ_BYTES = 256 << 10
_NOTIFY_SECONDS = 0.008
_GATHER_SECONDS = 0.004
_FEW_BYTES = 96 << 10
_EAGER_BYTES = 512 << 10
_IDLE_SECONDS = 2.0
_TICK_SECONDS = 0.03
_EXTRA_FOR_READERS = 4
_PATIENCE_SECONDS = 0.25
_MAX_ATTEMPTS = 6
_MAX_BACKOFF_SECONDS = 8.0
_LONGEST_WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.05
_SLOWEST_LOOK_SECONDS = 0.25
_FOLLOW_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class _Worker:
    """What one thread works with; `serial` is that of the troubles when it began."""

    connection: XorbConnection
    buffer: memoryview
    serial: int


class XetFill:
    """One file in this process while it is not proven."""

    def __init__(
        self, room: XetRoom, row: ReconstructionRow, road: CasRoad | None, *, guessed: bool = False
    ) -> None:
        """guessed: no caller has shown yet that upstream lets this road be gone."""
        self.room = room
        self.row = row
        self.ranges = in_order(row)
        self.began = time.monotonic()
        self.proven = False
        self.sound = False
        """Set when every byte of the file was checked, a moment before it counts as proven."""
        self.failure: MoongateError | None = None
        """Set for good when the bytes were found wrong: nobody gets any more of them."""
        self.trouble: MoongateError | None = None
        self.trouble_serial = 0
        self.whole = False
        self.fetched_bytes = 0
        self.on_idle: Callable[[XetFill], None] = _nothing
        """Called on the loop when nobody works any more."""
        self.on_wrong: Callable[[XetFill], None] = _nothing
        """Called from any thread when `failure` was set."""
        self._at_of: dict[XetHash, list[int]] = {}
        for at, one in enumerate(self.ranges):
            self._at_of.setdefault(one.xorb, []).append(at)
        self._hold = hold_of(row)
        self._not_before = 0.0
        self._changed = threading.Condition()
        self._wanted: dict[int, float] = {}
        self._busy: set[int] = set()
        self._left = dict.fromkeys(range(len(self.ranges)))
        self._look_at: dict[int, float] = {}
        self._workers: dict[threading.Thread, XorbConnection] = {}
        self._idle = 0
        self._halt = threading.Event()
        self._ticking = False
        self._probe = Probe(room.rules.connections)
        self._pace = Pace(time.monotonic())
        self._moved_at = time.monotonic()
        self.addresses = Addresses(
            room, row, road, road if guessed else None, self._ranges_left, self._halt.is_set
        )
        self._proof: threading.Thread | None = None

    # -- readers ---------------------------------------------------------------------------------------------

    def range_at(self, xorb: XetHash, position: int) -> int | None:
        """Which range has this byte of a xorb."""
        for at in self._at_of.get(xorb, ()):
            span = self.ranges[at].chunks.span
            if span.start <= position < span.end:
                return at
        return None

    def range_of(self, term: Term) -> int:
        """Which range has the chunks of a term."""
        for at in self._at_of.get(term.xorb, ()):
            chunks = self.ranges[at].chunks
            if chunks.first <= term.start and term.end <= chunks.end:
                return at
        raise UpstreamBroken("upstream's reconstruction has a term that cannot be fetched")

    def allowed(self, xorb: XetHash, position: int, end: int) -> int:
        """How far bytes may be given out from `position` on, if they are here; `position` at the hold."""
        hold = self._hold
        if self.sound or hold is None or hold[0] != xorb or not position < hold[1].end:
            return end
        return min(end, max(position, hold[1].start))

    def want(self, at: int) -> None:
        """A reader waits for this range."""
        self.recheck(at)
        with self._changed:
            if at in self._left and at not in self._busy:
                self._wanted.setdefault(at, time.monotonic())
        self.encourage()

    def recheck(self, at: int) -> None:
        """Somebody misses bytes of this range: if it was here before, it may have been lost since."""
        one = self.ranges[at]
        if at not in self._left and not self.room.segments.has(one.xorb, one.chunks.first, one.chunks.end):
            with self._changed:
                self._left[at] = None

    def want_whole(self) -> None:
        """Fetch and prove the whole file."""
        self.whole = True
        self.encourage()

    def raise_trouble(self, since: int) -> None:
        """Raise what ended the fill, for good or after `since`."""
        if self.failure is not None:
            raise self.failure
        if self.trouble_serial != since and self.trouble is not None:
            raise self.trouble

    @property
    def complete(self) -> bool:
        """Whether every range was found here."""
        return not self._left

    @property
    def running(self) -> bool:
        with self._changed:
            return bool(self._workers) or self._proof is not None

    @property
    def keys(self) -> set[object]:
        """The bells of everybody who may wait for this file."""
        return {self.row.file_id, *(one.xorb for one in self.ranges)}

    # -- steering (any thread) -------------------------------------------------------------------------------

    def encourage(self) -> None:
        """See to it that somebody works, and more of them when that helps.

        Raises:
            UpstreamError: upstream wants to be left alone for a while.
        """
        if self.trouble is not None and self.room.clock() < self._not_before:
            raise self.trouble
        with self._changed:
            if self._halt.is_set():
                return
            if self.whole and self._proof is None and not self.proven and self.failure is None:
                self._start_proof()
            if self._idle:
                self._changed.notify_all()
            else:
                self._spawn_enough()
            if not self._ticking:
                self._ticking = True
                self.room.loop.call_soon_threadsafe(self._tick_later)

    def _start_proof(self) -> None:
        from moongate.hub.xet_proof import prove  # noqa: PLC0415 - a proof knows its fill, too

        self._proof = threading.Thread(target=self._run_proof, args=(prove,), name="xet-proof", daemon=True)
        self._proof.start()

    def _run_proof(self, prove: Callable[[XetFill], None]) -> None:
        try:
            prove(self)
        finally:
            with self._changed:
                self._proof = None
                again = self.whole and not self.proven and self.failure is None and not self._halt.is_set()
            self.room.bells.ring(*self.keys)
            if again:
                with suppress(UpstreamError):  # whoever waits will hear it
                    self.encourage()

    def _tick_later(self) -> None:
        self.room.loop.call_later(_TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        with self._changed:
            if self._workers and not self._halt.is_set():
                if not self._idle:
                    self._spawn_enough()
                self._tick_later()
                return
            self._ticking = False
            busy = self._proof is not None
        if busy:
            self._ticking = True
            self._tick_later()
        else:
            self.on_idle(self)

    def _spawn_enough(self) -> None:
        while self._more_connections_help():
            self._spawn()

    def _more_connections_help(self) -> bool:
        count, most, now = len(self._workers), self.room.rules.connections, time.monotonic()
        if not self._left or self.failure is not None:
            return False
        if count == 0:
            return self._choose(now) is not None or bool(self.whole and self._look_at)
        if now < self._not_before_monotonic():
            return False
        self._pace.look(count, self.fetched_bytes, now)
        ample, free = self._pace.is_ample(now), count - len(self._busy)
        since = now - _PATIENCE_SECONDS if ample else now
        if sum(at not in self._busy and when <= since for at, when in self._wanted.items()) > free:
            return count < most + _EXTRA_FOR_READERS
        if ample or free or not self.whole or self._choose(now) is None:
            return False
        return count < self._probe.advise(count, self.fetched_bytes, now)

    def _not_before_monotonic(self) -> float:
        return time.monotonic() + (self._not_before - self.room.clock())

    def _spawn(self) -> None:
        connection = self.room.cas.connect()
        thread = threading.Thread(target=self._work, args=(connection,), name="xet-fill", daemon=True)
        self._workers[thread] = connection
        thread.start()

    def stop(self, wait_seconds: float) -> None:
        """Cut the connections and keep the progress; returns when the threads are gone, or the time is up."""
        self._halt.set()
        with self._changed:
            self._changed.notify_all()
            workers = dict(self._workers)
            proof = self._proof
        for connection in workers.values():
            connection.abort()
        self.room.bells.ring(*self.keys)
        deadline = time.monotonic() + wait_seconds
        for thread in (*workers, *([proof] if proof else [])):
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def halted(self) -> bool:
        return self._halt.is_set()

    # -- choosing (under the lock) ---------------------------------------------------------------------------

    def _choose(self, now: float) -> int | None:
        """The next range to work on."""
        for at in self._wanted:
            if at not in self._busy and self._look_at.get(at, 0.0) <= now:
                return at
        if self.whole:
            for at in self._left:
                if at not in self._busy and self._look_at.get(at, 0.0) <= now:
                    return at
        return None

    def _next(self, worker: _Worker) -> int | None:
        """The next range to work on, marked busy; waits for those that others lead. None: nothing to do."""
        deadline = time.monotonic() + _IDLE_SECONDS
        with self._changed:
            while not self._is_over(worker) and self._left and self.failure is None:
                now = time.monotonic()
                at = self._choose(now)
                if at is not None:
                    self._busy.add(at)
                    return at
                pending = [
                    when
                    for at, when in self._look_at.items()
                    if at not in self._busy and (self.whole or at in self._wanted)
                ]
                if pending:
                    wait_seconds = max(0.001, min(pending) - now)
                elif self.whole or now >= deadline:
                    return None
                else:
                    wait_seconds = deadline - now
                self._idle += 1
                self._changed.wait(wait_seconds)
                self._idle -= 1
        return None

    def _ranges_left(self) -> list[KeptFetch]:
        return [self.ranges[at] for at in list(self._left)]

    def _give_back(self, at: int, *, done: bool) -> None:
        with self._changed:
            self._busy.discard(at)
            if done:
                self._wanted.pop(at, None)
                self._left.pop(at, None)
                self._look_at.pop(at, None)
            else:
                self._look_at[at] = time.monotonic() + _LOOK_SECONDS
            self._changed.notify_all()
        one = self.ranges[at]
        self.room.bells.ring(one.xorb, self.row.file_id)

    # -- fetching (worker threads) ---------------------------------------------------------------------------

    def _work(self, connection: XorbConnection) -> None:
        worker = _Worker(connection, memoryview(bytearray(_READ_BYTES)), self.trouble_serial)
        try:
            while (at := self._next(worker)) is not None:
                done = False
                try:
                    done = self._fetch(at, worker)
                finally:
                    self._give_back(at, done=done)
        except Outdated as error:
            self.room.index.drop_reconstruction(self.row.file_id)
            self.fail(error, wrong=True)
        except MoongateError as error:
            if not self._is_over(worker):
                self.fail(error)
        finally:
            connection.close()
            with self._changed:
                self._workers.pop(threading.current_thread(), None)
                self._changed.notify_all()

    def _is_over(self, worker: _Worker) -> bool:
        return self._halt.is_set() or self.trouble_serial != worker.serial

    def _fetch(self, at: int, worker: _Worker) -> bool:
        """Bring in what is missing of a range; whether all of it is here then."""
        segments, one = self.room.segments, self.ranges[at]
        chunks = one.chunks
        if not segments.has(one.xorb, chunks.first, chunks.end):
            gaps = self._gaps(one)
            if gaps and not self._may_ask():
                return False
            if gaps:
                self.room.make_room(sum(gap.length - segments.progress(gap) for gap in gaps))
            for gap in gaps:
                if not self._is_answered(gap):
                    return False
                lead = segments.try_lead(gap)
                if lead is not None:
                    self._lead(lead, worker)
        return segments.has(one.xorb, chunks.first, chunks.end)

    def _gaps(self, one: KeptFetch) -> list[Segment]:
        segments, chunks = self.room.segments, one.chunks
        try:
            return segments.missing(one.xorb, chunks.first, chunks.end, chunks.span)
        except UpstreamBroken:
            # What lies here, unproven, was named by somebody who was lied to, or we are: proof will tell.
            needed = self.room.index.needed
            segments.keep_only(one.xorb, lambda: needed(one.xorb, verified_since=float("-inf")))
            return segments.missing(one.xorb, chunks.first, chunks.end, chunks.span)

    def _lead(self, lead: Lead, worker: _Worker) -> None:
        try:
            self.room.bells.ring(lead.segment.xorb)
            self._pour(lead, worker)
        finally:
            lead.close(durable=False)  # it is made so before the file counts as proven
            self.room.bells.ring(lead.segment.xorb)

    def _may_ask(self) -> bool:
        """Whether this process can ask upstream; if not, wait for those who can, but not for ever."""
        if self.room.rules.offline:
            raise UpstreamUnreachable("this gateway is offline, and the file is not in its store")
        if self.addresses.road is not None:
            return True
        if time.monotonic() - max(self._moved_at, self.addresses.forgot_at) > _FOLLOW_SECONDS:
            raise UpstreamUnreachable("nobody fetches this file any more; ask for its reconstruction again")
        return False

    def _is_answered(self, segment: Segment) -> bool:
        """Whether upstream may answer this process; a guess is tried before others are kept off."""
        if not self.addresses.is_guessed:
            return True
        try:
            self.addresses.of(segment)
        except NobodyToAsk:
            return False
        except UpstreamError:
            pass  # whoever leads asks again, with patience
        return True

    def _pour(self, lead: Lead, worker: _Worker) -> None:
        segment, attempts, refusals, stale = lead.segment, 0, 0, ""
        while lead.remaining and not self._is_over(worker):
            self._wait_for_turn()
            position = segment.span.start + lead.position
            begun = lead.position
            address = None
            try:
                address = self.addresses.of(segment, stale)
                # Who refuses a part of what it signed gets asked for all of it.
                asked = ByteSpan(position, segment.span.end) if refusals < 2 else address.span
                body = worker.connection.open(address.url, asked)
                self._drain(body, lead, worker.buffer)
            except UpstreamBusy as error:
                attempts += 1
                self._postpone(error, attempts)
            except (UpstreamUnreachable, UpstreamTimeout, UpstreamBroken) as error:
                attempts = 1 if lead.position > begun else attempts + 1
                if self._is_over(worker):
                    return
                if attempts >= _MAX_ATTEMPTS and isinstance(error, AddressExpired):
                    raise Outdated("upstream refuses what it offered; ask for this file again") from error
                if attempts >= _MAX_ATTEMPTS or address is None:
                    raise
                self.room.watcher.retried(error)
                if isinstance(error, AddressExpired):
                    stale = address.url
                    refusals += 1
                if attempts > 1:
                    self._halt.wait(min(_MAX_BACKOFF_SECONDS, 0.1 * 2.0**attempts))

    def _drain(self, body: Body, lead: Lead, buffer: memoryview) -> None:
        """Append the body's bytes, from where the segment ends on."""
        start, notified_at, begun = lead.segment.span.start, 0.0, lead.position
        if body.position > start + lead.position:
            raise UpstreamBroken("upstream offers a range elsewhere than before")
        while lead.remaining and not self._halt.is_set():
            count = lead.move(body) if body.position == start + lead.position else 0
            if count == 0:
                count = self._read(body, lead, buffer)
            self.fetched_bytes += count  # a lost update between threads only blurs the probe
            self.room.watcher.fetched(count)
            now = self._moved_at = time.monotonic()
            if now - notified_at > _NOTIFY_SECONDS:
                notified_at = now
                self.room.bells.ring(lead.segment.xorb)
            if count < _FEW_BYTES and lead.position - begun > _EAGER_BYTES:
                time.sleep(_GATHER_SECONDS)  # to move a few packets costs as much as to move many
        body.finish()

    def _read(self, body: Body, lead: Lead, buffer: memoryview) -> int:
        """Read on, and append what belongs behind the segment's end: a server without ranges starts at 0."""
        at, position = body.position, lead.segment.span.start + lead.position
        count = body.readinto(buffer[: min(len(buffer), position + lead.remaining - at)])
        lead.append(buffer[max(0, position - at) : count])
        return count

    def _wait_for_turn(self) -> None:
        while (left := self._not_before - self.room.clock()) > 0 and not self._halt.is_set():
            self._halt.wait(min(left, _LONGEST_WAIT_SECONDS))

    def _postpone(self, error: UpstreamBusy, attempts: int) -> None:
        self.room.watcher.retried(error)
        wait_seconds = error.retry_after_seconds or min(_MAX_BACKOFF_SECONDS, 0.5 * 2.0**attempts)
        if attempts >= _MAX_ATTEMPTS or wait_seconds > _LONGEST_WAIT_SECONDS:
            raise error
        self._probe.settle()
        self._not_before = self.room.clock() + wait_seconds

    def wait_for_workers(self, wait_seconds: float) -> None:
        """Return when nobody fetches here any more, or the time is up."""
        deadline = time.monotonic() + wait_seconds
        with self._changed:
            while self._workers and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    # -- ending ----------------------------------------------------------------------------------------------

    def fail(self, error: MoongateError, *, wrong: bool = False) -> None:
        """End the fill. `wrong`: its bytes are not the file's, and nobody may get any more of them."""
        with self._changed:
            if self._halt.is_set() or (self.trouble is error):
                return
            if wrong:
                self.failure = error
                self.on_wrong(self)
            others = [
                one for thread, one in self._workers.items() if thread is not threading.current_thread()
            ]
            if isinstance(error, UpstreamBusy):
                self._not_before = self.room.clock() + error.retry_after_seconds
            self.trouble = error
            self.trouble_serial += 1
            self._wanted.clear()
            self.whole = False
            self._changed.notify_all()
        for connection in others:
            connection.abort()
        self.room.watcher.failed(self.row.file_id, self.row.etag, error)
        self.room.bells.ring(*self.keys)


class Patience:
    """How a thread waits for chunks that a fill brings; see `ChunkFlow`."""

    def __init__(self, fill: XetFill, troubles: int) -> None:
        self._fill = fill
        self._troubles = troubles
        self._since = fill.room.bells.serial

    def __call__(self, xorb: XetHash, chunk: int) -> None:
        """Return when there may be more.

        Raises:
            UpstreamError, VerificationFailed, StoreFull: what ended the fill since `troubles`.
        """
        fill, bells = self._fill, self._fill.room.bells
        fill.raise_trouble(self._troubles)
        if fill.halted:
            raise UpstreamUnreachable("this gateway is stopping")
        self.before_wait(xorb, chunk)
        bells.wait(xorb, self._since, _SLOWEST_LOOK_SECONDS)
        self._since = bells.serial

    def before_wait(self, xorb: XetHash, chunk: int) -> None:
        """Say what is waited for."""


def _nothing(_: XetFill) -> None:
    """Nobody wants to know."""
