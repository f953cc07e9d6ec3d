"""The leader's side of one fill. Worker threads fetch spans; one hash grows with the prefix.

What decides the order, most urgent first:

1. Blocks that a reader waits for (`Partial.want`), each span on whichever connection is free.
2. When the whole file is wanted: the first block that is neither here nor on its way.

How many connections: one at first. While a file is large, every `_PROBE_SECONDS` the number is doubled as
long as that made the bytes come clearly faster, up to `connections`; a limit per connection is found within a
second, and an unlimited link keeps its single connection. A reader who waits for a place that no
connection is near gets a connection of its own at once.

A worker that loses its connection asks again from the very byte where it broke. A leader that ends for
any reason leaves the partial as it is, unless the whole file is here and its hash is wrong: then nothing
is kept.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from moongate.core.digests import Etag, content_hasher
from moongate.core.errors import (
    MoongateError,
    StoreFull,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
    VerificationFailed,
)
from moongate.core.spans import ByteSpan
from moongate.hub.sources import ByteBody, ByteConnection, ByteSource, MovableBody
from moongate.hub.troubles import trouble_kind
from moongate.store.partial import BLOCK_BYTES, Partial, State

_READ_BYTES = 256 << 10
_HASH_BYTES = 1 << 20
_NOTIFY_SECONDS = 0.004
_IDLE_SECONDS = 2.0
_PROBE_SECONDS = 0.2
_FASTER = 1.25
_EXTRA_FOR_READERS = 4
_NEAR_BYTES = 4 << 20
_FAR_AWAY = 1 << 62
_MAX_ATTEMPTS = 6
_MAX_BACKOFF_SECONDS = 8.0
_LONGEST_WAIT_SECONDS = 30.0
_WRITE_BACK_BYTES = 32 << 20


class LeaderWatcher(Protocol):
    """Who is told, from worker threads, how a fill goes."""

    def progressed(self) -> None:
        """Readers may find more bytes, a verdict on the hash, or a trouble."""

    def fetched(self, count: int) -> None:
        """So many bytes came from upstream."""

    def retried(self, error: UpstreamError) -> None:
        """Upstream failed once more, and is asked again."""

    def sealed(self) -> None:
        """The file is whole, verified and among the blobs."""

    def failed(self, error: MoongateError) -> None:
        """The fill ended without the file."""

    def tainted(self) -> None:
        """What readers got are wrong bytes; they do not know yet, and will come back for the rest."""


Judge = Callable[[Etag, int, int], None]
"""Has the content of an etag and size, in an open file, judged; blocks until the verdict is known."""


@dataclass(frozen=True, slots=True)
class LeaderLimits:
    """connections: most at once for one file. make_room: frees so many bytes, or raises StoreFull.

    judge: called when the hash is right, before the held block is given out.
    """

    connections: int
    make_room: Callable[[int], None]
    judge: Judge


class PrefixHash:
    """The content hash of the bytes from 0 to `position`, whoever brings them."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._lock = threading.Lock()
        self._hasher = content_hasher(partial.etag, partial.size_bytes)
        self._mapped: mmap.mmap | None = None
        self.position = 0

    def feed(self, position: int, count: int, data: memoryview | None) -> None:
        """Take bytes that were kept just now, if they are the next ones; else `catch_up` reads them.

        `data` holds them when they are in memory; without it they are looked at where the kernel has them.
        """
        if self._lock.acquire(blocking=False):
            try:
                if position == self.position:
                    self._hasher.update(self._kept(position, count) if data is None else data)
                    self.position += count
            finally:
                self._lock.release()

    def _kept(self, position: int, count: int) -> memoryview:
        """The file's bytes in the page cache, where they were just put: no copy."""
        if self._mapped is None:
            self._mapped = mmap.mmap(self._partial.data_fd, self._partial.size_bytes, prot=mmap.PROT_READ)
        return memoryview(self._mapped)[position : position + count]

    def catch_up(self, halt: threading.Event) -> None:
        """Hash all that is present in order beyond `position`."""
        with self._lock:
            partial, buffer = self._partial, memoryview(bytearray(_HASH_BYTES))
            while not halt.is_set():
                end = partial.present_end(self.position, min(self.position + _HASH_BYTES, partial.size_bytes))
                if end <= self.position:
                    return
                count = os.preadv(partial.data_fd, [buffer[: end - self.position]], self.position)
                self._hasher.update(buffer[:count])
                self.position += count

    def matches(self) -> bool:
        return self.position == self._partial.size_bytes and self._hasher.hexdigest() == self._partial.etag


