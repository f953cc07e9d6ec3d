"""`FilePiece` and `Batch`: spans of a Xet file at rest as pieces to send, decoded only where they have to be.

    span of a file ── batches ──► Batch   some chunks in order, not read yet
                                    └── pieces ──► bytes in memory, or a `FilePiece`: bytes as they lie

A chunk that is stored raw is sent from its segment by the kernel; compressed ones are decoded many at a time,
so that several threads do not wait for each other. What a batch needs is opened when its pieces are asked
for, and stays open until it and its neighbours are closed.
"""

from __future__ import annotations

import os
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, TypeAlias

from moongate.core.spans import ByteSpan
from moongate.store.chunk_reader import BadSegment, ChunksLost
from moongate.store.index import ReconstructionRow
from moongate.store.segments import Segment, Segments
from moongate.xet.compiled import MOST_CHUNKS
from moongate.xet.decoding import Decoder, new_decoder, retire
from moongate.xet.hashes import XetHash
from moongate.xet.loops import ROOM_BYTES
from moongate.xet.xorb import HEADER_BYTES, ROW_WORDS, BadXorb, Scheme, read_header

_DECODED_BYTES = 1 << 20
_RAW_BYTES = 8 << 20
_MAPS_KEPT = 256
_MOST_RAW_CHUNKS = 256
_LEAST_RAW_CHUNKS = 4
"""Fewer in a row are read together with their neighbours."""


class FilePiece(NamedTuple):
    """Bytes of an open file, to be sent as they are."""

    fd: int
    offset: int
    size_bytes: int


Piece: TypeAlias = FilePiece | memoryview


class _Map(NamedTuple):
    """Where the chunks of a segment lie in its file, and where their raw bytes begin among those of all.

    `rows` as `xorb.rows_of` has them: what is done for each of a million chunks adds up.
    """

    inode: int
    rows: array[int]
    raw_starts: tuple[int, ...]

    def stored_bytes(self, at: int, until: int) -> int:
        """How long these chunks are in the file, but for the first one's header."""
        last = (until - 1) * ROW_WORDS
        return self.rows[last] + self.rows[last + 1] - self.rows[at * ROW_WORDS]

    def raw_until(self, at: int, end: int) -> int:
        """The end of the chunks from `at` on that are stored raw."""
        while at < end and self.rows[at * ROW_WORDS + 2] == Scheme.NONE:
            at += 1
        return at


class _Part(NamedTuple):
    """Chunks `low` to `high` of a segment; what its map counts from 0 is at `shift` more in the file."""

    segment: Segment
    known: _Map
    low: int
    high: int
    shift: int


class _Run(NamedTuple):
    """Neighbours in one segment."""

    file: _Opened
    rows: array[int]


