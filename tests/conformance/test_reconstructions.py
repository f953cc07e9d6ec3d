"""One contract for what the index knows of Xet files, over SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.core.spans import ByteSpan
from moongate.store import migrations
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.index import Index
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import Term

MODEL, OTHER = RepoId("model", "acme/tiny"), RepoId("model", "acme/other")
FIRST = CommitHash("1" * 40)
XORBS = [XetHash(bytes([number]) * 32) for number in range(1, 5)]


def etag(number: int) -> Etag:
    return Etag(f"{number:064x}")


def file_id(number: int) -> str:
    return f"{0xF00 + number:064x}"


def chunks(first: int, end: int) -> ChunkRange:
    """Chunks of ten bytes each."""
    return ChunkRange(first, end, ByteSpan(10 * first, 10 * end))


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/index.sqlite3"
    create: Callable[[], str] = request.getfixturevalue("postgres_database")
    return create()


@pytest.fixture
def index(where: str) -> Iterator[Index]:
    with Index(where) as index:
        yield index


def put(index: Index, number: int, needs: dict[XetHash, list[ChunkRange]], now: float = 1.0) -> bool:
    terms = [Term(xorb, 7, one.first, one.end) for xorb, ranges in needs.items() for one in ranges]
    size_bytes = sum(10 * (term.end - term.start) for term in terms)
    return index.put_reconstruction(file_id(number), etag(number), size_bytes, terms, needs, now)


class TestListings:
    def test_files_carry_their_xet_id(self, index: Index) -> None:
        entries = [
            FileEntry(RepoPath("a"), etag(1), 10, "ab" * 32),
            FileEntry(RepoPath("b"), etag(2), 20),
        ]
        index.put_files(MODEL, FIRST, entries)
        assert index.files_of(MODEL, FIRST) == entries
        assert [index.get_file(MODEL, FIRST, entry.path) for entry in entries] == entries
        assert index.where_is(etag(1))[0].entry == entries[0]

    def test_a_xet_id_stays_when_the_same_content_is_told_without_one(self, index: Index) -> None:
        index.put_files(MODEL, FIRST, [FileEntry(RepoPath("a"), etag(1), 10, "ab" * 32)])
        index.put_files(MODEL, FIRST, [FileEntry(RepoPath("a"), etag(1), 10)])
        file = index.get_file(MODEL, FIRST, RepoPath("a"))
        assert file is not None
        assert file.xet_hash == "ab" * 32
        index.put_files(MODEL, FIRST, [FileEntry(RepoPath("a"), etag(1), 10, "cd" * 32)])
        index.put_files(MODEL, FIRST, [FileEntry(RepoPath("b"), etag(1), 10, "cd" * 32)])
        index.put_files(MODEL, FIRST, [FileEntry(RepoPath("b"), etag(2), 10)])
        assert [entry.xet_hash for entry in index.files_of(MODEL, FIRST)] == ["cd" * 32, None]


class TestOneFile:
    def test_terms_and_fetches_come_back_as_they_were_told(self, index: Index) -> None:
        terms = [Term(XORBS[1], 70_000, 3, 5), Term(XORBS[0], 1, 0, 1), Term(XORBS[1], 9, 4, 6)]
        fetches = {XORBS[1]: [chunks(5, 6), chunks(3, 5)], XORBS[0]: [chunks(0, 1)]}
        assert index.put_reconstruction(file_id(1), etag(1), 70_010, terms, fetches, 5.0)
        row = index.get_reconstruction(file_id(1))
        assert row is not None
        assert (row.file_id, row.etag, row.size_bytes) == (file_id(1), etag(1), 70_010)
        assert list(row.terms) == terms
        assert [(fetch.xorb, fetch.chunks) for fetch in row.fetches] == [
            (XORBS[1], chunks(5, 6)),
            (XORBS[1], chunks(3, 5)),
            (XORBS[0], chunks(0, 1)),
        ]
        assert (row.noted_at, row.verified_at, row.read_at, row.verified) == (5.0, None, 5.0, False)
        assert index.ranges_of(file_id(1)) == {XORBS[0]: [chunks(0, 1)], XORBS[1]: [chunks(3, 6)]}
        assert index.get_reconstruction(file_id(2)) is None
        assert index.ranges_of(file_id(2)) == {}

    def test_an_empty_file_needs_nothing(self, index: Index) -> None:
        assert put(index, 1, {})
        row = index.get_reconstruction(file_id(1))
        assert row is not None
        assert (row.terms, row.fetches, row.size_bytes) == ((), (), 0)

    def test_what_upstream_says_later_replaces_it_until_it_is_verified(self, index: Index) -> None:
        put(index, 1, {XORBS[0]: [chunks(0, 4)]}, 1.0)
        assert put(index, 1, {XORBS[1]: [chunks(0, 2)]}, 2.0)
        assert index.ranges_of(file_id(1)) == {XORBS[1]: [chunks(0, 2)]}
        assert index.mark_verified(file_id(1), etag(1), 3.0)
        assert not put(index, 1, {XORBS[2]: [chunks(0, 9)]}, 4.0)
        row = index.get_reconstruction(file_id(1))
        assert row is not None
        assert (row.noted_at, row.verified_at, row.terms[0].xorb) == (2.0, 3.0, XORBS[1])
        assert index.references(XORBS[2]) == []

    def test_only_the_row_that_was_proven_is_marked(self, index: Index) -> None:
        assert not index.mark_verified(file_id(1), etag(1), 3.0)
        put(index, 1, {XORBS[0]: [chunks(0, 4)]}, 1.0)
        index.drop_reconstruction(file_id(1))
        put(index, 1, {XORBS[0]: [chunks(0, 4)]}, 2.0)
        assert not index.mark_verified(file_id(1), etag(1), 3.0, noted_at=1.0)
        assert index.mark_verified(file_id(1), etag(1), 3.0, noted_at=2.0)
        assert index.mark_unverified(file_id(1))
        row = index.get_reconstruction(file_id(1))
        assert row is not None
        assert not row.verified

    def test_a_row_that_was_put_since_it_was_read_is_not_dropped(self, index: Index) -> None:
        put(index, 1, {XORBS[0]: [chunks(0, 4)]}, 1.0)
        (before,) = index.xet_files_of(etag(1))
        put(index, 1, {XORBS[0]: [chunks(0, 4)]}, 2.0)
        assert not index.drop_reconstruction(before)
        assert index.references(XORBS[0]) == [file_id(1)]
        (now,) = index.xet_files_of(etag(1))
        assert index.drop_reconstruction(now)
        assert not index.drop_reconstruction(now)
        assert index.references(XORBS[0]) == []
        assert index.get_reconstruction(file_id(1)) is None

    def test_of_two_claims_to_a_content_the_proven_one_is_told(self, index: Index) -> None:
        for number in (1, 2):
            index.put_reconstruction(file_id(number), etag(9), 1, [], {}, 1.0)
        assert index.mark_verified(file_id(2), etag(9), 2.0)
        told = index.by_etag(etag(9))
        assert told is not None
        assert told.file_id == file_id(2)
        assert [row.file_id for row in index.xet_files_of(etag(9))] == [file_id(1), file_id(2)]
        assert index.by_etag(etag(8)) is None

    def test_reads_are_noted_and_never_backwards(self, index: Index) -> None:
        put(index, 1, {}, 5.0)
        index.touch_reconstructions({file_id(1): 9.0, file_id(2): 9.0})
        index.touch_reconstructions({file_id(1): 7.0})
        row = index.get_reconstruction(file_id(1))
        assert row is not None
        assert row.read_at == 9.0


class TestNeeds:
    def test_a_xorb_knows_who_needs_which_of_its_chunks(self, index: Index) -> None:
        put(index, 1, {XORBS[0]: [chunks(0, 4)], XORBS[1]: [chunks(0, 1)]})
        put(index, 2, {XORBS[0]: [chunks(2, 6), chunks(8, 9)]})
        index.mark_verified(file_id(2), etag(2), 5.0)
        assert index.references(XORBS[0]) == [file_id(1), file_id(2)]
        assert index.unreferenced(XORBS) == XORBS[2:]
        assert index.needed(XORBS[0]) == [chunks(0, 6), chunks(8, 9)]
        assert index.needed(XORBS[0], without=[file_id(2)]) == [chunks(0, 4)]
        assert index.needed(XORBS[0], verified_since=5.0) == [chunks(2, 6), chunks(8, 9)]
        assert index.needed(XORBS[0], verified_since=5.5) == []
        assert index.needed(XORBS[3]) == []


class TestWalks:
    def test_candidates_come_in_the_order_of_the_policy_without_what_is_pinned(self, index: Index) -> None:
        for number, (length, noted_at, read_at) in enumerate([(5, 1.0, 9.0), (9, 2.0, 7.0), (7, 3.0, 8.0)]):
            put(index, number, {XORBS[number]: [chunks(0, length)]}, noted_at)
            index.touch_reconstructions({file_id(number): read_at})

        def order(policy: str) -> list[int]:
            numbers, last = [], None
            while page := index.xet_candidates(2, policy, last):  # type: ignore[arg-type]
                numbers += [int(row.etag, 16) for row in page]
                last = page[-1]
            return numbers

        assert order("lru") == [1, 2, 0]
        assert order("fifo") == [0, 1, 2]
        assert order("largest") == [1, 2, 0]
        index.put_files(MODEL, FIRST, [FileEntry(RepoPath("a"), etag(1), 90)])
        index.pin(MODEL, None, 1.0)
        assert order("lru") == [2, 0]

    def test_verified_and_unproven_files_have_their_pages(self, index: Index) -> None:
        for number in range(5):
            put(index, number, {}, float(number))
        for number in (1, 3):
            index.mark_verified(file_id(number), etag(number), 10.0 + number)
        assert [row.file_id for row in index.xet_files_after("", 9)] == [file_id(1), file_id(3)]
        assert [row.file_id for row in index.xet_files_after(file_id(1), 9)] == [file_id(3)]
        assert [row.file_id for row in index.xet_files_after("", 9, verified_before=12.0)] == [file_id(1)]
        assert [row.file_id for row in index.unproven_after("", 9, 3.0)] == [file_id(0), file_id(2)]
        assert [row.file_id for row in index.unproven_after("", 1, 3.0)] == [file_id(0)]


def test_an_index_of_version_0001_is_upgraded_in_place(where: str) -> None:
    engine = create_engine(where.replace("postgresql:", "postgresql+psycopg:"))
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text("INSERT INTO commits (repo, commit_hash, complete) VALUES ('models/acme/tiny', :hash, 1)"),
            {"hash": FIRST},
        )
        connection.execute(
            text("INSERT INTO files SELECT commit_number, 'a', :etag, 10 FROM commits"), {"etag": etag(1)}
        )
    engine.dispose()
    for _ in range(2):
        with Index(where) as index:
            assert not index.was_created
            assert index.files_of(MODEL, FIRST) == [FileEntry(RepoPath("a"), etag(1), 10)]
            assert index.listing_complete(MODEL, FIRST)
            put(index, 1, {XORBS[0]: [chunks(0, 1)]})
            assert [dataclasses.astuple(row)[0] for row in index.xet_files_of(etag(1))] == [file_id(1)]
