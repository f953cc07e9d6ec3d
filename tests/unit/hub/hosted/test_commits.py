"""Commits to hosted repositories: every operation, who may, what meets what, and what comes twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import (
    BadRequest,
    Conflict,
    EntryAbsent,
    MoongateError,
    RefMoved,
    RevisionAbsent,
)
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.hub.hosted.repositories import NewRepo
from moongate.wire.commit_lines import Copy, Delete, Move, PutFile, PutLfs
from moongate.wire.git_objects import (
    MODE_EXECUTABLE,
    TreeItem,
    encode_tree,
    object_oid,
    parse_commit,
)
from moongate.wire.gitattributes import Attributes
from support.hosting import ALICE, BOB, REPO, HostingHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[HostingHouse]:
    house = HostingHouse(tmp_path)
    yield house
    house.close()


def path(text: str) -> RepoPath:
    return RepoPath(text)


class TestOperations:
    def test_a_new_repository_has_a_first_commit_with_attributes(self, house: HostingHouse) -> None:
        assert Attributes(house.read(".gitattributes")).is_lfs("model.safetensors")
        assert house.index.listing_complete(REPO, house.head)

    def test_files_are_put_replaced_and_put_deeper(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"one", "d/e/f.txt": b"deep"})
        house.put({"a.txt": b"two"})
        assert house.paths() == ["a.txt", "d/e/f.txt"]
        assert (house.read("a.txt"), house.read("d/e/f.txt")) == (b"two", b"deep")

    def test_an_empty_file_is_a_file(self, house: HostingHouse) -> None:
        house.put({"empty": b""})
        assert house.read("empty") == b""

    def test_a_deletion_takes_empty_folders_along(self, house: HostingHouse) -> None:
        house.put({"a/b/c.txt": b"1", "a/d.txt": b"2"})
        house.commit(Delete(path("a/b/c.txt"), "file"))
        told = house.repos.listings.tree(house.row, house.head, "a", recursive=True, expand=False)
        assert [one["path"] for one in told] == ["a/d.txt"]

    def test_a_folder_goes_whole(self, house: HostingHouse) -> None:
        house.put({"a/b/c.txt": b"1", "a/d.txt": b"2", "ab.txt": b"3"})
        house.commit(Delete(path("a"), "folder"))
        assert house.paths() == ["ab.txt"]

    def test_either_kind_of_entry_goes(self, house: HostingHouse) -> None:
        house.put({"a/b.txt": b"1", "c.txt": b"2"})
        house.commit(Delete(path("a")), Delete(path("c.txt")))
        assert house.paths() == []

    def test_operations_happen_in_order(self, house: HostingHouse) -> None:
        house.put({"a/old.txt": b"1"})
        house.commit(Delete(path("a"), "folder"), PutFile(path("a/new.txt"), b"2"))
        assert house.paths() == ["a/new.txt"]

    def test_a_move_takes_the_old_path_away(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"1", "d/x.txt": b"2", "d/y.txt": b"3"})
        house.commit(Move(path("b.txt"), path("a.txt")), Move(path("e"), path("d")))
        assert house.paths() == ["b.txt", "e/x.txt", "e/y.txt"]

    def test_a_move_with_new_content(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"1"})
        house.commit(PutFile(path("b.txt"), b"2", path("a.txt")))
        assert house.paths() == ["b.txt"]

    def test_a_copy_leaves_the_source(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"1"})
        house.commit(Copy(path("b/c.txt"), path("a.txt")))
        assert house.paths() == ["a.txt", "b/c.txt"]

    @pytest.mark.parametrize(
        "operation",
        [
            Delete(RepoPath("nothing"), "file"),
            Delete(RepoPath("a.txt"), "folder"),
            Move(RepoPath("b"), RepoPath("nothing")),
            Copy(RepoPath("b"), RepoPath("nothing")),
            PutFile(RepoPath("b"), b"", RepoPath("nothing")),
        ],
    )
    def test_what_is_not_there_cannot_be_used(self, house: HostingHouse, operation: Delete) -> None:
        house.put({"a.txt": b"1"})
        before = house.head
        with pytest.raises(EntryAbsent):
            house.commit(PutFile(path("new.txt"), b"new"), operation)
        assert house.head == before  # nothing of it happened

    @pytest.mark.parametrize("operation", [PutFile(RepoPath("d"), b""), PutFile(RepoPath("d/x.txt/y"), b"")])
    def test_a_file_does_not_become_a_folder_nor_the_reverse(
        self, house: HostingHouse, operation: PutFile
    ) -> None:
        house.put({"d/x.txt": b"1"})
        with pytest.raises(BadRequest):
            house.commit(operation)

    def test_a_folder_cannot_be_moved_into_itself(self, house: HostingHouse) -> None:
        house.put({"d/x.txt": b"1"})
        with pytest.raises(BadRequest):
            house.commit(Move(path("d/e"), path("d")))

    def test_a_change_that_changes_nothing_makes_no_commit(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"1"})
        before = house.head
        assert house.put({"a.txt": b"1"}, summary="again").commit_hash == before

    def test_an_executable_stays_one(self, house: HostingHouse) -> None:
        house.put({"run.sh": b"1"})
        root = house.repos.objects.commit(house.row, house.head).tree
        item = house.repos.objects.tree(house.row, root)["run.sh"]
        edited = house.repos.objects.tree(house.row, root) | {
            "run.sh": TreeItem(MODE_EXECUTABLE, "run.sh", item.oid)
        }
        assert item.mode != MODE_EXECUTABLE
        from moongate.store.index import GitObjectRow, Landing, RefUpdate

        body = encode_tree(edited.values())
        tree = GitObjectRow(object_oid("tree", body), "tree", body)
        old = house.repos.objects.commit(house.row, house.head)
        from moongate.wire.git_objects import encode_commit

        text = encode_commit(replace(old, tree=tree.oid, parents=(house.head,)))
        commit = GitObjectRow(object_oid("commit", text), "commit", text)
        change = RefUpdate("refs/heads/main", house.head, commit.oid, CommitHash(commit.oid))
        house.repos.apply_push(house.row, Landing([change], [tree, commit]))
        house.put({"run.sh": b"2"})
        root = house.repos.objects.commit(house.row, house.head).tree
        assert house.repos.objects.tree(house.row, root)["run.sh"].mode == MODE_EXECUTABLE


class TestLargeFiles:
    def test_a_large_file_is_committed_by_its_hash(self, house: HostingHouse) -> None:
        house.put_large("model.safetensors", b"weights" * 1000)
        assert house.read("model.safetensors") == b"weights" * 1000
        told = house.repos.listings.paths(house.row, house.head, ["model.safetensors"], expand=False)
        assert told[0]["lfs"] == {
            "oid": hashlib.sha256(b"weights" * 1000).hexdigest(),
            "size": 7000,
            "pointerSize": 129,
        }

    def test_the_attributes_come_to_name_it(self, house: HostingHouse) -> None:
        house.put_large("odd name.txt", b"large after all")
        attributes = Attributes(house.read(".gitattributes"))
        assert attributes.is_lfs("odd name.txt")
        assert not attributes.is_lfs("other.txt")
        house.commit(Move(path("else where.txt"), path("odd name.txt")))
        assert Attributes(house.read(".gitattributes")).is_lfs("else where.txt")

    def test_what_nobody_brought_cannot_be_committed(self, house: HostingHouse) -> None:
        with pytest.raises(BadRequest):
            house.commit(PutLfs(path("w.bin"), Etag("ab" * 32), 5))

    def test_knowing_a_hash_is_not_owning_the_bytes(self, house: HostingHouse) -> None:
        secret = house.repos.repositories.create(NewRepo(RepoId("model", "acme/secret"), private=True), ALICE)
        etag = house.upload(b"private weights", row=secret)
        house.commit(PutLfs(path("w.bin"), etag, 15), row=secret)
        with pytest.raises(BadRequest):
            house.commit(PutLfs(path("w.bin"), etag, 15), caller=BOB)
        house.commit(PutLfs(path("w.bin"), etag, 15), caller=ALICE)  # who reads it may use it
        house.commit(PutLfs(path("v.bin"), etag, 15), caller=BOB)  # and then so may its readers

    def test_an_upload_is_its_uploaders_alone_until_committed(self, house: HostingHouse) -> None:
        etag = house.upload(b"on its way", ALICE)
        with pytest.raises(BadRequest):
            house.commit(PutLfs(path("w.bin"), etag, 10), caller=BOB)

    def test_a_lease_runs_out(self, house: HostingHouse) -> None:
        etag = house.upload(b"forgotten")
        house.now += house.rules.lease_seconds + 1
        with pytest.raises(BadRequest):
            house.commit(PutLfs(path("w.bin"), etag, 9))
        assert house.keeping().collect().orphans == 1
        assert house.blobs.size_bytes(etag) is None

    def test_a_wrong_size_is_refused(self, house: HostingHouse) -> None:
        etag = house.upload(b"12345")
        with pytest.raises(BadRequest):
            house.commit(PutLfs(path("w.bin"), etag, 6))

    def test_content_that_was_lost_meanwhile_is_not_committed(self, house: HostingHouse) -> None:
        etag = house.upload(b"lost")
        house.layout.blob(etag).unlink()
        before = house.head
        with pytest.raises(BadRequest):
            house.commit(PutLfs(path("w.bin"), etag, 4))
        assert house.head == before


class TestMeetings:
    def test_a_parent_that_is_not_the_head_is_refused(self, house: HostingHouse) -> None:
        old = house.head
        house.put({"a.txt": b"1"})
        with pytest.raises(RefMoved):
            house.put({"b.txt": b"2"}, parent=old)
        assert house.paths() == ["a.txt"]

    def test_of_two_on_one_parent_one_wins(self, house: HostingHouse) -> None:
        parent = house.head

        def write(number: int) -> str:
            try:
                return house.put({f"{number}.txt": b"x"}, parent=parent).commit_hash
            except RefMoved:
                return ""

        with ThreadPoolExecutor(8) as pool:
            made = [one for one in pool.map(write, range(8)) if one]
        assert made == [house.head]
        assert len(house.paths()) == 1

    def test_without_a_parent_all_of_them_land(self, house: HostingHouse) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: house.put({f"{number}.txt": b"x"}), range(8)))
        assert house.paths() == [f"{number}.txt" for number in range(8)]
        assert len(house.repos.history.hashes(house.row, house.head)) == 9

    def test_a_request_that_comes_twice_gives_one_commit(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"1"})
        first = house.commit(Delete(path("a.txt"), "file"))
        assert house.commit(Delete(path("a.txt"), "file")) == first
        assert house.head == first.commit_hash

    def test_a_request_that_is_meant_twice_is_done_twice(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"1"})
        house.commit(Delete(path("a.txt"), "file"))
        house.put({"a.txt": b"1"})
        house.commit(Delete(path("a.txt"), "file"))
        assert house.paths() == []
        assert len(house.repos.history.hashes(house.row, house.head)) == 5

    def test_a_branch_that_is_not_there(self, house: HostingHouse) -> None:
        with pytest.raises(RevisionAbsent):
            house.put({"a.txt": b"1"}, revision="nowhere")

    def test_commits_stand_in_git_as_git_would_write_them(self, house: HostingHouse) -> None:
        made = house.put({"a.txt": b"1"}, summary="Title")
        found = house.repos.get_object(house.row, made.commit_hash)
        assert found is not None
        assert object_oid("commit", found.body) == made.commit_hash
        commit = parse_commit(found.body)
        assert (commit.author.name, commit.message) == ("alice", "Title\n")


class TestPullRequests:
    def test_one_is_opened_with_a_commit_and_merged(self, house: HostingHouse) -> None:
        made = house.put({"a.txt": b"1"}, create_pr=True, caller=BOB, summary="Add a")
        assert (made.ref, made.pull_request) == ("refs/pr/1", 1)
        assert house.paths() == []
        assert house.paths("refs/pr/1") == ["a.txt"]
        house.put({"b.txt": b"2"}, revision="refs/pr/1")
        house.put({"c.txt": b"3"})
        house.repos.discussions.merge(house.row, 1, "", ALICE)
        assert house.paths() == ["a.txt", "b.txt", "c.txt"]
        told = house.repos.discussions.details(house.row, 1, diff=True)
        assert told["status"] == "merged"
        assert told["changes"] == {"base": "refs/heads/main", "mergeCommitId": house.head}

    def test_both_sides_of_a_file_do_not_merge(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"0"})
        house.put({"a.txt": b"1"}, create_pr=True)
        house.put({"a.txt": b"2"})
        with pytest.raises(Conflict):
            house.repos.discussions.merge(house.row, 1, "", ALICE)
        assert house.read("a.txt") == b"2"

    def test_numbers_are_given_once(self, house: HostingHouse) -> None:
        def open_one(number: int) -> int | None:
            return house.put({f"{number}.txt": b"x"}, create_pr=True, summary=f"{number}").pull_request

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(open_one, range(8))) == list(range(1, 9))


class TestRefs:
    def test_branches_begin_where_they_are_told(self, house: HostingHouse) -> None:
        first = house.put({"a.txt": b"1"}).commit_hash
        house.put({"a.txt": b"2"})
        house.repos.refs_of.create_branch(house.row, "old", first)
        house.put({"b.txt": b"1"}, revision="old")
        assert (house.paths("old"), house.paths()) == (["a.txt", "b.txt"], ["a.txt"])
        with pytest.raises(Conflict):
            house.repos.refs_of.create_branch(house.row, "old")
        house.repos.refs_of.create_branch(house.row, "old", overwrite=True)
        assert house.repos.refs_of.resolve(house.row, "old") == house.head

    @pytest.mark.parametrize("name", ["main/x", "dev", "ab" * 20, "refs/heads/x", "HEAD"])
    def test_names_that_git_could_not_keep(self, house: HostingHouse, name: str) -> None:
        house.repos.refs_of.create_branch(house.row, "dev/x")
        with pytest.raises(MoongateError):
            house.repos.refs_of.create_branch(house.row, name)

    def test_a_tag_with_words_is_annotated(self, house: HostingHouse) -> None:
        tagger = house.repos.commits.signature(ALICE)
        house.repos.refs_of.create_tag(house.row, "v1", house.head, "first", tagger)  # type: ignore[arg-type]
        (ref,) = [ref for ref in house.repos.refs(house.row) if ref.name == "refs/tags/v1"]
        assert ref.target != ref.commit_hash == house.head
        assert house.repos.refs_of.resolve(house.row, "v1") == house.head

    def test_main_stays(self, house: HostingHouse) -> None:
        with pytest.raises(BadRequest):
            house.repos.refs_of.delete_branch(house.row, "main")

    def test_a_short_hash_is_a_revision(self, house: HostingHouse) -> None:
        assert house.repos.refs_of.resolve(house.row, house.head[:8]) == house.head
        with pytest.raises(RevisionAbsent):
            house.repos.refs_of.resolve(house.row, "0000000")


class TestHistory:
    def test_squashing_leaves_one_commit_and_the_files(self, house: HostingHouse) -> None:
        house.put({"a.txt": b"1"})
        house.put({"b.txt": b"2"})
        made = house.repos.commits.squash(house.row, "main", "one", ALICE)
        assert house.repos.history.hashes(house.row, made) == [made]
        assert house.paths() == ["a.txt", "b.txt"]

    def test_the_last_commit_of_each_path(self, house: HostingHouse) -> None:
        first = house.put({"a.txt": b"1", "d/x.txt": b"1"}).commit_hash
        second = house.put({"d/y.txt": b"2"}).commit_hash
        told = house.repos.listings.tree(house.row, house.head, "", recursive=True, expand=True)
        last = {str(one["path"]): one["lastCommit"]["id"] for one in told}  # type: ignore[index]
        assert (last["a.txt"], last["d/x.txt"], last["d/y.txt"], last["d"]) == (first, first, second, second)

    def test_a_diff_tells_what_changed(self, house: HostingHouse) -> None:
        before = house.put({"a.txt": b"one\n"}).commit_hash
        after = house.put({"a.txt": b"two\n"}).commit_hash
        diff = house.repos.history.compare(house.row, before, after)
        assert "-one\n+two\n" in diff


class TestSweeping:
    def test_history_that_nothing_leads_to_is_forgotten(self, house: HostingHouse) -> None:
        old = house.put_large("w.bin", b"old weights").commit_hash
        new = house.put_large("w.bin", b"new weights").commit_hash
        house.repos.refs_of.create_branch(house.row, "kept", new)
        squashed = house.repos.commits.squash(house.row, "main", "", ALICE)
        assert house.repos.sweeping.sweep(house.row).objects == 0  # the branch still leads there
        house.repos.refs_of.delete_branch(house.row, "kept")
        assert house.repos.sweeping.sweep(house.row).objects > 0
        for gone in (old, new):
            with pytest.raises(RevisionAbsent):
                house.repos.refs_of.resolve(house.row, gone)
        assert house.keeping().collect().orphans == 1
        assert house.read("w.bin") == b"new weights"
        assert house.head == squashed
        assert house.repos.sweeping.sweep(house.row).objects == 0

    def test_a_sweep_keeps_what_tags_and_pull_requests_lead_to(self, house: HostingHouse) -> None:
        first = house.put({"a.txt": b"1"}).commit_hash
        tagger = house.repos.commits.signature(ALICE)
        house.repos.refs_of.create_tag(house.row, "v1", first, "words", tagger)  # type: ignore[arg-type]
        house.put({"b.txt": b"2"}, create_pr=True)
        house.repos.commits.squash(house.row, "main", "", ALICE)
        house.repos.sweeping.sweep(house.row)
        assert house.paths("v1") == ["a.txt"]
        assert house.paths("refs/pr/1") == ["a.txt", "b.txt"]

    def test_listings_of_older_commits_go_and_come_back(self, house: HostingHouse) -> None:
        old = house.put({"a.txt": b"1"}).commit_hash
        house.put({"b.txt": b"2"})
        house.repos.sweeping.sweep(house.row)
        assert not house.index.listing_complete(REPO, old)
        house.repos.write_down(REPO, old)
        assert [entry.path for entry in house.index.files_of(REPO, old)] == [".gitattributes", "a.txt"]
