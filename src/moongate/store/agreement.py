"""Whether what readers may have been given of a file's xorbs, proven or not, is what the whole file has.

A reader takes a fetch range from its beginning on: what lies behind a gap, nobody could make anything of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from moongate.store.index import KeptFetch, ReconstructionRow
from moongate.store.pieces import term_starts
from moongate.store.segments import Segment, Segments
from moongate.xet.decoding import decode_chunks
from moongate.xet.xorb import HEADER_BYTES, BadXorb, StoredChunk, read_header


def agrees(segments: Segments, row: ReconstructionRow, fd: int) -> bool:
    """Compare the chunks that are here, from the start of each fetch range, with the file open as `fd`."""
    try:
        return all(_range_agrees(segments, row, fetch, fd) for fetch in row.fetches)
    except (BadXorb, OSError):
        return False


def _range_agrees(segments: Segments, row: ReconstructionRow, fetch: KeptFetch, fd: int) -> bool:
    chunks = fetch.chunks
    places = {
        term.start: start
        for term, start in zip(row.terms, term_starts(row), strict=False)
        if term.xorb == fetch.xorb and chunks.first <= term.start < chunks.end
    }
    ends = {term.end for term in row.terms if term.xorb == fetch.xorb}
    place: int | None = None
    for number, chunk, stored in _in_order(segments, fetch):
        if number in ends:
            place = None
        place = places.get(number, place)
        if place is not None:
            raw = b"".join(decode_chunks(stored, [chunk], chunk.data_start))
            if os.pread(fd, len(raw), place) != raw:
                return False
            place += len(raw)
    return True


def _in_order(segments: Segments, fetch: KeptFetch) -> Iterator[tuple[int, StoredChunk, memoryview]]:
    """The chunks of a range up to the first that is not here: number, place in the segment, stored bytes."""
    chunks = fetch.chunks
    number = chunks.first
    for segment in segments.cover(fetch.xorb, chunks.first, chunks.end):
        if segment.first > number:
            return
        for found in _of_segment(segments, segment):
            if chunks.first <= found[0] < chunks.end:
                yield found
                number = found[0] + 1
        if number < min(segment.end, chunks.end):
            return


def _of_segment(segments: Segments, segment: Segment) -> Iterator[tuple[int, StoredChunk, memoryview]]:
    source = segments.open(segment)
    if source is None:
        return
    try:
        here, offset = min(os.fstat(source).st_size, segment.length), 0
        for number in range(segment.first, segment.end):
            header = os.pread(source, HEADER_BYTES, offset)
            if len(header) < HEADER_BYTES or (chunk := read_header(header, offset)).end > here:
                return
            yield number, chunk, memoryview(os.pread(source, chunk.stored_bytes, chunk.data_start))
            offset = chunk.end
    finally:
        os.close(source)
