"""One contract for the index, over SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileAt, FileEntry, RepoFacts
from moongate.store.index import Index, RefRow, StoredAnswer, TokenRow
from moongate.store.index.database import Prepared
from moongate.store.schema import KNOWN_VERSIONS, SCHEMA_VERSION, metadata

MODEL = RepoId("model", "acme/tiny")
OTHER = RepoId("model", "acme/other")
DATASET = RepoId("dataset", "acme/tiny")
FIRST, SECOND = CommitHash("1" * 40), CommitHash("2" * 40)
MAIN = Revision("main")


def etag(number: int) -> Etag:
    return Etag(f"{number:064x}")


def entry(path: str, number: int, size_bytes: int = 10) -> FileEntry:
    return FileEntry(RepoPath(path), etag(number), size_bytes)


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


def engine_url(where: str) -> str:
    return where.replace("postgresql:", "postgresql+psycopg:")


def test_every_statement_compiles(index: Index) -> None:
    """They are compiled when they are first run, and some of them seldom are."""
    statements = [kept for kept in vars(index).values() if isinstance(kept, Prepared)]
    assert len(statements) > 200
    assert all(statement.sql for statement in statements)


class TestOpening:
    def test_a_second_start_finds_what_the_first_one_kept(self, where: str) -> None:
        with Index(where) as first:
            assert first.was_created
            first.put_ref(MODEL, MAIN, FIRST, 1.0)
        with Index(where) as second:
            assert not second.was_created
            assert second.get_ref(MODEL, MAIN) == RefRow(FIRST, 1.0)

    def test_processes_that_start_together_all_get_an_index(self, where: str) -> None:
        program = (
            "import sys; from moongate.store.index import Index; sys.stdout.write('.'); sys.stdout.flush();"
            "sys.stdin.readline(); index = Index(sys.argv[1]); print(index.was_created); index.close()"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, where],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.read(1) == "."
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        results = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, results
        assert sorted(out.strip() for out, _ in results) == ["False"] * 3 + ["True"]

    def test_an_index_of_a_newer_program_is_refused_and_left_alone(self, where: str) -> None:
        Index(where).close()
        engine = create_engine(engine_url(where))
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(StoreError, match=r"newer Moongate.*9999.*upgrade"):
            Index(where)
        with engine.begin() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
        engine.dispose()

    def test_migrations_make_exactly_the_tables_that_the_code_describes(self, where: str) -> None:
        Index(where).close()
        engine = create_engine(engine_url(where))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
            assert context.get_current_revision() == SCHEMA_VERSION
        engine.dispose()
        assert SCHEMA_VERSION in KNOWN_VERSIONS

    def test_a_closed_index_says_so(self, where: str) -> None:
        index = Index(where)
        index.close()
        index.close()
        with pytest.raises(StoreError):
            index.get_ref(MODEL, MAIN)


class TestRefs:
    def test_the_last_answer_counts(self, index: Index) -> None:
        index.put_ref(MODEL, MAIN, FIRST, 1.0)
        index.put_ref(MODEL, MAIN, SECOND, 2.5)
        index.put_ref(MODEL, Revision("refs/pr/1"), FIRST, 3.0)
        index.put_ref(DATASET, MAIN, FIRST, 4.0)
        assert index.get_ref(MODEL, MAIN) == RefRow(SECOND, 2.5)
        assert index.get_ref(MODEL, Revision("dev")) is None
        assert list(index.refs_of(MODEL)) == ["main", "refs/pr/1"]
        index.drop_refs(MODEL)
        assert index.refs_of(MODEL) == {}
        assert index.get_ref(DATASET, MAIN) == RefRow(FIRST, 4.0)

    @pytest.mark.parametrize("private", [True, False, None])
    @pytest.mark.parametrize("gated", [True, False, None])
    def test_facts_keep_not_said_apart_from_no(
        self, index: Index, private: bool | None, gated: bool | None
    ) -> None:
        facts = RepoFacts(MODEL, private, gated, 7.0)
        index.put_facts(dataclasses.replace(facts, private=True, gated=True))
        index.put_facts(facts)
        assert index.get_facts(MODEL) == facts
        assert index.get_facts(OTHER) is None

    def test_a_repository_is_known_by_anything_about_it(self, index: Index) -> None:
        index.put_facts(RepoFacts(OTHER, None, None, 1.0))
        index.put_ref(DATASET, MAIN, FIRST, 1.0)
        index.put_files(MODEL, FIRST, [])
        assert index.repos() == sorted([OTHER, DATASET, MODEL])

    def test_renames_are_per_type(self, index: Index) -> None:
        index.put_rename("model", "acme/tiny", "acme/middle", 1.0)
        index.put_rename("model", "acme/tiny", "acme/small", 2.0)
        assert index.get_rename("model", "acme/tiny") == "acme/small"
        assert index.get_rename("dataset", "acme/tiny") is None


class TestAnswers:
    @pytest.mark.parametrize("size_bytes", [0, 4096, 4097, 300_000])
    def test_a_body_comes_back_as_it_was(self, index: Index, size_bytes: int) -> None:
        answer = StoredAnswer(200, {"Link": '<x>; rel="next"', "X": "ä\udc80"}, b"\x00\xff" * size_bytes, 3.5)
        index.put_answer("key", MODEL, answer)
        assert index.get_answer("key") == answer
        assert index.get_answer("other") is None

    def test_the_answers_of_one_commit_go_alone(self, index: Index) -> None:
        answer = StoredAnswer(200, {}, b"{}", 1.0)
        for key, repo in ((f"a:{FIRST}", MODEL), (f"b:{SECOND}", MODEL), (f"c:{FIRST}", OTHER)):
            index.put_answer(key, repo, answer)
        index.put_answer("whoami", None, answer)
        assert index.drop_answers(MODEL, FIRST) == 1
        assert index.get_answer(f"a:{FIRST}") is None
        assert index.get_answer(f"b:{SECOND}") == answer
        assert index.drop_answers(MODEL) == 1
        assert index.get_answer(f"c:{FIRST}") == answer
        index.drop_answer("whoami")
        assert index.get_answer("whoami") is None

    def test_answers_that_are_read_outlive_those_that_are_not(self, index: Index) -> None:
        answer = StoredAnswer(200, {}, b"{}", 10.0)
        for key in ("read", "noted", "idle"):
            index.put_answer(key, MODEL, answer)
        index.get_answer("read")
        index.note_answer_read("noted")
        index.flush_reads(1000.0)
        assert index.prune_answers(older_than=500.0) == 1
        assert index.get_answer("idle") is None
        assert index.get_answer("read") == index.get_answer("noted") == answer


class TestFiles:
    def test_a_listing_grows_until_it_is_complete(self, index: Index) -> None:
        index.put_files(MODEL, FIRST, [entry("b", 1)])
        assert not index.listing_complete(MODEL, FIRST)
        index.put_files(MODEL, FIRST, [entry("a/ä", 2), entry("b", 1)], complete=True)
        assert index.listing_complete(MODEL, FIRST)
        index.put_files(MODEL, FIRST, [entry("b", 1)])
        assert index.listing_complete(MODEL, FIRST)
        assert index.files_of(MODEL, FIRST) == [entry("a/ä", 2), entry("b", 1)]
        assert index.get_file(MODEL, FIRST, RepoPath("b")) == entry("b", 1)
        assert index.get_file(MODEL, SECOND, RepoPath("b")) is None
        assert index.get_file(DATASET, FIRST, RepoPath("b")) is None

    @pytest.mark.parametrize("count", [4999, 5000, 12_000])
    def test_a_long_listing_is_complete_after_its_last_file(self, index: Index, count: int) -> None:
        index.put_files(DATASET, FIRST, (entry(f"{n}.txt", n) for n in range(count)), complete=True)
        assert index.listing_complete(DATASET, FIRST)
        assert len(index.files_of(DATASET, FIRST)) == count

    def test_a_listing_that_breaks_off_is_not_complete(self, index: Index) -> None:
        def breaking() -> Iterator[FileEntry]:
            yield from (entry(f"{n}.txt", n) for n in range(7000))
            raise ConnectionError

        with pytest.raises(ConnectionError):
            index.put_files(DATASET, FIRST, breaking(), complete=True)
        assert not index.listing_complete(DATASET, FIRST)

    def test_a_listing_whose_commit_is_removed_meanwhile_is_not_complete(self, index: Index) -> None:
        def interrupted() -> Iterator[FileEntry]:
            yield from (entry(f"{n}.txt", n) for n in range(5000))
            yield entry("last.txt", 1)
            index.drop_repo(DATASET)

        index.put_files(DATASET, FIRST, interrupted(), complete=True)
        assert not index.listing_complete(DATASET, FIRST)

    def test_commits_and_places_of_a_content(self, index: Index) -> None:
        index.put_files(MODEL, SECOND, [entry("a", 1)])
        index.put_files(MODEL, FIRST, [entry("b", 1), entry("c", 2)])
        assert index.commits_of(MODEL) == [SECOND, FIRST]
        places = index.where_is(etag(1))
        assert set(places) == {
            FileAt(MODEL, SECOND, entry("a", 1)),
            FileAt(MODEL, FIRST, entry("b", 1)),
        }

    def test_what_no_database_takes_is_a_clear_error_and_leaves_nothing(self, index: Index) -> None:
        for bad in (
            entry("big", 2, 1 << 70),
            entry("half\udc80", 2),
        ):
            with pytest.raises(StoreError, match="cannot hold"):
                index.put_files(MODEL, FIRST, [entry("a", 1), bad])
        assert index.files_of(MODEL, FIRST) == []
        with pytest.raises(StoreError, match="cannot hold"):
            index.get_file(MODEL, FIRST, RepoPath("half\udc80"))


class TestBlobs:
    def test_sealing_touching_verifying(self, index: Index) -> None:
        index.put_blob(etag(1), 5, 10.0)
        index.register_blob(etag(2), 7, 3.0)
        index.touch_blobs({etag(1): 20.0, etag(2): 1.0, etag(9): 5.0})
        index.note_verified({etag(2): 30.0})
        first, second = index.blobs_after("", 10)
        assert (first.size_bytes, first.sealed_at, first.read_at, first.verified_at) == (5, 10.0, 20.0, 10.0)
        assert (second.sealed_at, second.read_at, second.verified_at) == (3.0, 3.0, 30.0)
        assert index.blob(etag(1)) == first
        assert index.blob(etag(9)) is None
        assert (index.blob_count(), index.total_bytes()) == (2, 12)
        assert index.blobs_after("", 10, verified_before=20.0) == [first]

    def test_an_empty_store_has_no_bytes(self, index: Index) -> None:
        assert (index.total_bytes(), index.unlisted_bytes(), index.usage_by_repo()) == (0, 0, [])

    def test_a_blob_sealed_again_is_not_dropped_by_an_older_removal(self, index: Index) -> None:
        index.put_blob(etag(1), 5, 10.0)
        row = index.blob(etag(1))
        assert row is not None
        index.put_blob(etag(1), 5, 10.000001)
        assert not index.drop_blob(row)
        assert index.drop_blob(etag(1))
        assert not index.drop_blob(etag(1))

    def test_candidates_come_in_the_order_of_the_policy_and_page_without_gaps(self, index: Index) -> None:
        for number, (size_bytes, sealed_at, read_at) in enumerate(
            [(50, 1.0, 9.0), (10, 2.0, 3.0), (70, 3.0, 3.0), (70, 4.0, 5.0), (0, 5.0, 5.5)]
        ):
            index.put_blob(etag(number), size_bytes, sealed_at)
            index.touch_blobs({etag(number): read_at})

        def order(policy: str) -> list[int]:
            numbers, last = [], None
            while page := index.eviction_candidates(2, policy, last):  # type: ignore[arg-type]
                numbers += [int(row.etag, 16) for row in page]
                last = page[-1]
            return numbers

        assert order("lru") == [1, 2, 3, 4, 0]
        assert order("fifo") == [0, 1, 2, 3, 4]
        assert order("largest") == [2, 3, 0, 1, 4]

    def test_a_pin_protects_what_its_commits_list_and_follows_a_branch(self, index: Index) -> None:
        index.put_files(MODEL, FIRST, [entry("a", 1), entry("b", 2)])
        index.put_files(MODEL, SECOND, [entry("a", 3)])
        index.put_files(DATASET, FIRST, [entry("a", 4)])
        for number in range(1, 6):
            index.put_blob(etag(number), 1, float(number))

        def evictable() -> list[int]:
            return [int(row.etag, 16) for row in index.eviction_candidates(10)]

        index.pin(MODEL, MAIN, 1.0)
        assert evictable() == [1, 2, 3, 4, 5]
        index.put_ref(MODEL, MAIN, FIRST, 1.0)
        assert evictable() == [3, 4, 5]
        index.put_ref(MODEL, MAIN, SECOND, 2.0)
        assert evictable() == [1, 2, 4, 5]
        index.pin(MODEL, Revision(FIRST), 2.0)
        assert evictable() == [4, 5]
        assert index.is_pinned(etag(1))
        assert not index.is_pinned(etag(4))
        index.pin(DATASET, None, 3.0)
        index.pin(DATASET, None, 4.0)
        assert evictable() == [5]
        assert [(pin.repo, pin.revision) for pin in index.pins()] == [
            (DATASET, None),
            (MODEL, FIRST),
            (MODEL, MAIN),
        ]
        assert index.unpin(DATASET, None)
        assert not index.unpin(DATASET, None)
        assert evictable() == [4, 5]

    def test_usage_tells_logical_stored_and_own_bytes(self, index: Index) -> None:
        index.put_files(MODEL, FIRST, [entry("a", 1, 100), entry("copy", 1, 100), entry("b", 2, 10)])
        index.put_files(MODEL, SECOND, [entry("a", 1, 100), entry("cold", 3, 7)])
        index.put_files(OTHER, FIRST, [entry("z", 2, 10)])
        index.put_files(DATASET, FIRST, [entry("cold", 3, 7)])
        index.put_blob(etag(1), 100, 5.0)
        index.put_blob(etag(2), 10, 6.0)
        index.put_blob(etag(8), 3, 7.0)
        index.touch_blobs({etag(2): 60.0})
        model, other = index.usage_by_repo()
        assert dataclasses.astuple(model)[1:] == (3, 210, 110, 100, 60.0)
        assert (model.repo, other.repo) == (MODEL, OTHER)
        assert dataclasses.astuple(other)[1:] == (1, 10, 10, 0, 60.0)
        assert index.unlisted_bytes() == 3


class TestRemoval:
    def test_contents_say_whether_a_listing_that_stays_has_them(self, index: Index) -> None:
        index.put_files(MODEL, FIRST, [entry("a", 1, 100), entry("b", 2, 10), entry("c", 4, 1)])
        index.put_files(MODEL, SECOND, [entry("a", 1, 100)])
        index.put_files(DATASET, FIRST, [entry("z", 2, 10)])

        def contents(commit_hash: CommitHash | None) -> dict[int, bool]:
            found, after = {}, ""
            while page := index.contents_of(MODEL, commit_hash, after, 2):
                found.update({int(content.etag, 16): content.shared for content in page})
                after = page[-1].etag
            return found

        assert contents(None) == {1: False, 2: True, 4: False}
        assert contents(FIRST) == {1: True, 2: True, 4: False}

    def test_a_repository_goes_whole_and_alone(self, index: Index) -> None:
        answer = StoredAnswer(200, {}, b"{}", 1.0)
        for repo in (MODEL, DATASET):
            index.put_ref(repo, MAIN, FIRST, 1.0)
            index.put_facts(RepoFacts(repo, False, False, 1.0))
            index.put_files(repo, FIRST, [entry("a", 1)], complete=True)
            index.put_answer(f"{repo}:{FIRST}", repo, answer)
            index.put_access("anonymous", repo, "files", 1.0)
        index.drop_repo(MODEL)
        assert index.repos() == [DATASET]
        assert index.get_answer(f"{MODEL}:{FIRST}") is None
        assert index.get_file(MODEL, FIRST, RepoPath("a")) is None
        assert index.get_access("anonymous", MODEL) is None
        assert index.get_answer(f"{DATASET}:{FIRST}") == answer
        assert index.listing_complete(DATASET, FIRST)
        assert index.get_access("anonymous", DATASET) is not None

    def test_a_commit_goes_with_the_refs_and_answers_that_name_it(self, index: Index) -> None:
        answer = StoredAnswer(200, {}, b"{}", 1.0)
        for commit_hash, revision in ((FIRST, MAIN), (SECOND, Revision("dev"))):
            index.put_ref(MODEL, revision, commit_hash, 1.0)
            index.put_files(MODEL, commit_hash, [entry("a", 1)])
            index.put_answer(f"info:{commit_hash}", MODEL, answer)
        index.drop_commit(MODEL, FIRST)
        assert index.commits_of(MODEL) == [SECOND]
        assert list(index.refs_of(MODEL)) == ["dev"]
        assert index.get_answer(f"info:{FIRST}") is None
        assert index.get_answer(f"info:{SECOND}") == answer


class TestPeople:
    def test_access_is_per_caller_and_repository(self, index: Index) -> None:
        index.put_access("upstream:x", MODEL, "none", 1.0)
        index.put_access("upstream:x", MODEL, "files", 2.0)
        index.put_access("upstream:y", MODEL, "metadata", 3.0)
        row = index.get_access("upstream:x", MODEL)
        assert row is not None
        assert (row.allowed, row.checked_at) == ("files", 2.0)
        assert index.get_access("upstream:x", DATASET) is None
        index.drop_access("upstream:x")
        assert index.get_access("upstream:x", MODEL) is None
        assert index.prune_access(older_than=3.0) == 0
        assert index.prune_access(older_than=3.5) == 1

    def test_grants(self, index: Index) -> None:
        index.grant("team", "acme/*")
        index.grant("team", "acme/*")
        assert [(grant.user, grant.repo_pattern) for grant in index.grants()] == [("team", "acme/*")]
        assert index.revoke_grant("team", "acme/*")
        assert not index.revoke_grant("team", "acme/*")

    def test_a_token_is_found_by_its_hash_until_and_after_it_is_revoked(self, index: Index) -> None:
        token = TokenRow("t1", "ab" * 32, "team", "write", 1.0, expires_at=50.0, note="CI")
        assert not index.any_token()
        index.put_token(token)
        assert index.token_by_sha256("ab" * 32) == token
        assert index.token_by_sha256("cd" * 32) is None
        assert index.any_token(now=49.0)
        assert not index.any_token(now=50.0)
        assert index.revoke_token("t1", 9.0)
        assert not index.revoke_token("t1", 10.0)
        assert index.tokens() == [dataclasses.replace(token, revoked_at=9.0)]
        assert not index.any_token()


class TestFailures:
    def test_the_newest_come_first_and_the_oldest_are_forgotten(self, index: Index) -> None:
        for number in range(1005):
            index.record_failure(etag(number), MODEL, RepoPath("a"), f"why {number} \0\udc80", float(number))
        newest = index.failures(limit=2)
        assert [failure.failed_at for failure in newest] == [1004.0, 1003.0]
        assert newest[0].why == "why 1004 \\0\\udc80"
        assert newest[0].repo == MODEL
        assert len(index.failures(limit=5000)) == 1000

    def test_wrong_bytes_that_were_sent_count_for_a_week(self, index: Index) -> None:
        day = 86_400.0
        assert not index.is_tainted(etag(1), now=0.0)
        index.taint(etag(1), now=0.0)
        index.taint(etag(2), now=0.0)
        index.taint(etag(2), now=day)
        assert index.is_tainted(etag(1), now=6.9 * day)
        assert not index.is_tainted(etag(1), now=7.1 * day)
        assert index.is_tainted(etag(2), now=7.1 * day)
        index.taint(etag(3), now=9 * day)
        assert not index.is_tainted(etag(1), now=0.0), "what is over is forgotten"
        assert index.is_tainted(etag(3), now=9 * day)


class TestLeases:
    def test_one_owner_until_it_runs_out_or_is_given_back(self, index: Index) -> None:
        assert index.try_lease("fill", "a", 10.0, now=100.0)
        assert not index.try_lease("fill", "b", 10.0, now=109.0)
        assert index.try_lease("fill", "a", 10.0, now=109.0)
        assert not index.try_lease("fill", "b", 10.0, now=118.0)
        assert index.try_lease("fill", "b", 10.0, now=119.0)
        index.release_lease("fill", "a")
        assert not index.try_lease("fill", "a", 10.0, now=120.0)
        index.release_lease("fill", "b")
        assert index.try_lease("fill", "a", 10.0, now=120.0)
        assert index.prune_leases(expired_before=200.0) == 1

    def test_of_many_threads_one_wins(self, index: Index) -> None:
        together = threading.Barrier(8)

        def run(number: int) -> bool:
            together.wait()
            return index.try_lease("fill", str(number), 10.0, now=1.0)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(run, range(8))) == 1


def test_threads_write_and_read_side_by_side(index: Index) -> None:
    def run(thread: int) -> int:
        for number in range(20):
            index.put_files(MODEL, FIRST, [entry(f"{n}", n) for n in range(30)])
            index.put_ref(MODEL, Revision(f"r{thread}.{number}"), FIRST, 1.0)
            index.touch_blobs({etag(n): float(number) for n in range(30)})
        return len(index.files_of(MODEL, FIRST))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(8))) == {30}
    assert len(index.refs_of(MODEL)) == 160


class TestPostgres:
    def test_connections_that_died_while_idle_are_replaced(
        self, postgres_database: Callable[[], str]
    ) -> None:
        url = postgres_database()
        with Index(url) as index:
            for act in (
                lambda: index.get_ref(MODEL, MAIN),
                lambda: index.put_ref(MODEL, MAIN, FIRST, 1.0),
                lambda: index.put_files(MODEL, FIRST, [entry("a", 1)]),
            ):
                with psycopg.connect(url, autocommit=True) as other:
                    other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                    )
                act()
            assert index.get_ref(MODEL, MAIN) == RefRow(FIRST, 1.0)
            assert index.listing_complete(MODEL, FIRST) is False

    def test_a_server_that_is_not_there_is_a_clear_error_without_the_password(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="cannot be used") as caught:
            Index(f"postgresql://user:s3cr3t@/name?host={tmp_path}")
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("where", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "no url", ""])
def test_other_urls_are_refused_in_words(where: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///path"):
        Index(where)
