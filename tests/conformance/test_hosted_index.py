"""One contract for the index of hosted repositories, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import Conflict, RefMoved, RepoAbsent
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileEntry
from moongate.store.index import (
    DiscussionRow,
    GitObjectRow,
    HostedBlob,
    HostedRow,
    Index,
    Landing,
    RefUpdate,
    UploadPart,
)

REPO = RepoId("model", "Acme/Tiny")
OTHER = RepoId("model", "acme/other")
MAIN = "refs/heads/main"
FIRST, SECOND, THIRD = (CommitHash(digit * 40) for digit in "123")


def etag(number: int) -> Etag:
    return Etag(f"{number:064x}")


def commit(oid: str, body: bytes = b"a commit") -> GitObjectRow:
    return GitObjectRow(oid, "commit", body)


def blob(number: int) -> HostedBlob:
    return HostedBlob(f"{number:040x}", etag(number), number)


def to(target: CommitHash, old: str | None = None, name: str = MAIN) -> RefUpdate:
    return RefUpdate(name, old, target, target)


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    if request.param == "sqlite":
        where = f"sqlite:///{tmp_path}/index.sqlite3"
    else:
        create: Callable[[], str] = request.getfixturevalue("postgres_database")
        where = create()
    with Index(where) as index:
        yield index


@pytest.fixture
def row(index: Index) -> HostedRow:
    made = index.begin_hosted(
        REPO, False, "alice", {"sdk": "static"}, Landing([to(FIRST)], [commit(FIRST)]), 5.0
    )
    assert made is not None
    return made


class TestRepositories:
    def test_one_is_made_once_whatever_the_case_of_its_name(self, index: Index, row: HostedRow) -> None:
        assert row.settings == {"sdk": "static"}
        again = RepoId("model", "acme/tiny")
        assert index.begin_hosted(again, True, "bob", {}, Landing([to(FIRST)], [commit(FIRST)]), 6.0) is None
        assert index.get_hosted(again) == row == index.get_hosted_number(row.number)
        assert [one.repo for one in index.hosted_repos("ACME")] == [REPO]

    def test_what_cannot_land_makes_no_repository(self, index: Index) -> None:
        with pytest.raises(Conflict):
            index.begin_hosted(OTHER, False, "alice", {}, Landing([to(FIRST)]), 1.0)
        assert index.get_hosted(OTHER) is None

    def test_settings_and_visibility_change_together(self, index: Index, row: HostedRow) -> None:
        index.set_hosted(row, True, {"gated": "auto"}, 9.0)
        changed = index.get_hosted(REPO)
        assert changed is not None
        assert (changed.private, changed.settings) == (True, {"gated": "auto"})
        facts = index.get_facts(REPO)
        assert facts is not None
        assert facts.private

    def test_a_move_takes_listings_and_refs_along(self, index: Index, row: HostedRow) -> None:
        index.put_files(REPO, FIRST, [FileEntry(RepoPath("a"), etag(1), 1)], complete=True)
        index.rename_hosted(row, OTHER)
        assert index.get_hosted(REPO) is None
        moved = index.moved_to(RepoId("model", "acme/TINY"))
        assert moved is not None
        assert moved.repo == OTHER
        assert index.listing_complete(OTHER, FIRST)
        assert not index.listing_complete(REPO, FIRST)
        ref = index.get_ref(OTHER, Revision("main"))
        assert ref is not None
        assert ref.commit_hash == FIRST

    def test_a_move_to_a_taken_name(self, index: Index, row: HostedRow) -> None:
        index.add_hosted(OTHER, False, "bob", {}, 1.0)
        with pytest.raises(Conflict):
            index.rename_hosted(row, OTHER)
        assert index.get_hosted(REPO) == row

    def test_only_the_case_of_a_name_changes(self, index: Index, row: HostedRow) -> None:
        index.rename_hosted(row, RepoId("model", "acme/tiny"))
        found = index.get_hosted(REPO)
        assert found is not None
        assert found.repo.repo_id == "acme/tiny"
        assert index.moved_to(REPO) is None

    def test_a_copy_has_everything_but_pull_requests(self, index: Index, row: HostedRow) -> None:
        landing = Landing([to(SECOND, FIRST), to(FIRST, name="refs/pr/1")], [commit(SECOND)], [blob(7)])
        index.land(row.number, landing, 6.0)
        copy = index.copy_hosted(row, OTHER, True, "bob", {}, 7.0)
        assert copy is not None
        assert [(ref.name, ref.target) for ref in index.hosted_refs(copy.number)] == [(MAIN, SECOND)]
        assert index.git_object(copy.number, FIRST) == commit(FIRST)
        assert index.hosted_blob(copy.number, blob(7).oid) == blob(7)
        assert index.holders(etag(7)) == [row.number, copy.number]

    def test_what_is_dropped_leaves_orphans_and_nothing_else(self, index: Index, row: HostedRow) -> None:
        index.land(row.number, Landing([], [], [blob(7)]), 6.0)
        index.put_upload(row.number, "token:alice", etag(8), 8, 100.0)
        index.put_files(REPO, FIRST, [FileEntry(RepoPath("a"), etag(7), 7)], complete=True)
        index.drop_hosted(row)
        assert index.get_hosted(REPO) is None
        assert index.git_object(row.number, FIRST) is None
        assert index.commits_of(REPO) == []
        assert index.orphans_after("", 10) == [etag(7), etag(8)]
        assert all(index.is_orphan(one) for one in (etag(7), etag(8)))
        with pytest.raises(RepoAbsent):
            index.land(row.number, Landing([to(FIRST)]), 7.0)


class TestLanding:
    def test_everything_at_once(self, index: Index, row: HostedRow) -> None:
        body = bytes(range(256)) * 20
        landing = Landing([to(SECOND, FIRST)], [commit(SECOND, body)], [blob(1), blob(2)])
        index.land(row.number, landing, 6.0)
        assert index.git_objects(row.number, [FIRST, SECOND, THIRD]).keys() == {FIRST, SECOND}
        found = index.git_object(row.number, SECOND)
        assert found is not None
        assert found.body == body
        assert index.hosted_blobs(row.number, [blob(1).oid, blob(3).oid]) == {blob(1).oid: blob(1)}
        ref = index.hosted_ref(row.number, MAIN)
        assert ref is not None
        assert (ref.target, ref.moved_at) == (SECOND, 6.0)

    @pytest.mark.parametrize("old", [None, SECOND])
    def test_a_ref_that_is_elsewhere_stops_all_of_it(
        self, index: Index, row: HostedRow, old: CommitHash | None
    ) -> None:
        with pytest.raises(RefMoved) as moved:
            index.land(row.number, Landing([to(THIRD, old)], [commit(THIRD)], [blob(1)]), 6.0)
        assert moved.value.found == FIRST
        assert index.git_object(row.number, THIRD) is None
        assert index.hosted_blob(row.number, blob(1).oid) is None

    def test_of_many_writers_one_wins(self, index: Index, row: HostedRow) -> None:
        def land(number: int) -> bool:
            oid = CommitHash(f"{number:040x}")
            try:
                index.land(row.number, Landing([to(oid, FIRST)], [commit(oid)]), 6.0)
            except RefMoved:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(land, range(10, 18))) == 1
        assert len(index.git_objects_after(row.number, "", 100)) == 2

    @pytest.mark.parametrize(
        "landing",
        [
            Landing([to(SECOND, FIRST)]),  # the commit is not there
            Landing([to(SECOND, FIRST)], [commit(SECOND)], needs=[THIRD]),
            Landing([to(FIRST, name="refs/heads/main/x")]),
            Landing([to(FIRST, name="refs/tags/a"), to(FIRST, name="refs/tags/a/b")]),
        ],
    )
    def test_what_cannot_stand_does_not_land(self, index: Index, row: HostedRow, landing: Landing) -> None:
        with pytest.raises(Conflict):
            index.land(row.number, landing, 6.0)
        assert len(index.hosted_refs(row.number)) == 1
        assert index.git_object(row.number, SECOND) is None

    def test_a_ref_goes(self, index: Index, row: HostedRow) -> None:
        index.land(row.number, Landing([to(FIRST, name="refs/heads/dev")]), 6.0)
        index.land(row.number, Landing([RefUpdate("refs/heads/dev", FIRST, None)]), 7.0)
        assert [ref.name for ref in index.hosted_refs(row.number)] == [MAIN]
        assert index.get_ref(REPO, Revision("dev")) is None

    def test_a_discussion_and_a_receipt_land_along(self, index: Index, row: HostedRow) -> None:
        discussion = DiscussionRow(1, "title", "open", True, "bob", 6.0, [{"id": "1"}])
        landing = Landing([to(FIRST, name="refs/pr/1")], discussion=discussion, receipt=("r", "owner", 50.0))
        index.land(row.number, landing, 6.0)
        assert index.discussion(row.number, 1) == discussion
        assert (index.lease_owner("r", 10.0), index.lease_owner("r", 60.0)) == ("owner", None)
        assert index.last_discussion(row.number) == 1
        with pytest.raises(Conflict):
            index.land(row.number, Landing([], discussion=discussion), 7.0)

    def test_leases_end_with_what_landed(self, index: Index, row: HostedRow) -> None:
        index.put_uploads(row.number, "token:alice", {etag(1): 1, etag(2): 2}, 100.0)
        index.land(row.number, Landing([], [], [blob(1)]), 6.0)
        assert index.upload(row.number, "token:alice", etag(1), 50.0) is None
        assert index.upload(row.number, "token:alice", etag(2), 50.0) == 2
        assert index.is_hosted(etag(1))
        assert index.is_pinned(etag(2))

    def test_a_xet_id_stays_once_it_is_known(self, index: Index, row: HostedRow) -> None:
        one = HostedBlob("1" * 40, etag(1), 1, "ab" * 32)
        index.land(row.number, Landing([], [], [one]), 6.0)
        index.land(row.number, Landing([], [], [HostedBlob("1" * 40, etag(1), 1)]), 7.0)
        assert index.hosted_blob(row.number, "1" * 40) == one


class TestSweeping:
    def test_only_what_is_reached_or_new_stays(self, index: Index, row: HostedRow) -> None:
        index.land(row.number, Landing([to(SECOND, FIRST)], [commit(SECOND)], [blob(1), blob(2)]), 6.0)
        index.land(row.number, Landing([], [commit(THIRD)], [blob(3)]), 9.0)
        counts = index.keep_only_objects(row.number, {SECOND}, {SECOND, blob(2).oid}, 8.0)
        assert counts == (1, 1)
        assert [one.oid for one in index.git_objects_after(row.number, "", 10)] == [SECOND, THIRD]
        assert index.orphans_after("", 10) == [etag(1)]
        assert index.is_orphan(etag(1))

    def test_refs_that_moved_meanwhile_stop_it(self, index: Index, row: HostedRow) -> None:
        index.land(row.number, Landing([to(SECOND, FIRST)], [commit(SECOND)]), 6.0)
        assert index.keep_only_objects(row.number, {FIRST}, {FIRST}, 8.0) is None
        assert index.git_object(row.number, SECOND) is not None


class TestListings:
    def test_one_is_written_as_another_with_changes(self, index: Index) -> None:
        files = [FileEntry(RepoPath(f"f{number}"), etag(number), number) for number in range(5)]
        index.put_files(REPO, FIRST, files, complete=True)
        changed = FileEntry(RepoPath("f1"), etag(9), 9)
        new = FileEntry(RepoPath("new"), etag(8), 8, "ab" * 32)
        assert index.put_changed_files(REPO, SECOND, FIRST, [RepoPath("f0")], [changed, new])
        assert index.files_of(REPO, SECOND) == [changed, *files[2:], new]
        assert index.listing_complete(REPO, SECOND)
        assert index.files_of(REPO, FIRST) == files

    def test_an_unfinished_one_is_no_beginning(self, index: Index) -> None:
        index.put_files(REPO, FIRST, [FileEntry(RepoPath("a"), etag(1), 1)])
        assert not index.put_changed_files(REPO, SECOND, FIRST, [], [])
        assert not index.listing_complete(REPO, SECOND)

    def test_one_is_dropped(self, index: Index) -> None:
        index.put_files(REPO, FIRST, [FileEntry(RepoPath("a"), etag(1), 1)], complete=True)
        index.drop_listing(REPO, FIRST)
        assert index.files_of(REPO, FIRST) == []
        assert index.commits_of(REPO) == []


class TestUploads:
    def test_a_lease_runs_out_and_leaves_an_orphan(self, index: Index, row: HostedRow) -> None:
        index.put_upload(row.number, "token:alice", etag(1), 7, 100.0)
        assert index.upload(row.number, "token:alice", etag(1), 99.0) == 7
        assert index.upload(row.number, "token:bob", etag(1), 99.0) is None
        assert index.upload(row.number, "token:alice", etag(1), 100.0) is None
        assert index.prune_uploads(100.0) == 1
        assert index.is_orphan(etag(1))
        index.drop_orphan(etag(1))
        assert index.orphans_after("", 10) == []

    def test_parts(self, index: Index) -> None:
        for number in (2, 1, 2):
            index.put_part("upload", UploadPart(number, "ab" * 32, number * 10), 5.0)
        assert [part.number for part in index.parts("upload")] == [1, 2]
        assert index.prune_parts(5.0) == 0
        index.drop_parts("upload")
        assert index.parts("upload") == []


class TestNamespaces:
    def test_they_come_and_go_whatever_the_case(self, index: Index) -> None:
        assert index.add_namespace("Acme", 1.0)
        assert not index.add_namespace("acme", 2.0)
        found = index.get_namespace("ACME")
        assert found is not None
        assert (found.name, found.shown) == ("acme", "Acme")
        assert index.set_namespace("acme", {"quota_bytes": 5})
        index.put_role("acme", "user:alice", "write")
        index.add_hosted(OTHER, False, "alice", {}, 1.0)
        assert not index.drop_namespace("acme")
        hosted = index.get_hosted(OTHER)
        assert hosted is not None
        index.drop_hosted(hosted)
        assert index.drop_namespace("acme")
        assert index.roles("acme") == []

    def test_what_of_upstream_is_in_it(self, index: Index) -> None:
        theirs = RepoId("dataset", "ACME/squad")
        for repo in (theirs, RepoId("model", "acmes/x"), RepoId("model", "gpt2")):
            index.put_ref(repo, Revision("main"), FIRST, 1.0)
        index.add_hosted(OTHER, False, "alice", {}, 1.0)
        index.put_ref(OTHER, Revision("main"), FIRST, 1.0)
        assert index.proxied_in("acme") == [theirs]


class TestTeams:
    def test_members_and_roles(self, index: Index) -> None:
        index.add_member("research", "alice")
        index.add_member("research", "alice")
        index.add_member("ops", "alice")
        assert index.teams() == {"ops": ["alice"], "research": ["alice"]}
        assert index.teams_of("alice") == ["ops", "research"]
        assert index.drop_member("ops", "alice")
        assert not index.drop_member("ops", "alice")
        index.put_role("acme", "team:research", "read")
        index.put_role("acme", "team:research", "admin")
        assert [(one.subject, one.role) for one in index.roles("acme")] == [("team:research", "admin")]
        assert index.all_roles() == index.roles("acme")
        assert index.drop_role("acme", "team:research")