class _Opened:
    """A segment's file, opened when first read; closed when none of its holders is left. For any thread.

    Opening it for each batch would cost a twelfth of all that a reader waits for.
    """

    def __init__(self, segments: Segments, segment: Segment) -> None:
        """Whoever makes it is the first to hold it."""
        self._segments = segments
        self._segment = segment
        self._fd = -1
        self._holders = 1
        self._lock = threading.Lock()

    def fd(self) -> int:
        """For whoever holds it.

        Raises:
            ChunksLost: it is not here any more.
        """
        with self._lock:
            if self._fd < 0:
                self._fd = _opened(self._segments, self._segment)
            return self._fd

    def hold(self) -> None:
        with self._lock:
            self._holders += 1

    def let_go(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders and self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


@dataclass(slots=True)
class Batch:
    """The bytes `span` of a file. The run begins with `skip_bytes` that belong before it."""

    batches: Batches
    span: ByteSpan
    run: _Run
    skip_bytes: int
    is_raw: bool
    _closed: bool = False
    _decoder: Decoder | None = None

    def pieces(self) -> list[Piece]:
        """Everything in order; reads and decodes what is compressed. Stays good until `close`.

        Raises:
            ChunksLost, BadSegment: it is not all here, or its bytes are no chunks.
        """
        run, fd = self.run, self.run.file.fd()
        pieces: list[Piece]
        if self.is_raw:
            spans = zip(run.rows[::ROW_WORDS], run.rows[1::ROW_WORDS], strict=True)
            pieces = [FilePiece(fd, start, length) for start, length in spans]
        else:
            self._decoder = new_decoder()
            pieces = [*_decoded(fd, run, self._decoder)]
        return cut(pieces, self.skip_bytes, self.span.length)

    def close(self) -> None:
        """Let go of file and memory: its pieces are good no more. May be called twice."""
        if not self._closed:
            self._closed = True
            self.run.file.let_go()
        if self._decoder is not None:
            retire(self._decoder)
            self._decoder = None


class Batches:
    """Cuts files at rest into batches; remembers where chunks lie. For any thread."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        self._maps: OrderedDict[str, _Map] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, row: ReconstructionRow, span: ByteSpan, starts: Sequence[int] = ()) -> Iterator[Batch]:
        """The bytes `span` of a file, in order. `starts`: where its terms begin, when that is known already.

        Raises:
            ChunksLost, BadSegment: from the batch on of which that is so.
        """
        starts = starts or term_starts(row)
        position = span.start
        for at in range(max(0, bisect_right(starts, position) - 1), len(row.terms)):
            if position >= span.end:
                return
            term = row.terms[at]
            for part in self._within(term.xorb, term.start, term.end, starts[at]):
                for batch in self._cut(part, ByteSpan(position, span.end)):
                    position = batch.span.end
                    yield batch
            if position < min(starts[at] + term.unpacked_bytes, span.end):
                raise BadSegment("a term has another length than its chunks")
        if position < span.end:
            raise BadSegment("a reconstruction is shorter than its file")

    def _within(self, xorb: XetHash, first: int, end: int, start: int) -> Iterator[_Part]:
        """These chunks, whose raw bytes begin at `start` of the file, by segment."""
        for segment in self.segments.cover(xorb, first, end):
            if segment.first > first:
                break
            known = self._map(segment)
            low, high = first - segment.first, min(end, segment.end) - segment.first
            shift = start - known.raw_starts[low]
            yield _Part(segment, known, low, high, shift)
            start = known.raw_starts[high] + shift
            first = segment.first + high
        if first < end:
            raise ChunksLost(f"chunk {first} of a xorb is not here")

    def _cut(self, part: _Part, wanted: ByteSpan) -> Iterator[Batch]:
        raw_starts, start, end = part.known.raw_starts, wanted.start - part.shift, wanted.end - part.shift
        if raw_starts[part.high] <= start:
            return
        file = _Opened(self.segments, part.segment)
        try:
            yield from self._batches(part, file, start, end)
        finally:
            file.let_go()

    def _batches(self, part: _Part, file: _Opened, start: int, end: int) -> Iterator[Batch]:
        """Those of the raw bytes from `start` to `end`, counted as the part's map does."""
        known, raw_starts, shift = part.known, part.known.raw_starts, part.shift
        at = max(part.low, bisect_right(raw_starts, start, part.low, part.high) - 1)
        while at < part.high and raw_starts[at] < end:
            until = known.raw_until(at, min(part.high, at + _MOST_RAW_CHUNKS))
            is_raw = until == part.high or until - at >= _LEAST_RAW_CHUNKS
            most = until if is_raw else min(part.high, at + MOST_CHUNKS)
            limit = min(end, raw_starts[at] + (_RAW_BYTES if is_raw else _DECODED_BYTES))
            until = bisect_left(raw_starts, limit, at + 1, most)
            while not is_raw and known.stored_bytes(at, until) > ROOM_BYTES:
                until -= 1
            begin = max(raw_starts[at], start)
            span = ByteSpan(begin + shift, min(raw_starts[until], end) + shift)
            if span:
                file.hold()
                run = _Run(file, known.rows[at * ROW_WORDS : until * ROW_WORDS])
                yield Batch(self, span, run, begin - raw_starts[at], is_raw)
            at = until

    def _map(self, segment: Segment) -> _Map:
        """Where the chunks of a complete segment lie."""
        try:
            status = Path(segment.path).stat()
        except FileNotFoundError:
            raise _lost(segment) from None
        if status.st_size < segment.length:
            raise _lost(segment)
        known = self._maps.get(segment.path)
        if known is not None and known.inode == status.st_ino:
            return known
        known = _mapped(self.segments, segment, status.st_ino)
        with self._lock:
            self._maps[segment.path] = known
            while len(self._maps) > _MAPS_KEPT:
                self._maps.popitem(last=False)
        return known


def term_starts(row: ReconstructionRow) -> list[int]:
    """Where the terms of a file begin in it, and where the last one ends."""
    return list(accumulate((term.unpacked_bytes for term in row.terms), initial=0))


def cut(pieces: Sequence[Piece], skip_bytes: int, count: int) -> list[Piece]:
    """`count` bytes of pieces that follow one another, but for the first `skip_bytes`."""
    kept: list[Piece] = []
    for piece in pieces:
        length = piece.size_bytes if isinstance(piece, FilePiece) else len(piece)
        if skip_bytes >= length:
            skip_bytes -= length
            continue
        taken = min(length - skip_bytes, count)
        if taken == length:
            kept.append(piece)
        elif isinstance(piece, FilePiece):
            kept.append(FilePiece(piece.fd, piece.offset + skip_bytes, taken))
        else:
            kept.append(piece[skip_bytes : skip_bytes + taken])
        skip_bytes, count = 0, count - taken
        if not count:
            break
    return kept


def _decoded(fd: int, run: _Run, decoder: Decoder) -> Sequence[memoryview]:
    start, end = run.rows[0], run.rows[-ROW_WORDS] + run.rows[1 - ROW_WORDS]
    try:
        if os.preadv(fd, [decoder.stored[: end - start]], start) < end - start:
            raise BadSegment("it is shorter than it should be")
        return decoder.decode_rows(run.rows, start)
    except OSError as error:
        raise BadSegment(f"cannot be read at byte {start}: {error.strerror}") from error
    except BadXorb as error:
        raise BadSegment(error.message) from error


def _opened(segments: Segments, segment: Segment) -> int:
    fd = segments.open(segment)
    if fd is None:
        raise _lost(segment)
    if os.fstat(fd).st_size < segment.length:
        os.close(fd)
        raise _lost(segment)
    return fd


def _mapped(segments: Segments, segment: Segment, inode: int) -> _Map:
    fd = _opened(segments, segment)
    try:
        rows, at = array("I"), 0
        for _ in range(segment.end - segment.first):
            chunk = read_header(os.pread(fd, HEADER_BYTES, at), at)
            rows.extend(chunk)
            at = chunk.end
    except OSError as error:
        raise BadSegment(f"cannot be read: {error.strerror}") from error
    except BadXorb as error:
        raise BadSegment(error.message) from error
    finally:
        os.close(fd)
    if at != segment.length:
        raise BadSegment(f"its bytes are not the {segment.end - segment.first} chunks of its name")
    return _Map(inode, rows, tuple(accumulate(rows[ROW_WORDS - 1 :: ROW_WORDS], initial=0)))


def _lost(segment: Segment) -> ChunksLost:
    return ChunksLost(f"chunk {segment.first} of a xorb is not here")


def read_span(batches: Batches, row: ReconstructionRow, span: ByteSpan) -> bytes:
    """The bytes of a span of a file at rest, fewer where the file ends.

    Raises:
        ChunksLost, BadSegment: they are not all here.
    """
    end = min(span.end, row.size_bytes)
    found = bytearray()
    if span.start >= end:
        return b""
    for batch in batches.of(row, ByteSpan(span.start, end)):
        try:
            for piece in batch.pieces():
                found += _bytes_of(piece)
        finally:
            batch.close()
    return bytes(found)


def _bytes_of(piece: Piece) -> bytes | memoryview:
    return os.pread(piece.fd, piece.size_bytes, piece.offset) if isinstance(piece, FilePiece) else piece
