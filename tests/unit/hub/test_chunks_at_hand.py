"""Ranges of proven files, found without waiting: what may be found, and what is let go of."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from moongate.core.callers import ANONYMOUS
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.double import HubDouble, LfsFile
from moongate.hub.chunks_at_hand import ChunksAtHand, HeldChunks
from moongate.store.index import ReconstructionRow
from support.xetting import XetHouse, file_at

MIB = 1 << 20
CONTENT = os.urandom(3 * MIB)


@pytest.fixture
def double(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/base", xet=True).commit({"model.bin": LfsFile(CONTENT)})
    with double.running():
        yield double


@pytest.fixture
def file(double: HubDouble) -> FileAt:
    commit = double.repo("acme/base").resolve("main")
    assert commit is not None
    xet_id = double.xet_file("acme/base", "model.bin").id
    return file_at("acme/base", commit.hash, "model.bin", CONTENT, xet_id)


@pytest.fixture
async def house(tmp_path: Path, double: HubDouble) -> AsyncIterator[XetHouse]:
    house = XetHouse(tmp_path / "home", double.url, [double.cdn_netloc, double.cas_netloc])
    yield house
    await house.close()


@pytest.fixture
async def row(house: XetHouse, file: FileAt) -> ReconstructionRow:
    """The file's row, once all of it is here and proven."""
    assert file.entry.xet_hash is not None
    await house.read_xet(file)
    assert await house.xets.finished(file.entry.xet_hash)
    row = house.index.get_reconstruction(file.entry.xet_hash)
    assert row is not None
    return row


def read(pieces: list[HeldChunks]) -> bytes:
    return b"".join(os.pread(one.handle.fd, one.size_bytes, one.offset) for one in pieces)


async def test_spans_of_a_proven_file_are_found_in_order(house: XetHouse, row: ReconstructionRow) -> None:
    chunks = ChunksAtHand(house.xets)
    assert chunks.proven(row.file_id) is not None
    fetch = row.fetches[0]
    span = fetch.chunks.span
    spans = [ByteSpan(span.end - 10, span.end), span, ByteSpan(span.start + 1, span.start + 2)]
    assert all(chunks.needs(row, fetch.xorb, one) for one in spans)
    assert not chunks.needs(row, fetch.xorb, ByteSpan(span.start, span.end + 1))
    taken = chunks.take(row, fetch.xorb, spans)
    assert taken is not None
    whole = read(taken[1])
    assert len(whole) == span.length
    assert (read(taken[0]), read(taken[2])) == (whole[-10:], whole[1:2])
    (handle,) = {id(one.handle): one.handle for some in taken for one in some}.values()
    assert handle.users == 3
    assert row.file_id in house.xets.take_reads()
    for one in (one for some in taken for one in some):
        one.handle.release()
    chunks.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle.fd)


async def test_what_is_not_proven_is_not_found(house: XetHouse, file: FileAt) -> None:
    row = await house.xets.reconstruction_of(file, ANONYMOUS)
    chunks = ChunksAtHand(house.xets)
    assert chunks.proven(row.file_id) is None
    assert chunks.proven("0" * 64) is None


async def test_what_is_not_all_here_is_not_found(house: XetHouse, row: ReconstructionRow) -> None:
    chunks = ChunksAtHand(house.xets)
    fetch = row.fetches[0]
    span = fetch.chunks.span
    spans = [ByteSpan(span.start, span.start + 1), ByteSpan(span.start, span.end)]
    (segment,) = house.segments.of(fetch.xorb)
    os.truncate(segment.path, segment.length - 1)
    assert chunks.take(row, fetch.xorb, spans) is None
    chunks.close()
    assert house.segments.remove(segment) == segment.length - 1, "nobody has it open"
    assert chunks.take(row, fetch.xorb, spans) is None
