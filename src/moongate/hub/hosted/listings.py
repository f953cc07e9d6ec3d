"""Which files a commit has, and what is said of them: from its trees, and from what its blobs mean.

The listing of a commit is also written down as a proxied repository's is, for whatever looks at those rows
(ranges, Xet, `moongate ls`): at once for where a branch points, otherwise when it is first asked for. It may
be dropped at any time; the trees say everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from moongate.core.errors import EntryAbsent
from moongate.core.names import CommitHash, RepoPath
from moongate.core.records import FileEntry
from moongate.hub.hosted.objects import GitObjects, Tree
from moongate.store.index import HostedBlob, HostedRow, Index
from moongate.wire.git_objects import EMPTY_TREE, MODE_SUBMODULE, CommitObject, TreeItem
from moongate.wire.lfs import pointer_text

Told = dict[str, object]
"""An entry of a tree as the API shows it."""

_MOST_COMMITS_LOOKED_AT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A file or folder of a commit."""

    path: str
    item: TreeItem


class HostedListings:
    """Files and folders of commits."""

    def __init__(self, index: Index, objects: GitObjects) -> None:
        self._index = index
        self._objects = objects

    # One file

    def file(self, row: HostedRow, commit_hash: CommitHash, path: RepoPath) -> FileEntry:
        """The file at a path of a commit.

        Raises:
            EntryAbsent: there is none; carries the commit.
        """
        item = self._objects.item_at(row, self._objects.commit(row, commit_hash).tree, path)
        blob = None if item is None or item.is_folder else self._index.hosted_blob(row.number, item.oid)
        if blob is None:
            if item is not None and self._index.released_blob(row.number, item.oid) is not None:
                raise EntryAbsent(
                    f"{path} of this old revision was let go by the retention rule of {row.repo.namespace}",
                    commit_hash,
                )
            raise EntryAbsent(f"Entry not found: {path}", commit_hash)
        return FileEntry(path, blob.etag, blob.size_bytes, blob.xet_hash)

    # Whole commits

    def files(self, row: HostedRow, commit_hash: CommitHash) -> list[FileEntry]:
        """Every file of a commit, by path."""
        listed = [one for one in self._below(row, self._root(row, commit_hash), "") if not one.item.is_folder]
        blobs = self._meanings(row, listed)
        return sorted(
            (_entry(one.path, blobs[one.item.oid]) for one in listed if one.item.oid in blobs),
            key=lambda entry: entry.path,
        )

    def write_down(self, row: HostedRow, commit_hash: CommitHash, like: CommitHash | None = None) -> None:
        """Have the commit's listing in the index, whole; free when it is.

        like: another commit, whose listing may be there and differs little.
        """
        if self._index.listing_complete(row.repo, commit_hash):
            return
        if like is not None and self._index.listing_complete(row.repo, like):
            gone, changed = self.changes(row, like, commit_hash)
            if self._index.put_changed_files(row.repo, commit_hash, like, gone, changed):
                return
        self._index.put_files(row.repo, commit_hash, self.files(row, commit_hash), complete=True)

    def changes(
        self, row: HostedRow, old: CommitHash, new: CommitHash
    ) -> tuple[list[RepoPath], list[FileEntry]]:
        """The paths that are gone from one commit to another, and the files that are new or others."""
        gone, put = self.compare(row, old, new)
        blobs = self._meanings(row, put)
        return gone, [_entry(one.path, blobs[one.item.oid]) for one in put if one.item.oid in blobs]

    def compare(
        self, row: HostedRow, old: CommitHash, new: CommitHash
    ) -> tuple[list[RepoPath], list[Listed]]:
        """As `changes`, with what git says of the new files."""
        gone: list[RepoPath] = []
        put: list[Listed] = []
        self._compare(row, self._root(row, old), self._root(row, new), "", gone, put)
        return gone, put

    # As the API shows it

    def tree(
        self, row: HostedRow, commit_hash: CommitHash, folder: str, *, recursive: bool, expand: bool
    ) -> list[Told]:
        """The entries of a folder, or of everything below it.

        Raises:
            EntryAbsent: there is no such folder; carries the commit.
        """
        root = self._root(row, commit_hash)
        oid: str | None = root
        if folder:
            item = self._objects.item_at(row, root, folder)
            oid = item.oid if item is not None and item.is_folder else None
        if oid is None:
            raise EntryAbsent(f'{folder} does not exist on "{commit_hash}"', commit_hash)
        prefix = f"{folder}/" if folder else ""
        if recursive:
            listed = list(self._below(row, oid, prefix))
        else:
            listed = [Listed(prefix + name, item) for name, item in self._tree(row, oid).items()]
            listed.sort(key=lambda one: not one.item.is_folder)
        return self._told(row, commit_hash, listed, expand=expand)

    def paths(
        self, row: HostedRow, commit_hash: CommitHash, paths: Iterable[str], *, expand: bool
    ) -> list[Told]:
        """What stands at these paths; those at which nothing does are left out."""
        root = self._root(row, commit_hash)
        found = [(path, self._objects.item_at(row, root, path)) for path in dict.fromkeys(paths)]
        listed = [Listed(path, item) for path, item in found if item is not None]
        return self._told(row, commit_hash, listed, expand=expand)

    def tree_size(self, row: HostedRow, commit_hash: CommitHash, folder: str) -> int:
        """The bytes of all files below a folder, or of the file at that path."""
        told = self.paths(row, commit_hash, [folder], expand=False) if folder else []
        if told and told[0]["type"] == "file":
            return int(str(told[0]["size"]))
        entries = self.tree(row, commit_hash, folder, recursive=True, expand=False)
        return sum(int(str(one["size"])) for one in entries)

    def last_commits(
        self, row: HostedRow, commit_hash: CommitHash, paths: Sequence[str]
    ) -> dict[str, tuple[CommitHash, CommitObject]]:
        """The last commit that changed each of these paths, going by first parents."""
        pending: dict[str, list[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            pending.setdefault(folder, []).append(name)
        found: dict[str, tuple[CommitHash, CommitObject]] = {}
        here: CommitHash | None = commit_hash
        for _ in range(_MOST_COMMITS_LOOKED_AT):
            if here is None or not pending:
                break
            commit = self._objects.commit(row, here)
            parent = CommitHash(commit.parents[0]) if commit.parents else None
            before = EMPTY_TREE if parent is None else self._root(row, parent)
            for folder in list(pending):
                for name in self._changed_names(row, commit.tree, before, folder, pending[folder]):
                    found[f"{folder}/{name}" if folder else name] = (here, commit)
                    pending[folder].remove(name)
                if not pending[folder]:
                    del pending[folder]
            here = parent
        return found

    def _changed_names(
        self, row: HostedRow, now: str, before: str, folder: str, names: Sequence[str]
    ) -> list[str]:
        new, old = self._folder_oid(row, now, folder), self._folder_oid(row, before, folder)
        if new == old:
            return []
        items = self._tree(row, new) if new else {}
        were = self._tree(row, old) if old else {}
        return [name for name in names if items.get(name) != were.get(name)]

    def _folder_oid(self, row: HostedRow, root: str, folder: str) -> str | None:
        if not folder or root == EMPTY_TREE:
            return root
        item = self._objects.item_at(row, root, folder)
        return item.oid if item is not None and item.is_folder else None

    def _told(
        self, row: HostedRow, commit_hash: CommitHash, listed: Sequence[Listed], *, expand: bool
    ) -> list[Told]:
        blobs = self._meanings(row, listed)
        told = [
            _told_entry(one, blobs.get(one.item.oid))
            for one in listed
            if one.item.is_folder or one.item.oid in blobs
        ]
        if expand:
            last = self.last_commits(row, commit_hash, [str(one["path"]) for one in told])
            for one in told:
                if str(one["path"]) in last:
                    one["lastCommit"] = _told_commit(*last[str(one["path"])])
        return told

    def _root(self, row: HostedRow, commit_hash: CommitHash) -> str:
        return self._objects.commit(row, commit_hash).tree

    def _tree(self, row: HostedRow, oid: str) -> Tree:
        return {} if oid == EMPTY_TREE else self._objects.tree(row, oid)

    def _meanings(self, row: HostedRow, listed: Iterable[Listed]) -> dict[str, HostedBlob]:
        oids = {one.item.oid for one in listed if not one.item.is_folder and one.item.mode != MODE_SUBMODULE}
        return self._index.hosted_blobs(row.number, sorted(oids))

    def _below(self, row: HostedRow, root: str, prefix: str) -> Iterator[Listed]:
        """Everything below a tree, each folder before what is in it."""
        trees: dict[str, Tree] = {}
        level = {root} - {EMPTY_TREE}
        while level:
            trees |= self._objects.trees(row, level)
            below = {item.oid for oid in level for item in trees[oid].values() if item.is_folder}
            level = below - trees.keys() - {EMPTY_TREE}
        yield from _walk(trees, root, prefix)

    def _compare(
        self,
        row: HostedRow,
        old: str | None,
        new: str | None,
        prefix: str,
        gone: list[RepoPath],
        put: list[Listed],
    ) -> None:
        were = self._tree(row, old) if old else {}
        items = self._tree(row, new) if new else {}
        for name in {**were, **items}:
            was, item = were.get(name), items.get(name)
            if was == item:
                continue
            path = prefix + name
            old_folder = was.oid if was is not None and was.is_folder else None
            new_folder = item.oid if item is not None and item.is_folder else None
            if old_folder or new_folder:
                self._compare(row, old_folder, new_folder, f"{path}/", gone, put)
            if was is not None and not was.is_folder and (item is None or item.is_folder):
                gone.append(RepoPath(path))
            if item is not None and not item.is_folder:
                put.append(Listed(path, item))


def moment(at: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def commit_title(message: str) -> str:
    """A commit message's first line."""
    return message.strip("\n").partition("\n")[0]


def _walk(trees: dict[str, Tree], oid: str, prefix: str) -> Iterator[Listed]:
    for name, item in trees.get(oid, {}).items():
        path = prefix + name
        yield Listed(path, item)
        if item.is_folder:
            yield from _walk(trees, item.oid, f"{path}/")


def _entry(path: str, blob: HostedBlob) -> FileEntry:
    return FileEntry(RepoPath(path), blob.etag, blob.size_bytes, blob.xet_hash)


def _told_entry(one: Listed, blob: HostedBlob | None) -> Told:
    if blob is None:
        return {"type": "directory", "oid": one.item.oid, "size": 0, "path": one.path}
    told: Told = {"type": "file", "oid": blob.oid, "size": blob.size_bytes, "path": one.path}
    if blob.is_lfs:
        pointer_bytes = len(pointer_text(blob.etag, blob.size_bytes))
        told["lfs"] = {"oid": blob.etag, "size": blob.size_bytes, "pointerSize": pointer_bytes}
    if blob.xet_hash is not None:
        told["xetHash"] = blob.xet_hash
    return told


def _told_commit(commit_hash: CommitHash, commit: CommitObject) -> Told:
    return {"id": commit_hash, "title": commit_title(commit.message), "date": moment(commit.committer.at)}