class Leader:
    """The leader of one partial. Made by whoever holds the partial's lead; `tick` it every few 10 ms."""

    def __init__(
        self, partial: Partial, source: ByteSource, limits: LeaderLimits, watcher: LeaderWatcher
    ) -> None:
        self._partial = partial
        self._source = source
        self._limits = limits
        self._watcher = watcher
        self._hash = PrefixHash(partial)
        self._span_blocks = max(8, min(64, partial.blocks // 32))
        self._changed = threading.Condition()
        self._busy = bytearray(partial.blocks)
        self._cursor = 0
        self._workers: dict[threading.Thread, ByteConnection] = {}
        self._heads: dict[int, int] = {}  # by thread: the position that its connection has reached
        self._idle = 0
        self._hashing: threading.Thread | None = None
        self._halt = threading.Event()
        self._finishing = False
        self._ranges_ignored = False
        self._ended = False
        self._not_before = 0.0
        self._reserved = False
        self._fetched_bytes = 0
        self._told_bytes = 0
        self._counting = threading.Lock()
        self._notified_at = 0.0
        self._probe = Probe(limits.connections)
        self._resumed = partial.have(0) > 0

    # -- steering (event loop) -------------------------------------------------------------------------------

    def nudge(self) -> None:
        """Something may be wanted that was not before."""
        with self._changed:
            if self._idle:
                self._changed.notify_all()
            elif not self._workers and not self._ended:
                self._spawn()

    def tick(self) -> bool:
        """Adapt the number of connections; False once it is over and the lead was given up."""
        with self._changed:
            if self._ended and not self._workers:
                return False
            if not self._workers and not self._finishing:
                if self._next_block() < 0 and not self._partial.complete:
                    self._ended = True
                    return False
                self._spawn()
            elif self._idle:
                if self._next_block() >= 0:  # wanted by another process, which cannot wake our threads
                    self._changed.notify_all()
            elif self._more_connections_help():
                self._spawn()
            if (
                (len(self._workers) > 1 or self._resumed)
                and self._hashing is None
                and self._partial.whole
                and not self._ended
            ):
                self._hashing = threading.Thread(target=self._hash_along, name="fill-hash", daemon=True)
                self._hashing.start()
            return True

    def stop(self, wait_seconds: float) -> None:
        """Cut the connections and keep the progress; returns when the threads are gone, or the time is up."""
        self._halt.set()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            workers = dict(self._workers)
        for connection in workers.values():
            connection.abort()
        deadline = time.monotonic() + wait_seconds
        for thread in (*workers, *([self._hashing] if self._hashing else [])):
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def ended(self) -> bool:
        """Whether nothing more will be fetched; connections may still be closing."""
        return self._ended

    @property
    def running(self) -> bool:
        with self._changed:
            return bool(self._workers) or not self._ended

    def _more_connections_help(self) -> bool:
        if self._ranges_ignored or self._finishing or self._ended:
            return False
        count = len(self._workers)
        if (wanted := self._next_wanted()) >= 0:
            return count < self._limits.connections + _EXTRA_FOR_READERS and not self._near(wanted)
        left_blocks = self._partial.blocks - self._cursor
        if not self._partial.whole or left_blocks <= self._span_blocks or time.monotonic() < self._not_before:
            return False
        return count < self._probe.advise(count, self._fetched_bytes, time.monotonic())

    def _near(self, block: int) -> bool:
        """Whether a connection will get there by itself before a new one would."""
        if not self._partial.whole or block == 0 or not self._busy[block - 1]:
            return False
        place = block * BLOCK_BYTES
        return any(0 <= place - head <= _NEAR_BYTES for head in self._heads.values())

    def _spawn(self) -> None:
        connection = self._source.connect()
        thread = threading.Thread(target=self._work, args=(connection,), name="fill", daemon=True)
        self._workers[thread] = connection
        thread.start()

    # -- choosing (under the lock) ---------------------------------------------------------------------------

    def _next_wanted(self) -> int:
        block = self._partial.next_wanted()
        while block >= 0 and self._busy[block]:
            block = self._partial.next_wanted(block + 1)
        return block

    def _next_block(self) -> int:
        block = self._next_wanted()
        if block >= 0 or not self._partial.whole:
            return block
        partial, busy = self._partial, self._busy
        while self._cursor < partial.blocks and partial.is_full(self._cursor):
            self._cursor += 1
        for block in range(self._cursor, partial.blocks):
            if not busy[block] and not partial.is_full(block):
                return block
        return -1

    def _take(self) -> ByteSpan | None:
        """The next run of blocks to fetch, marked busy."""
        first = self._next_block()
        if first < 0:
            return None
        partial, end = self._partial, first + 1
        most = partial.blocks if self._ranges_ignored else self._longest_span(first)
        while (
            end < partial.blocks
            and end - first < most
            and not self._busy[end]
            and partial.have(end) == 0
            and (partial.whole or partial.is_wanted(end))
        ):
            end += 1
        self._busy[first:end] = b"\x01" * (end - first)
        start = first * BLOCK_BYTES + partial.have(first)
        return ByteSpan(start, min(end * BLOCK_BYTES, partial.size_bytes))

    def _longest_span(self, first: int) -> int:
        """In blocks: shorter towards the end, so that no connection is left alone with a long last span."""
        others = len(self._workers)
        if others < 2:
            return self._span_blocks
        return max(2, min(self._span_blocks, (self._partial.blocks - first) // (2 * others)))

    # -- fetching (worker threads) ---------------------------------------------------------------------------

    def _work(self, connection: ByteConnection) -> None:
        buffer = memoryview(bytearray(min(_READ_BYTES, max(1, self._partial.size_bytes))))
        with self._changed:
            self._heads[threading.get_ident()] = -_FAR_AWAY
        try:
            while (span := self._wait_for_span()) is not None:
                try:
                    self._fetch(connection, span, buffer)
                finally:
                    self._give_back(span)
            if self._claim_finish():
                self._finish()
        except MoongateError as error:
            self._fail(error)
        except BaseException:
            # a bug must end the fill, or its readers would wait for ever
            self._fail(MoongateError("a fill broke inside the gateway; its log tells more"))
            raise
        finally:
            connection.close()
            self._tell_count()
            with self._changed:
                self._workers.pop(threading.current_thread(), None)
                self._heads.pop(threading.get_ident(), None)
                self._changed.notify_all()
            self._watcher.progressed()

    def _reserve(self) -> None:
        """Make room for the whole file, once upstream's answer has borne out how long it is."""
        with self._changed:
            if self._reserved or not self._partial.whole:
                return
            self._reserved = True
        missing = self._partial.size_bytes - self._partial.present_bytes()
        if missing > 0:
            self._limits.make_room(missing)
            self._partial.reserve()

    def _wait_for_span(self) -> ByteSpan | None:
        deadline = time.monotonic() + _IDLE_SECONDS
        with self._changed:
            while not self._halt.is_set() and not self._ended:
                if (span := self._take()) is not None:
                    return span
                left = deadline - time.monotonic()
                # A whole file leaves nothing to wait for; between small ranges a connection is worth keeping.
                if self._partial.whole or self._partial.complete or left <= 0:
                    return None
                self._idle += 1
                self._changed.wait(left)
                self._idle -= 1
        return None

    def _give_back(self, span: ByteSpan) -> None:
        first, end = span.start // BLOCK_BYTES, -(-span.end // BLOCK_BYTES)
        with self._changed:
            self._busy[first:end] = bytes(end - first)

    def _fetch(self, connection: ByteConnection, span: ByteSpan, buffer: memoryview) -> None:
        position, attempts = span.start, 0
        while position < span.end:
            self._wait_for_turn()
            if self._halt.is_set():
                return
            begun = position
            try:
                body = connection.open(ByteSpan(position, span.end))
                self._reserve()
                if body.position + body.remaining > span.end or body.position < position:
                    self._ranges_ignored = True
                position = self._drain(body, position, span.end, buffer)
            except UpstreamBusy as error:
                attempts += 1
                self._postpone(error, attempts)
            except (UpstreamUnreachable, UpstreamTimeout) as error:
                position = self._reached(span, position)
                attempts = 1 if position > begun else attempts + 1
                if self._halt.is_set():
                    return
                if attempts >= _MAX_ATTEMPTS:
                    raise
                self._watcher.retried(error)
                if attempts > 1:
                    self._halt.wait(min(_MAX_BACKOFF_SECONDS, 0.1 * 2.0**attempts))

    def _reached(self, span: ByteSpan, position: int) -> int:
        return max(position, self._partial.present_end(position, span.end))

    def _drain(self, body: ByteBody, position: int, end: int, buffer: memoryview) -> int:
        """Keep the body's bytes from `position` to `end`; where that came to."""
        alone, first = self._hashing is None, True
        me = threading.get_ident()
        movable = body if isinstance(body, MovableBody) else None
        while position < end and not self._halt.is_set():
            count = self._move(movable, position, end) if movable is not None else 0
            data = None
            if count == 0:
                data = self._read(body, position, end, buffer)
                count = len(data)
            if count == 0:
                continue  # a server without ranges starts at 0 again
            self._heads[me] = position + count
            self._notify(first)
            first = False
            if alone:
                self._hash.feed(position, count, data)
            position += count
            if position % _WRITE_BACK_BYTES < count:
                self._partial.write_back(
                    position - position % _WRITE_BACK_BYTES - _WRITE_BACK_BYTES, _WRITE_BACK_BYTES
                )
        body.finish()
        return position

    def _move(self, body: MovableBody, position: int, end: int) -> int:
        """Bytes that went to the file past our memory; 0 when these must be read."""
        if body.position != position:
            return 0
        try:
            count = body.move(self._partial.data_fd, end - position)
        except OSError as error:
            raise StoreFull(f"the disk took no more bytes: {error.strerror}") from error
        if count:
            self._count(count)
            self._partial.note(position, count)
        return count

    def _read(self, body: ByteBody, position: int, end: int, buffer: memoryview) -> memoryview:
        """The next bytes from `position` on, kept; empty when those that came were before it."""
        at = body.position
        count = body.readinto(buffer[: min(len(buffer), end - at)])
        self._count(count)
        data = buffer[max(0, position - at) : count] if at + count > position else buffer[:0]
        if data:
            self._partial.write(position, data)
        return data

    def _count(self, count: int) -> None:
        with self._counting:
            self._fetched_bytes += count

    def _tell_count(self) -> None:
        """Tell the watcher what came since it was last told: seldom, since telling costs more than adding."""
        with self._counting:
            count = self._fetched_bytes - self._told_bytes
            self._told_bytes = self._fetched_bytes
        if count:
            self._watcher.fetched(count)

    def _notify(self, at_once: bool) -> None:
        now = time.monotonic()
        if at_once or now - self._notified_at > _NOTIFY_SECONDS:
            self._notified_at = now
            self._tell_count()
            self._watcher.progressed()

    def _wait_for_turn(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0 and not self._halt.is_set():
            self._halt.wait(left)

    def _postpone(self, error: UpstreamBusy, attempts: int) -> None:
        self._watcher.retried(error)
        wait_seconds = error.retry_after_seconds or min(_MAX_BACKOFF_SECONDS, 0.5 * 2.0**attempts)
        if attempts >= _MAX_ATTEMPTS or wait_seconds > _LONGEST_WAIT_SECONDS:
            raise error
        self._probe.settle()
        self._not_before = time.monotonic() + wait_seconds

    # -- ending (worker threads) -----------------------------------------------------------------------------

    def _hash_along(self) -> None:
        while not self._halt.is_set() and not self._ended and self._hash.position < self._partial.size_bytes:
            before = self._hash.position
            self._hash.catch_up(self._halt)
            if self._hash.position == before:
                with self._changed:
                    self._changed.wait(0.02)

    def _claim_finish(self) -> bool:
        with self._changed:
            if self._finishing or self._ended or self._halt.is_set() or not self._partial.complete:
                return False
            self._finishing = True
            return True

    def _finish(self) -> None:
        partial = self._partial
        self._hash.catch_up(self._halt)
        if self._halt.is_set():
            return
        if not self._hash.matches():
            raise VerificationFailed(
                f"what upstream sent for {partial.etag} is not that content; nothing was kept, and the next "
                "request fetches it afresh"
            )
        self._limits.judge(partial.etag, partial.size_bytes, partial.data_fd)
        partial.set_state(State.VERIFIED)
        self._watcher.progressed()
        partial.seal()
        with self._changed:
            self._ended = True
        self._watcher.sealed()

    def _fail(self, error: MoongateError) -> None:
        if self._halt.is_set():
            return
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._halt.set()
            others = [
                link for thread, link in self._workers.items() if thread is not threading.current_thread()
            ]
        not_before = time.time() + error.retry_after_seconds if isinstance(error, UpstreamBusy) else 0.0
        is_wrong = isinstance(error, VerificationFailed)
        if is_wrong:
            self._watcher.tainted()
        self._partial.report_trouble(trouble_kind(error), error.message, not_before)
        if is_wrong:
            self._partial.discard()
        for connection in others:
            connection.abort()
        self._watcher.failed(error)


class Probe:
    """Finds out whether more connections bring more bytes: doubles while the rate grows by a quarter."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._advice = 1
        self._best_rate = 0.0
        self._since: float | None = None
        self._bytes = 0
        self._settled = most == 1

    def settle(self) -> None:
        """Ask for no more connections: upstream said that it is too much already."""
        self._settled = True

    def advise(self, count: int, fetched_bytes: int, now: float) -> int:
        """How many connections to have, given that there are `count`, and what they fetched so far."""
        if self._settled:
            return self._advice
        self._advice = max(self._advice, min(count, self._most))  # readers may have got one of their own
        if self._since is None:
            if fetched_bytes:
                self._since, self._bytes = now, fetched_bytes
            return self._advice
        elapsed = now - self._since
        if elapsed < _PROBE_SECONDS:
            return self._advice
        rate = (fetched_bytes - self._bytes) / elapsed
        self._since, self._bytes = now, fetched_bytes
        if rate > self._best_rate * _FASTER:
            self._best_rate = rate
            if self._advice >= self._most:
                self._settled = True
            self._advice = min(self._most, self._advice * 2)
        else:
            self._settled = True
        return self._advice
