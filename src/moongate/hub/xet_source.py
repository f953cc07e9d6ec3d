"""`XetSource`: the bytes of a file, decoded from its chunks, for a fill to draw from like any other source.

Which way a span goes, in this order:

1. A file that is proven: from its chunks, nothing is asked of upstream.
2. Offline, or when the CAS failed for this file lately: the plain road.
3. The whole file is wanted, or the chunks happen to be here: by Xet, while they come.
4. Otherwise, a small range: the plain road.

When the Xet way fails, the plain road takes over at that very byte, and for the rest of this fill.
"""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from moongate.core.callers import Caller
from moongate.core.errors import MoongateError, UpstreamBroken, UpstreamUnreachable
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.sources import ByteBody, ByteConnection, ByteSource
from moongate.hub.xet_fill import Patience, XetFill
from moongate.hub.xet_flow import ChunkFlow
from moongate.store.chunk_reader import ChunksLost
from moongate.store.index import ReconstructionRow
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import Term

if TYPE_CHECKING:
    from moongate.hub.xet_files import XetFiles

_LOOK_SECONDS = 0.1
_SKIP_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class _Way:
    """How to get at a file's chunks: proven ones as they lie, others while `fill` brings them."""

    row: ReconstructionRow
    starts: list[int]
    fill: XetFill | None

    def terms(self, span: ByteSpan) -> Iterator[tuple[int, Term]]:
        """The terms that overlap a span, each with where it begins in the file."""
        for at in range(max(0, bisect_right(self.starts, span.start) - 1), len(self.row.terms)):
            if self.starts[at] >= span.end:
                return
            yield self.starts[at], self.row.terms[at]


def _way(row: ReconstructionRow, fill: XetFill | None) -> _Way:
    starts = list(accumulate((term.unpacked_bytes for term in row.terms), initial=0))
    return _Way(row, starts, fill)


class XetSource:
    """One file; shared by the worker threads of a fill."""

    def __init__(
        self,
        xets: XetFiles,
        file: FileAt,
        caller: Caller,
        plain: Callable[[], ByteSource],
        wants_whole: Callable[[], bool],
    ) -> None:
        self.size_bytes = file.entry.size_bytes
        self.xets = xets
        self.file = file
        self._caller = caller
        self._make_plain = plain
        self._wants_whole = wants_whole
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._plain: ByteSource | None = None
        self._known: _Way | None = None
        self._gave_up = False

    def connect(self) -> XetConnection:
        """A fresh connection for one worker thread. Opens nothing yet."""
        return XetConnection(self)

    def plain(self) -> ByteSource:
        """The plain road.

        Raises:
            UpstreamUnreachable: this gateway is offline.
        """
        if self.xets.room.rules.offline:
            raise UpstreamUnreachable("this gateway is offline, and the file is not in its store")
        with self._lock:
            if self._plain is None:
                self._plain = self._make_plain()
            return self._plain

    def way(self, span: ByteSpan, is_aborted: Callable[[], bool]) -> _Way | None:
        """How to get at this span by Xet; None: go the plain road."""
        if self._gave_up:
            return None
        with self._lock:
            if self._known is None and (row := self.xets.proven_row(self.file)) is not None:
                self.xets.note_read(row.file_id)
                self._known = _way(row, None)
            if self._known is not None:
                return self._known
        file_id = self.file.entry.xet_hash
        if file_id is None or self.xets.room.rules.offline or self.xets.is_distrusted(file_id):
            return None
        if not self._wants_whole():
            return self._way_here(file_id, span)
        with self._asking:
            return self._agreed() or self._begin(is_aborted)

    def _agreed(self) -> _Way | None:
        with self._lock:
            return None if self._gave_up else self._known

    def _begin(self, is_aborted: Callable[[], bool]) -> _Way | None:
        if self._gave_up:
            return None
        try:
            fill = self._filling(is_aborted)
        except MoongateError as error:
            self.give_up(error)
            return None
        with self._lock:
            self._known = _way(fill.row, fill)
            return self._known

    def _way_here(self, file_id: str, span: ByteSpan) -> _Way | None:
        """How to get at a span whose chunks are all here, proven or not."""
        row = self.xets.known(file_id)
        if row is None or (row.etag, row.size_bytes) != (self.file.entry.etag, self.size_bytes):
            return None
        way, has = _way(row, None), self.xets.room.segments.has
        return way if all(has(term.xorb, term.start, term.end) for _, term in way.terms(span)) else None

    def _filling(self, is_aborted: Callable[[], bool]) -> XetFill:
        asked = asyncio.run_coroutine_threadsafe(
            self.xets.filling(self.file, self._caller), self.xets.room.loop
        )
        try:
            while not is_aborted():
                try:
                    return asked.result(_LOOK_SECONDS)
                except FutureTimeout:
                    continue
        except CancelledError:
            raise UpstreamUnreachable("this gateway is stopping") from None
        finally:
            asked.cancel()
        raise UpstreamUnreachable("the connection was given up")

    def give_up(self, error: MoongateError) -> None:
        """Go the plain road from now on."""
        with self._lock:
            if self._gave_up:
                return
            self._gave_up = True
            way = self._known
        if self.file.entry.xet_hash is not None:
            self.xets.distrust(self.file.entry.xet_hash)
        if way is not None and way.fill is None:
            asyncio.run_coroutine_threadsafe(self.xets.lost(way.row), self.xets.room.loop)
        self.xets.room.watcher.fell_back(self.file.entry.etag, error)


