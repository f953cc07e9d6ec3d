"""Laws of usage: per repository it agrees with a plain count, and the parts fit the whole."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.store.index import Index

REPOS = [RepoId("model", "a/x"), RepoId("model", "a/y"), RepoId("dataset", "a/x")]
COMMITS = [CommitHash("1" * 40), CommitHash("2" * 40)]
SIZES = {Etag(f"{number:064x}"): 7**number for number in range(6)}

Listings = Mapping[tuple[RepoId, CommitHash], Mapping[RepoPath, Etag]]

listings = st.dictionaries(
    st.tuples(st.sampled_from(REPOS), st.sampled_from(COMMITS)),
    st.dictionaries(st.sampled_from([RepoPath(name) for name in "abcd"]), st.sampled_from(sorted(SIZES))),
)


@settings(max_examples=30, deadline=None)
@given(listings=listings, sealed=st.sets(st.sampled_from(sorted(SIZES))))
def test_usage_agrees_with_a_plain_count(listings: Listings, sealed: set[Etag]) -> None:
    with tempfile.TemporaryDirectory() as home, Index(Path(home) / "index.sqlite3") as index:
        for (repo, commit_hash), files in listings.items():
            entries = [FileEntry(path, etag, SIZES[etag]) for path, etag in files.items()]
            index.put_files(repo, commit_hash, entries)
        for etag in sealed:
            index.put_blob(etag, SIZES[etag], 1.0)
        usage = {one.repo: one for one in index.usage_by_repo()}
        unlisted = index.unlisted_bytes()
        total = index.total_bytes()

    held = {
        repo: {
            (path, etag)
            for (of, _), files in listings.items()
            if of == repo
            for path, etag in files.items()
            if etag in sealed
        }
        for repo in REPOS
    }
    contents = {repo: {etag for _, etag in files} for repo, files in held.items()}
    assert set(usage) == {repo for repo in REPOS if held[repo]}
    for repo, one in usage.items():
        others = set().union(*(contents[other] for other in REPOS if other != repo))
        assert one.files == len(held[repo])
        assert one.logical_bytes == sum(SIZES[etag] for _, etag in held[repo])
        assert one.stored_bytes == sum(SIZES[etag] for etag in contents[repo])
        assert one.own_bytes == sum(SIZES[etag] for etag in contents[repo] - others)
        assert one.own_bytes <= one.stored_bytes <= one.logical_bytes
    listed = set().union(*contents.values())
    assert unlisted + sum(SIZES[etag] for etag in listed) == total
