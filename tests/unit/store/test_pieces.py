"""Files at rest in batches: the same bytes from anywhere to anywhere, and no file left open."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from moongate.core.spans import ByteSpan
from moongate.store import pieces
from moongate.store.chunk_reader import ChunksLost
from moongate.store.index import ReconstructionRow
from moongate.store.pieces import Batches, FilePiece
from moongate.store.segments import Segment, Segments
from moongate.xet.hashes import chunk_hash, xorb_hash
from moongate.xet.xorb import encode_chunk, layout_of, read_headers
from store_house import House
from support.xorbs import Xorb, make_xorb, xet_content

XORBS = [make_xorb(number, chunks=30) for number in (1, 2)]
FILE = xet_content(XORBS, [(0, 0, 30), (1, 3, 20), (0, 5, 9)])


class Opens(Segments):
    """Counts."""

    count = 0

    def open(self, segment: Segment) -> int | None:
        self.count += 1
        return super().open(segment)


@pytest.fixture
def row(house: House, monkeypatch: pytest.MonkeyPatch) -> ReconstructionRow:
    monkeypatch.setattr(pieces, "_DECODED_BYTES", 300)
    house.put_xet(XORBS, FILE)
    found = house.index.get_reconstruction(FILE.file_id)
    assert found is not None
    return found


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_span_is_what_the_file_has_there(house: House, row: ReconstructionRow) -> None:
    batches, dice = Batches(house.segments), random.Random(3)
    pieces.read_span(batches, row, ByteSpan(0, row.size_bytes))  # what unpacks chunks may open a file itself
    before = descriptors()
    for _ in range(60):
        start = dice.randrange(len(FILE.content))
        span = ByteSpan(start, dice.randrange(start, len(FILE.content)) + 1)
        assert pieces.read_span(batches, row, span) == FILE.content[span.start : span.end]
    assert descriptors() == before


def test_thousands_of_tiny_chunks_are_read(house: House) -> None:
    raw = tuple(b"%d" % (number % 7) * 90 for number in range(5000))
    data = b"".join(encode_chunk(one, "lz4") for one in raw)
    leaves = tuple((chunk_hash(one), len(one)) for one in raw)
    layout = layout_of(read_headers(memoryview(data)))
    xorbs = [Xorb(xorb_hash(leaves), data, raw, leaves, layout)]
    file = xet_content(xorbs, [(0, 0, len(raw))])
    house.put_xet(xorbs, file)
    row = house.index.get_reconstruction(file.file_id)
    assert row is not None
    assert pieces.read_span(Batches(house.segments), row, ByteSpan(0, row.size_bytes)) == file.content


def test_neighbours_share_a_file_that_closes_with_the_last_of_them(
    house: House, row: ReconstructionRow
) -> None:
    segments = Opens(house.layout)
    batches = Batches(segments)
    pieces.read_span(batches, row, ByteSpan(0, row.size_bytes))  # now it is known where chunks lie
    before, segments.count = descriptors(), 0
    read = batches.of(row, ByteSpan(0, XORBS[0].layout.raw_bytes(0, 30)))
    some = list(read)
    assert len(some) > 4
    found = b""
    for batch in some:
        for piece in batch.pieces():
            found += _bytes(piece)
    assert found == b"".join(XORBS[0].raw)
    assert (segments.count, descriptors()) == (1, before + 1)
    for batch in some[1:]:
        batch.close()
        batch.close()
    assert descriptors() == before + 1
    some[0].close()
    assert descriptors() == before


def test_a_read_that_is_given_up_leaves_nothing_open(house: House, row: ReconstructionRow) -> None:
    before = descriptors()
    read = Batches(house.segments).of(row, ByteSpan(0, row.size_bytes))
    first, second = next(read), next(read)
    first.pieces()
    first.close()
    second.close()
    read.close()  # type: ignore[attr-defined]
    assert descriptors() == before


def test_a_segment_that_went_meanwhile_is_lost(house: House, row: ReconstructionRow) -> None:
    first = next(Batches(house.segments).of(row, ByteSpan(0, row.size_bytes)))
    for segment in house.segments.of(XORBS[0].hash):
        house.segments.remove(segment)
    with pytest.raises(ChunksLost):
        first.pieces()
    first.close()


def _bytes(piece: pieces.Piece) -> bytes:
    if isinstance(piece, FilePiece):
        return os.pread(piece.fd, piece.size_bytes, piece.offset)
    return bytes(piece)
