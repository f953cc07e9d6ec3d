"""Laws of shared chunks: whatever comes and goes, what is needed is here, whole, and nothing else is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moongate.core.errors import RepoAbsent, RevisionAbsent, StoreError
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileEntry
from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange, difference, pack, total_bytes, union, unpack
from moongate.store.keeping import Ages
from store_house import make_house
from support.xorbs import XetContent, make_xorb, xet_content

CHUNKS = 10
XORBS = [make_xorb(number, CHUNKS, most_bytes=60) for number in range(3)]
REPOS = [RepoId("model", f"a/{name}") for name in "xyz"]
COMMITS = [CommitHash(digit * 40) for digit in "12"]

parts = st.tuples(st.integers(0, 2), st.integers(0, CHUNKS - 1), st.integers(1, CHUNKS)).map(
    lambda part: (part[0], part[1], min(CHUNKS, part[1] + part[2]))
)
contents = st.lists(parts, min_size=1, max_size=4)


def needs(file: XetContent) -> set[tuple[int, int]]:
    numbers = {xorb.hash: number for number, xorb in enumerate(XORBS)}
    return {
        (numbers[xorb], chunk)
        for xorb, ranges in file.needs.items()
        for one in ranges
        for chunk in range(one.first, one.end)
    }


def bytes_of(chunks: Iterable[tuple[int, int]]) -> int:
    return sum(XORBS[number].span(chunk, chunk + 1).length for number, chunk in chunks)


class Families(RuleBasedStateMachine):
    """Files that share xorbs come and go, in three repositories of two commits each."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.house = make_house(Path(self.folder.name))
        self.house.index._db.was_created = False
        self.files: dict[str, XetContent] = {}
        self.listed: dict[tuple[RepoId, CommitHash], set[str]] = {}

    def teardown(self) -> None:
        self.house.index.close()
        self.folder.cleanup()

    # -- what is known -----------------------------------------------------------------------------------

    def known(self) -> dict[str, XetContent]:
        """The files that have a row."""
        index = self.house.index
        return {file_id: file for file_id, file in self.files.items() if index.get_reconstruction(file_id)}

    def verified(self) -> dict[str, XetContent]:
        rows = {file_id: self.house.index.get_reconstruction(file_id) for file_id in self.files}
        return {file_id: self.files[file_id] for file_id, row in rows.items() if row and row.verified}

    def needed(self, files: Iterable[XetContent]) -> set[tuple[int, int]]:
        return {chunk for file in files for chunk in needs(file)}

    def list_in(self, file: XetContent, repo: RepoId, commit_hash: CommitHash) -> None:
        entry = FileEntry(RepoPath(file.file_id), file.etag, len(file.content), file.file_id)
        self.house.index.put_files(repo, commit_hash, [entry])
        self.listed.setdefault((repo, commit_hash), set()).add(file.file_id)

    # -- what happens ------------------------------------------------------------------------------------

    @rule(parts=contents, repo=st.sampled_from(REPOS), commit_hash=st.sampled_from(COMMITS))
    def put(self, parts: Sequence[tuple[int, int, int]], repo: RepoId, commit_hash: CommitHash) -> None:
        file = xet_content(XORBS, parts)
        self.files[file.file_id] = file
        self.list_in(file, repo, commit_hash)
        self.house.put_xet(XORBS, file)

    @rule(parts=contents, length=st.integers(0, 300))
    def die_while_fetching(self, parts: Sequence[tuple[int, int, int]], length: int) -> None:
        file = xet_content(XORBS, parts)
        self.files[file.file_id] = file
        house = self.house
        row = (file.file_id, file.etag, len(file.content), file.terms, file.needs)
        house.index.put_reconstruction(*row, house.now)
        for xorb, ranges in file.needs.items():
            for segment in house.segments.missing(xorb, ranges[0].first, ranges[0].end, ranges[0].span):
                lead = house.segments.try_lead(segment)
                assert lead is not None
                data = next(one.data for one in XORBS if one.hash == xorb)
                start = segment.span.start + lead.position
                lead.append(data[start : min(segment.span.end, start + length)])
                lead.close()
                return

    @precondition(lambda self: self.files)
    @rule(data=st.data(), repo=st.sampled_from(REPOS), commit_hash=st.sampled_from(COMMITS))
    def fetch_again_elsewhere(self, data: st.DataObject, repo: RepoId, commit_hash: CommitHash) -> None:
        file = data.draw(st.sampled_from(sorted(self.files.values(), key=lambda one: one.file_id)))
        self.list_in(file, repo, commit_hash)
        self.house.put_xet(XORBS, file)

    @rule(repo=st.sampled_from(REPOS), commit_hash=st.sampled_from([None, *COMMITS]))
    def remove(self, repo: RepoId, commit_hash: CommitHash | None) -> None:
        gone = {key for key in self.listed if key[0] == repo and commit_hash in (None, key[1])}
        stays = {key: files for key, files in self.listed.items() if key not in gone}
        dead = {file for key in gone for file in self.listed[key]} & self.known().keys()
        dead -= {file for files in stays.values() for file in files}
        before = self.house.segments.stored_bytes()
        try:
            removed = self.house.keeping().remove(repo, commit_hash and Revision(commit_hash))
        except (RepoAbsent, RevisionAbsent):
            absent = not gone
            assert absent
            return
        except StoreError:
            pinned = any(pin.repo == repo for pin in self.house.index.pins())
            assert pinned
            return
        self.listed = stays
        assert removed.xet_files == len(dead)
        assert removed.freed_bytes == before - self.house.segments.stored_bytes()
        assert not self.known().keys() & dead

    @rule(repo=st.sampled_from(REPOS))
    def pin(self, repo: RepoId) -> None:
        if not self.house.index.unpin(repo, None):
            self.house.index.pin(repo, None, 1.0)

    @rule(share=st.floats(0, 1), policy=st.sampled_from(["lru", "fifo", "largest"]))
    def evict(self, share: float, policy: str) -> None:
        index = self.house.index
        pinned = {file_id for file_id, file in self.known().items() if index.is_pinned(file.etag)}
        before = self.house.segments.stored_bytes()
        quota_bytes = 1 + int(before * share)
        evicted = self.house.keeping(quota_bytes=quota_bytes, eviction=policy).evict()
        after = self.house.segments.stored_bytes()
        assert evicted.freed_bytes == before - after
        assert evicted.over_bytes == max(0, after - quota_bytes)
        assert pinned <= self.known().keys()
        if evicted.over_bytes:
            assert self.known().keys() == pinned

    @rule()
    def collect(self) -> None:
        verified = self.verified()
        self.house.keeping().collect(Ages(unneeded_seconds=-1e12))
        assert self.verified() == verified

    @rule()
    def verify(self) -> None:
        assert {one.outcome for one in self.house.keeping().verify(threads=1)} <= {"right"}

    # -- what always holds -------------------------------------------------------------------------------

    @invariant()
    def what_is_needed_is_here_and_nothing_else(self) -> None:
        if not hasattr(self, "house"):
            return
        here = self.house.chunks_here(XORBS)
        known, verified = self.known(), self.verified()
        assert self.needed(verified.values()) <= here <= self.needed(known.values())
        if len(known) == len(verified):
            assert self.house.segments.stored_bytes() == bytes_of(here)

    @invariant()
    def every_verified_file_reads_back(self) -> None:
        if hasattr(self, "house"):
            for file_id, file in self.verified().items():
                assert self.house.read_xet(file_id) == file.content


TestFamilies = Families.TestCase
TestFamilies.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)


# -- the algebra of chunk ranges -----------------------------------------------------------------------------

ranges = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 12)).map(
        lambda pair: ChunkRange(pair[0], sum(pair), ByteSpan(pair[0] ** 2, sum(pair) ** 2))
    )
)


def numbers(of: Iterable[ChunkRange]) -> set[int]:
    return {chunk for one in of for chunk in range(one.first, one.end)}


@given(some=ranges, others=ranges)
def test_union_and_difference_are_those_of_sets_and_know_their_bytes(
    some: list[ChunkRange], others: list[ChunkRange]
) -> None:
    both, left = union(some + others), difference(some, others)
    assert numbers(both) == numbers(some) | numbers(others)
    assert numbers(left) == numbers(some) - numbers(others)
    for result in (both, left):
        assert all(one.span == ByteSpan(one.first**2, one.end**2) for one in result)
        assert all(one.end < other.first for one, other in pairwise(result))
        assert unpack(pack(result)) == result
    shared = total_bytes(union(some)) - total_bytes(left)
    assert total_bytes(both) == total_bytes(union(others)) + total_bytes(union(some)) - shared
