"""One contract for what the index knows of uploaded xorbs, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.index import ChunkRun, Index
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import Term

ONE, OTHER, NAME = (XetHash(bytes([number]) * 32) for number in (1, 2, 3))
LEAVES = tuple((XetHash(bytes([0xC0 + number]) * 32), 100 + number) for number in range(5))
ETAG, FILE = Etag("e" * 64), "f" * 64


def chunks(first: int, end: int) -> ChunkRange:
    """Chunks of ten bytes each."""
    return ChunkRange(first, end, ByteSpan(10 * first, 10 * end))


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    where = f"sqlite:///{tmp_path}/index.sqlite3"
    if request.param == "postgresql":
        create: Callable[[], str] = request.getfixturevalue("postgres_database")
        where = create()
    with Index(where) as index:
        yield index


class TestChunks:
    def test_a_xorb_is_found_by_either_of_its_names(self, index: Index) -> None:
        index.put_chunks(ONE, NAME, ChunkRun(0, LEAVES))
        index.put_chunks(OTHER, NAME, ChunkRun(0, LEAVES))
        assert set(index.xorbs_named(NAME)) == {ONE, OTHER}
        assert index.xorbs_named(ONE) == [ONE]
        assert index.name_of_xorb(OTHER) == NAME
        assert index.name_of_xorb(NAME) == NAME
        assert index.chunk_runs(ONE) == [ChunkRun(0, LEAVES)]
        assert index.chunk_runs(NAME) == []

    def test_the_longer_of_two_runs_stays(self, index: Index) -> None:
        for run in (LEAVES[:3], LEAVES, LEAVES[:1]):
            index.put_chunks(ONE, ONE, ChunkRun(4, run))
        index.put_chunks(ONE, ONE, ChunkRun(0, LEAVES[:2]))
        assert index.chunk_runs(ONE) == [ChunkRun(0, LEAVES[:2]), ChunkRun(4, LEAVES)]

    def test_xorbs_are_asked_for_by_some_of_their_chunks(self, index: Index) -> None:
        index.put_chunks(ONE, NAME, ChunkRun(0, LEAVES), [LEAVES[0][0], LEAVES[2][0]])
        index.put_dedup(LEAVES[2][0], OTHER)
        index.put_dedup(LEAVES[2][0], OTHER)
        assert set(index.xorbs_with_chunk(LEAVES[2][0])) == {ONE, OTHER}
        assert index.xorbs_with_chunk(LEAVES[1][0]) == []
        index.drop_chunks(ONE)
        assert index.xorbs_with_chunk(LEAVES[2][0]) == [OTHER]
        assert index.xorbs_named(NAME) == []

    def test_they_have_their_pages(self, index: Index) -> None:
        for xorb in (OTHER, ONE):
            index.put_chunks(xorb, NAME, ChunkRun(0, LEAVES))
            index.put_chunks(xorb, NAME, ChunkRun(9, LEAVES))
        assert index.xorbs_after(b"", 1) == [ONE]
        assert index.xorbs_after(ONE, 5) == [OTHER]


class TestLeases:
    def test_a_lease_grows_and_ends(self, index: Index) -> None:
        index.lease_xorbs("alice", {ONE: [chunks(0, 2)]}, 10.0, 0.0)
        index.lease_xorbs("alice", {ONE: [chunks(4, 5), chunks(2, 3)], OTHER: [chunks(0, 1)]}, 5.0, 1.0)
        assert index.leased_chunks("alice", ONE, 9.0) == [chunks(0, 3), chunks(4, 5)]
        assert index.leased_chunks("alice", OTHER, 5.0) == []
        assert index.leased_chunks("bob", ONE, 1.0) == []
        index.lease_xorbs("alice", {ONE: [chunks(8, 9)]}, 20.0, 10.0)
        assert index.leased_chunks("alice", ONE, 11.0) == [chunks(8, 9)], "what ran out is not revived"

    def test_what_is_leased_is_needed(self, index: Index) -> None:
        index.lease_xorbs("alice", {ONE: [chunks(0, 2)]}, 10.0, 0.0)
        index.lease_xorbs("bob", {ONE: [chunks(4, 5)]}, 20.0, 0.0)
        index.put_reconstruction(FILE, ETAG, 9, [Term(ONE, 9, 1, 3)], {ONE: [chunks(1, 3)]}, 1.0)
        assert index.needed(ONE) == [chunks(0, 3), chunks(4, 5)]
        assert index.needed(ONE, without=[FILE]) == [chunks(0, 2), chunks(4, 5)]
        assert index.needed(ONE, verified_since=0.0) == []
        assert index.references(ONE) == [FILE]
        assert index.unreferenced([ONE, OTHER]) == [OTHER]
        assert index.prune_xorb_leases(10.0) == 1
        assert index.needed(ONE, without=[FILE]) == [chunks(4, 5)]

    def test_a_lease_is_handed_over(self, index: Index) -> None:
        index.lease_xorbs("grant", {ONE: [chunks(0, 2)]}, 10.0, 0.0)
        index.lease_xorbs("alice", {ONE: [chunks(4, 5)]}, 5.0, 0.0)
        assert not index.move_lease("grant", "alice", OTHER, 50.0, 1.0)
        assert not index.move_lease("grant", "alice", ONE, 50.0, 10.0), "it has run out"
        assert index.move_lease("grant", "alice", ONE, 50.0, 1.0)
        assert not index.move_lease("grant", "alice", ONE, 50.0, 1.0)
        assert index.leased_chunks("alice", ONE, 49.0) == [chunks(0, 2), chunks(4, 5)]


class TestProvenFiles:
    def test_it_is_proven_at_once(self, index: Index) -> None:
        index.put_proven(FILE, ETAG, 9, [Term(ONE, 9, 1, 3)], {ONE: [chunks(1, 3)]}, 4.0)
        row = index.get_reconstruction(FILE)
        assert row is not None
        assert (row.verified_at, row.noted_at, row.etag, row.size_bytes) == (4.0, 4.0, ETAG, 9)
        assert index.ranges_of(FILE) == {ONE: [chunks(1, 3)]}
        assert index.proven_etag(FILE) == ETAG
        index.mark_unverified(FILE)
        assert index.proven_etag(FILE) is None

    def test_of_two_ways_to_make_it_the_first_stays(self, index: Index) -> None:
        index.put_proven(FILE, ETAG, 9, [Term(ONE, 9, 1, 3)], {ONE: [chunks(1, 3)]}, 4.0)
        (before,) = index.xet_files_of(ETAG)
        index.put_proven(FILE, ETAG, 9, [Term(OTHER, 9, 0, 1)], {OTHER: [chunks(0, 1)]}, 5.0)
        assert index.ranges_of(FILE) == {ONE: [chunks(1, 3)]}
        assert not index.drop_reconstruction(before), "it was needed again since"

    def test_it_goes_before_what_was_not_proven(self, index: Index) -> None:
        index.put_reconstruction(
            FILE, Etag("d" * 64), 8, [Term(OTHER, 8, 0, 1)], {OTHER: [chunks(0, 1)]}, 1.0
        )
        index.put_proven(FILE, ETAG, 9, [Term(ONE, 9, 1, 3)], {ONE: [chunks(1, 3)]}, 4.0)
        assert index.proven_etag(FILE) == ETAG
        assert index.references(OTHER) == []
