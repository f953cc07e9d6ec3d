"""`AssembledBody`: the bytes of a proven Xet file, sent from its chunks as they lie, kept nowhere else.

    Assembler ── AssembledBody   one open file; batches are decoded ahead of the socket (`ahead`)
                    └── instead  what goes on in mid-file when chunks turn out to be lost

Nothing is hashed again: as with a blob, what was proven when it came is believed until `verify` looks.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Literal

from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.core.spans import ByteSpan
from moongate.hub.ahead import Decoding, Helpers
from moongate.hub.fill import FileBody
from moongate.store.index import ReconstructionRow
from moongate.store.pieces import Batch, Batches, FilePiece, Piece, cut, term_starts
from moongate.store.segments import Segments

_AHEAD = 3
_MOST_HELPERS = 4
_ROWS_KEPT = 64

Instead = Callable[[ByteSpan], Awaitable[FileBody]]
"""Opens the same file in another way, for what is left of it."""


class AssembledBody:
    """An open file. `pieces` is for one thread at a time; the rest for the event loop."""

    fd: Final = -1
    base: Final = 0
    outcome: Final[Literal["hit"]] = "hit"

    def __init__(
        self, row: ReconstructionRow, span: ByteSpan, assembler: Assembler, instead: Instead
    ) -> None:
        self.etag: Etag = row.etag
        self.size_bytes = row.size_bytes
        self._row = row
        self._wanted = span
        self._assembler = assembler
        self._instead = instead
        self._current: tuple[Batch, list[Piece]] | None = None
        self._flow: _Flow | None = None
        self._using = threading.Lock()
        self._closed = False
        self.warning = ""
        """What to tell the reader with the bytes; mostly nothing."""

    async def ready(self, position: int, end: int) -> int:
        """How many bytes from `position` on may be sent now: all of them."""
        return end - position

    def pieces(self, position: int, end: int) -> Iterator[list[Piece]]:
        """The bytes from `position` to `end`, batch by batch; each is good until the next is asked for.

        Whoever stopped in the middle comes back with the position that was reached. Blocks while chunks are
        read and decoded.

        Raises:
            ChunksLost, BadSegment: from the byte on of which that is so; `instead` has the rest.
        """
        with self._using:
            try:
                while position < end and not self._closed:
                    batch, pieces = self._at(position)
                    yield cut(pieces, position - batch.span.start, end - position)
                    position = batch.span.end
            finally:
                if self._closed:
                    self._let_go()

    def read(self, position: int, count: int) -> bytes:
        """A few bytes, read and decoded here; none when they are not all here."""
        found: list[bytes] = []
        try:
            for pieces in self.pieces(position, position + count):
                found += (_bytes(piece) for piece in pieces)
        except StoreError:
            return b""
        return b"".join(found)

    async def instead(self, span: ByteSpan) -> FileBody:
        """The same file in another way, for what is left of it; close that, too.

        Raises:
            MoongateError: as when a file is opened.
        """
        return await self._instead(span)

    def pause(self) -> None:
        """The reader does not keep up: keep in memory only what is being sent."""
        if self._flow is not None and self._using.acquire(blocking=False):
            self._flow.close()
            self._flow = None
            self._using.release()

    def close(self) -> None:
        """Done reading; a thread that still sends lets go when it ends. May be called twice."""
        self._closed = True
        if self._using.acquire(blocking=False):
            self._let_go()
            self._using.release()

    def _at(self, position: int) -> tuple[Batch, list[Piece]]:
        current = self._current
        if current is not None and current[0].span.start <= position < current[0].span.end:
            return current
        if current is not None:
            self._current = None
            current[0].close()
        if self._flow is None or self._flow.position != position or position >= self._flow.end:
            if self._flow is not None:
                self._flow.close()
            end = self._wanted.end if position < self._wanted.end else self.size_bytes
            batches = self._assembler.batches_of(self._row, ByteSpan(position, end))
            self._flow = _Flow(batches, position, end, self._assembler.helpers)
        self._current = self._flow.next()
        return self._current

    def _let_go(self) -> None:
        if self._flow is not None:
            self._flow.close()
            self._flow = None
        if self._current is not None:
            self._current[0].close()
            self._current = None


class _Flow:
    """Batches in order, decoded ahead. For one thread at a time."""

    def __init__(self, batches: Iterator[Batch], position: int, end: int, helpers: Helpers) -> None:
        self.position = position
        self.end = end
        """From here on there are no batches."""
        self._batches = batches
        self._helpers = helpers
        self._ahead: deque[Decoding] = deque()
        self._trouble: StoreError | None = None
        self._depth = 1

    def next(self) -> tuple[Batch, list[Piece]]:
        """The batch at `position`, and its pieces."""
        self._look_ahead()
        if not self._ahead:
            raise self._trouble or StoreError("a file ends early")
        self._lend_a_hand()
        decoding = self._ahead.popleft()
        try:
            pieces = decoding.pieces()
        except BaseException:
            decoding.give_up()
            raise
        batch = decoding.batch
        self.position = batch.span.end
        self._depth = min(self._depth + 1, _AHEAD)
        self._look_ahead()
        return batch, pieces

    def _lend_a_hand(self) -> None:
        """Decode what nobody has begun with, until the next batch is there."""
        for decoding in self._ahead:
            if self._ahead[0].is_done:
                return
            decoding.begin()

    def _look_ahead(self) -> None:
        """Have the next few decoded; but one alone when nothing of it was asked for yet."""
        while len(self._ahead) < self._depth and self._trouble is None:
            try:
                batch = next(self._batches, None)
            except StoreError as error:
                self._trouble = error
                return
            if batch is None:
                return
            self._ahead.append(Decoding(batch))
            if not batch.is_raw:
                self._helpers.offer(self._ahead[-1])

    def close(self) -> None:
        """Give up what was decoded ahead."""
        while self._ahead:
            self._ahead.popleft().give_up()


class Assembler:
    """Opens proven files; one per process."""

    def __init__(self, segments: Segments) -> None:
        self.batches = Batches(segments)
        self._starts: dict[str, tuple[ReconstructionRow, list[int]]] = {}
        self.helpers = Helpers(max(1, min(_MOST_HELPERS, (os.cpu_count() or 1) - 1)))

    def open(self, row: ReconstructionRow, span: ByteSpan, instead: Instead) -> AssembledBody:
        """A file of which `span` is wanted. `instead` opens it in another way should chunks be lost.

        Raises:
            ChunksLost, BadSegment: the first byte cannot be had.
        """
        if span:
            next(self.batches_of(row, ByteSpan(span.start, span.start + 1)))
        return AssembledBody(row, span, self, instead)

    def batches_of(self, row: ReconstructionRow, span: ByteSpan) -> Iterator[Batch]:
        """See `Batches.of`."""
        known = self._starts.get(row.file_id)
        if known is None or known[0] is not row:
            if len(self._starts) >= _ROWS_KEPT:
                self._starts.clear()
            known = self._starts[row.file_id] = row, term_starts(row)
        return self.batches.of(row, span, known[1])

    def close(self) -> None:
        self.helpers.close()


def _bytes(piece: Piece) -> bytes:
    if isinstance(piece, FilePiece):
        return os.pread(piece.fd, piece.size_bytes, piece.offset)
    return bytes(piece)
