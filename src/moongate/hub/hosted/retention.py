"""Old revisions of hosted branches: the last few keep their large files, older ones let them go.

What a namespace's `keep_revisions` keeps: of every branch and pull request the newest so many commits, and
every commit that a tag names. History itself stays, with every small file and every pointer, so that git and
the API agree on it; large files that only older commits list are let go, and their bytes are left to
collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from moongate.core.names import CommitHash
from moongate.hub.hosted.objects import GitObjects
from moongate.hub.hosted.quotas import limits_of
from moongate.store.index import HostedBlob, HostedRow, Index

_PAGE = 1000
_TAGS = "refs/tags/"


@dataclass(frozen=True, slots=True)
class Released:
    """What was let go: how many large files of how many repositories, and the bytes of each content once."""

    repos: int = 0
    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: Released) -> Released:
        return Released(
            self.repos + other.repos, self.files + other.files, self.size_bytes + other.size_bytes
        )


class Retention:
    """Applies the rule of every namespace that has one. Any thread; blocks."""

    def __init__(self, index: Index, objects: GitObjects, clock: Callable[[], float]) -> None:
        self._index = index
        self._objects = objects
        self._clock = clock

    def run(self) -> Released:
        """Let go of what the rules of all namespaces do not keep. Again is free."""
        total = Released()
        for namespace in self._index.namespaces():
            keep = limits_of(namespace).keep_revisions
            if keep is not None:
                for row in self._index.hosted_repos(namespace.name):
                    total += self._release(row, keep)
        return total

    def _release(self, row: HostedRow, keep: int) -> Released:
        began = self._clock()
        commits = self._kept_commits(row, keep)
        kept = self._blobs_of(row, commits)
        gone: list[HostedBlob] = []
        for page in self._pages(row):
            old = [blob for blob in page if blob.is_lfs and blob.oid not in kept]
            gone += self._index.release_blobs(row.number, old, began, self._clock())
        if gone:
            for commit in set(self._index.commits_of(row.repo)) - commits:
                self._index.drop_commit(row.repo, commit)  # a listing keeps what it names
        contents = {blob.etag: blob.size_bytes for blob in gone}
        return Released(int(bool(gone)), len(gone), sum(contents.values()))

    def _pages(self, row: HostedRow) -> Iterator[list[HostedBlob]]:
        after = ""
        while page := self._index.hosted_blobs_after(row.number, after, _PAGE):
            after = page[-1].oid
            yield page

    def _blobs_of(self, row: HostedRow, commits: set[CommitHash]) -> set[str]:
        blobs: set[str] = set()
        trees: set[str] = set()
        for commit in commits:
            self._walk(row, self._objects.commit(row, commit).tree, trees, blobs)
        return blobs

    def _kept_commits(self, row: HostedRow, keep: int) -> set[CommitHash]:
        kept: set[CommitHash] = set()
        for ref in self._index.hosted_refs(row.number):
            commit: CommitHash | None = ref.commit_hash
            left = 1 if ref.name.startswith(_TAGS) else keep
            while commit is not None and left > 0:
                kept.add(commit)
                parents = self._objects.commit(row, commit).parents
                commit, left = (CommitHash(parents[0]) if parents else None), left - 1
        return kept

    def _walk(self, row: HostedRow, tree: str, trees: set[str], blobs: set[str]) -> None:
        waiting = [tree]
        while waiting:
            oid = waiting.pop()
            if oid in trees:
                continue
            trees.add(oid)
            for item in self._objects.tree(row, oid).values():
                if item.is_folder:
                    waiting.append(item.oid)
                else:
                    blobs.add(item.oid)