class XetConnection:
    """One worker's way to the bytes. Not thread-safe but for `abort`."""

    def __init__(self, source: XetSource) -> None:
        self.source = source
        self._plain: ByteConnection | None = None
        self._flow: tuple[_Way, ChunkFlow] | None = None
        self._aborted = False

    def open(self, span: ByteSpan) -> ByteBody:
        """The bytes of this span; raises as the plain road does."""
        self.check()
        way = self.source.way(span, lambda: self._aborted)
        if way is None:
            return self.open_plain(span)
        return XetBody(self, way, span)

    def open_plain(self, span: ByteSpan) -> ByteBody:
        """The bytes of this span, by the plain road."""
        self.check()
        if self._plain is None:
            self._plain = self.source.plain().connect()
            self.check()
        return self._plain.open(span)

    def flow(self, way: _Way) -> ChunkFlow:
        """The chunks on this way; kept from span to span, since it knows where they lie."""
        if self._flow is not None and self._flow[0] is not way:
            self._flow[1].close()
            self._flow = None
        if self._flow is None:
            self._flow = way, ChunkFlow(self.source.xets.room.segments, _patience(self, way))
        return self._flow[1]

    def check(self) -> None:
        """Raise when this connection was given up."""
        if self._aborted:
            raise UpstreamUnreachable("the connection was given up")

    def close(self) -> None:
        """Close everything. May be called twice."""
        self._aborted = True
        if self._flow is not None:
            self._flow[1].close()
        if self._plain is not None:
            self._plain.close()

    def abort(self) -> None:
        """Called by another thread: a read that is under way ends with an error, and no new one begins."""
        self._aborted = True
        if self._plain is not None:
            self._plain.abort()


class XetBody:
    """The bytes of one span, from `position` on. Read until `remaining` is 0, then `finish`."""

    def __init__(self, connection: XetConnection, way: _Way, span: ByteSpan) -> None:
        self.position = span.start
        self.remaining = span.length
        self._connection = connection
        self._way = way
        self._piece = memoryview(b"")
        self._flow = connection.flow(way)
        self._pieces = self._decoded(span)
        self._plain: ByteBody | None = None

    def readinto(self, buffer: memoryview) -> int:
        """At least one byte, as soon as there is one; at most `remaining`. Raises as the plain road does."""
        view = buffer[: self.remaining]
        count = 0
        if self._plain is None:
            try:
                count = self._take(view)
            except (MoongateError, OSError) as error:
                self._connection.check()
                self._fall_back(error)
        if self._plain is not None:
            count = self._plain.readinto(view)
        self.position += count
        self.remaining -= count
        return count

    def finish(self) -> None:
        """Done with this body, also before its end."""
        if self._plain is not None:
            self._plain.finish()

    def _take(self, view: memoryview) -> int:
        if not self._piece:
            self._piece = next(self._pieces)
        piece = self._piece[: len(view)]
        view[: len(piece)] = piece
        self._piece = self._piece[len(piece) :]
        return len(piece)

    def _decoded(self, span: ByteSpan) -> Iterator[memoryview]:
        position = span.start
        for start, term in self._way.terms(span):
            first, skip = term.start, position - start
            if skip:
                first, skip = self._flow.skip_to(term.xorb, first, skip, term.end)
            for chunk in self._flow.chunks(term.xorb, first, term.end):
                piece = memoryview(chunk)[skip:]
                skip = 0
                position += len(piece)
                yield piece
            if position != start + term.unpacked_bytes:
                raise UpstreamBroken("a term has another length than its chunks")
        raise UpstreamBroken("upstream's reconstruction is shorter than its file")

    def _fall_back(self, error: MoongateError | OSError) -> None:
        """Go on by the plain road at this byte."""
        if isinstance(error, OSError):
            error = ChunksLost(f"chunks cannot be read: {error.strerror}")
        self._flow.close()
        self._connection.source.give_up(error)
        body = self._connection.open_plain(ByteSpan(self.position, self.position + self.remaining))
        skipped = memoryview(bytearray(_SKIP_BYTES))
        while body.position < self.position:  # a server without ranges starts at 0
            body.readinto(skipped[: min(_SKIP_BYTES, self.position - body.position)])
        self._plain = body


class _Following(Patience):
    """Waits for chunks that a fill brings, and says which are wanted next."""

    def __init__(self, connection: XetConnection, way: _Way, fill: XetFill) -> None:
        super().__init__(fill, fill.trouble_serial)
        self._connection = connection
        self._fill_wanted = fill
        self._way = way

    def before_wait(self, xorb: XetHash, chunk: int) -> None:
        self._connection.check()
        fill = self._fill_wanted
        fill.want(fill.range_of(Term(xorb, 0, chunk, chunk + 1)))
        fill.want_whole()


def _patience(connection: XetConnection, way: _Way) -> Callable[[XetHash, int], None]:
    if way.fill is not None:
        return _Following(connection, way, way.fill)

    def lost(xorb: XetHash, chunk: int) -> None:
        raise ChunksLost(f"chunk {chunk} of a xorb is not here")

    return lost
