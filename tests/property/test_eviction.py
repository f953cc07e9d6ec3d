"""Laws of eviction and removal, whatever is pinned, open or shared."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from moongate.core.digests import Etag
from moongate.core.names import RepoId
from store_house import House, make_house

REPOS = [RepoId("model", f"a/{name}") for name in "xyz"]
COMMIT = "1" * 40

numbers = st.sets(st.integers(0, 7))
sizes = st.lists(st.integers(0, 500), min_size=8, max_size=8)


def stocked(home: str, sizes: list[int]) -> tuple[House, list[Etag]]:
    house = make_house(Path(home))
    return house, [house.seal(b"%d:" % number + bytes(size)) for number, size in enumerate(sizes)]


@settings(max_examples=25, deadline=None)
@given(
    sizes=sizes,
    pinned=numbers,
    opened=numbers,
    read=st.permutations(range(8)),
    quota_bytes=st.integers(1, 4500),
    eviction=st.sampled_from(["lru", "fifo", "largest"]),
)
def test_eviction_ends_under_the_quota_without_touching_what_is_pinned_or_open(
    sizes: list[int], pinned: set[int], opened: set[int], read: list[int], quota_bytes: int, eviction: str
) -> None:
    with tempfile.TemporaryDirectory() as home:
        house, etags = stocked(home, sizes)
        house.list(REPOS[0], COMMIT, **{f"f{number}": etags[number] for number in pinned})
        house.index.pin(REPOS[0], None, 1.0)
        house.index.touch_blobs({etags[number]: house.now + at for at, number in enumerate(read)})
        readers = [house.blobs.open(etags[number]) for number in opened]
        before = house.index.total_bytes()
        evicted = house.keeping(quota_bytes=quota_bytes, eviction=eviction).evict()
        after = house.index.total_bytes()
        here = house.here()
        for fd in readers:
            assert fd is not None
            os.close(fd)
        house.index.close()

    protected = {etags[number] for number in pinned | opened}
    protected_bytes = sum(len(house.contents[etag]) for etag in protected)
    assert protected <= here
    assert after == before - evicted.freed_bytes
    assert evicted.over_bytes == max(0, after - quota_bytes)
    assert after <= max(quota_bytes, protected_bytes)
    if eviction == "lru":
        gone = [at for at, number in enumerate(read) if etags[number] not in here]
        kept = [at for at, number in enumerate(read) if etags[number] in here - protected]
        assert not gone or not kept or max(gone) < min(kept)


@settings(max_examples=25, deadline=None)
@given(sizes=sizes, listed=st.lists(numbers, min_size=3, max_size=3))
def test_removal_frees_exactly_what_no_other_listing_has(sizes: list[int], listed: list[set[int]]) -> None:
    with tempfile.TemporaryDirectory() as home:
        house, etags = stocked(home, sizes)
        for repo, files in zip(REPOS, listed, strict=True):
            house.list(repo, COMMIT, **{f"f{number}": etags[number] for number in files})
        removed = house.keeping().remove(REPOS[0])
        here = house.here()
        house.index.close()

    own = listed[0] - listed[1] - listed[2]
    shared = listed[0] - own
    assert here == {etag for number, etag in enumerate(etags) if number not in own}
    assert removed.freed_bytes == sum(len(house.contents[etags[number]]) for number in own)
    assert removed.kept_bytes == sum(len(house.contents[etags[number]]) for number in shared)
    assert (removed.blobs, removed.kept_blobs) == (len(own), len(shared))
