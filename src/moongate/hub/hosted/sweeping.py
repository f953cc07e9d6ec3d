"""What of a repository's history nothing leads to any more: found, and forgotten.

History is dropped by squashing it, by deleting a branch or a tag, and by a push that is forced. Its commits,
trees and blobs stay until a sweep finds that no ref leads to them; their content is then left to collection.
Listings of commits that no ref points at go too: the trees can make them anew.

A sweep walks from the refs and forgets the rest in one transaction, in which it looks at the refs again; what
landed since it began stays. Whoever lands something on a commit looks in theirs whether that is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moongate.core.errors import StoreError
from moongate.core.names import CommitHash
from moongate.hub.hosted.objects import GitObjects
from moongate.store.index import HostedRow, Index
from moongate.wire.git_objects import EMPTY_TREE, parse_tag

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep forgot: commits, trees and tags; blobs; and listings."""

    objects: int = 0
    blobs: int = 0
    listings: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(self.objects + other.objects, self.blobs + other.blobs, self.listings + other.listings)


class Sweeping:
    """Sweeps repositories. Any thread; blocks."""

    def __init__(self, index: Index, objects: GitObjects, clock: Callable[[], float]) -> None:
        self._index = index
        self._objects = objects
        self._clock = clock

    def run(self, stop: Callable[[], bool] = lambda: False) -> Swept:
        """Sweep every repository. Again is free."""
        total = Swept()
        for row in self._index.hosted_repos():
            if stop():
                break
            total += self.sweep(row)
        return total

    def sweep(self, row: HostedRow) -> Swept:
        """Forget what no ref of a repository leads to."""
        listings = self._drop_listings(row)
        for _ in range(_TRIES):
            began = self._clock()
            roots = {ref.target for ref in self._index.hosted_refs(row.number)}
            try:
                reached = self._reached(row, roots)
            except StoreError:  # it was changed or dropped meanwhile, or is damaged: nothing is sure
                return Swept(listings=listings)
            counts = self._index.keep_only_objects(row.number, roots, reached, began)
            if counts is not None:
                if counts[0]:
                    self._objects.forget(row)
                return Swept(*counts, listings)
        return Swept(listings=listings)

    def _drop_listings(self, row: HostedRow) -> int:
        pointed = {ref.commit_hash for ref in self._index.hosted_refs(row.number)}
        unpointed = [one for one in self._index.commits_of(row.repo) if one not in pointed]
        for commit_hash in unpointed:
            self._index.drop_listing(row.repo, commit_hash)
        return len(unpointed)

    def _reached(self, row: HostedRow, roots: set[str]) -> set[str]:
        """The oids of everything that the roots lead to, blobs included."""
        reached: set[str] = set()
        trees: set[str] = set()
        waiting = list(roots)
        while waiting:
            oid = waiting.pop()
            if oid in reached:
                continue
            reached.add(oid)
            found = self._objects.get(row, oid)
            if found is None:
                raise StoreError(f"{row.repo} has lost {oid}")
            if found.kind == "tag":
                waiting.append(parse_tag(found.body).target)
                continue
            commit = self._objects.commit(row, CommitHash(oid))
            waiting.extend(commit.parents)
            trees.add(commit.tree)
        level = trees - {EMPTY_TREE}
        while level:
            reached |= level
            items = [item for tree in self._objects.trees(row, level).values() for item in tree.values()]
            reached.update(item.oid for item in items if not item.is_folder)
            level = {item.oid for item in items if item.is_folder} - reached - {EMPTY_TREE}
        return reached
