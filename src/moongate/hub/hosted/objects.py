"""git's commits, trees and tags of hosted repositories, read from the index and parsed.

An object never changes, so what was parsed is kept: the last few trees and many commits, for all threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from moongate.core.errors import StoreError
from moongate.core.names import CommitHash
from moongate.store.index import GitObjectRow, HostedRow, Index
from moongate.wire.git_objects import (
    EMPTY_TREE,
    CommitObject,
    TreeItem,
    parse_commit,
    parse_tree,
)

_TREE_ITEMS_KEPT: Final = 400_000
_COMMITS_KEPT: Final = 50_000

Tree = dict[str, TreeItem]
"""A folder: its items by name, in git's order."""


class GitObjects:
    """The objects of all hosted repositories."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._trees: OrderedDict[tuple[int, str], Tree] = OrderedDict()
        self._items_kept = 0
        self._commits: OrderedDict[tuple[int, str], CommitObject] = OrderedDict()

    def forget(self, row: HostedRow) -> None:
        """Drop what memory has of a repository, after objects of it were forgotten."""
        with self._lock:
            for key in [key for key in self._trees if key[0] == row.number]:
                self._items_kept -= len(self._trees.pop(key)) + 1
            for key in [key for key in self._commits if key[0] == row.number]:
                del self._commits[key]

    def get(self, row: HostedRow, oid: str) -> GitObjectRow | None:
        """A commit, tree or tag of a repository as git hashes it; None: the repository has none such."""
        if oid == EMPTY_TREE:
            return GitObjectRow(EMPTY_TREE, "tree", b"")
        return self._index.git_object(row.number, oid)

    def get_several(self, row: HostedRow, oids: Iterable[str]) -> dict[str, GitObjectRow]:
        """Those of these objects that the repository has, by oid."""
        return self._index.git_objects(row.number, oids)

    def has_commit(self, row: HostedRow, oid: str) -> bool:
        """Whether the repository has a commit of that hash."""
        if (row.number, oid) in self._commits:
            return True
        found = self._index.git_object(row.number, oid)
        return found is not None and found.kind == "commit"

    def commit(self, row: HostedRow, commit_hash: CommitHash | str) -> CommitObject:
        """A commit that is there.

        Raises:
            StoreError: it is not.
        """
        key = (row.number, str(commit_hash))
        with self._lock:
            kept = self._commits.get(key)
        if kept is not None:
            return kept
        parsed = parse_commit(self._body(row, commit_hash, "commit"))
        with self._lock:
            self._commits[key] = parsed
            if len(self._commits) > _COMMITS_KEPT:
                self._commits.popitem(last=False)
        return parsed

    def tree(self, row: HostedRow, oid: str) -> Tree:
        """A folder that is there. Not to be changed.

        Raises:
            StoreError: it is not.
        """
        key = (row.number, oid)
        with self._lock:
            kept = self._trees.get(key)
            if kept is not None:
                self._trees.move_to_end(key)
                return kept
        return self._keep(key, _parsed(self._body(row, oid, "tree")))

    def trees(self, row: HostedRow, oids: Iterable[str]) -> dict[str, Tree]:
        """Several folders at once, by oid; asks the index once for many.

        Raises:
            StoreError: one is not there.
        """
        wanted = set(oids)
        with self._lock:
            found = {oid: kept for oid in wanted if (kept := self._trees.get((row.number, oid))) is not None}
        missing = wanted - found.keys()
        bodies = {oid: one.body for oid, one in self.get_several(row, missing).items() if one.kind == "tree"}
        for oid in missing:
            if oid in bodies:
                found[oid] = self._keep((row.number, oid), _parsed(bodies[oid]))
            else:
                found[oid] = self.tree(row, oid)
        return found

    def item_at(self, row: HostedRow, tree: str, path: str) -> TreeItem | None:
        """What stands at a path below a tree; None: nothing."""
        item: TreeItem | None = None
        for name in path.split("/"):
            if item is not None and not item.is_folder:
                return None
            item = self.tree(row, tree if item is None else item.oid).get(name)
            if item is None:
                return None
        return item

    def _keep(self, key: tuple[int, str], tree: Tree) -> Tree:
        with self._lock:
            if key not in self._trees:
                self._trees[key] = tree
                self._items_kept += len(tree) + 1
                while self._items_kept > _TREE_ITEMS_KEPT and len(self._trees) > 1:
                    self._items_kept -= len(self._trees.popitem(last=False)[1]) + 1
        return tree

    def _body(self, row: HostedRow, oid: str, kind: str) -> bytes:
        found = self.get(row, oid)
        if found is None or found.kind != kind:
            raise StoreError(f"{row.repo} has lost its {kind} {oid}")
        return found.body


def _parsed(body: bytes) -> Tree:
    return {item.name: item for item in parse_tree(body)}
