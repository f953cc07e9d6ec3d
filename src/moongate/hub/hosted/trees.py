"""A tree with some entries changed: only the folders on the way are read, and only they become new."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from moongate.core.errors import BadRequest, EntryAbsent
from moongate.core.names import shown
from moongate.store.index import GitObjectRow
from moongate.wire.git_objects import (
    EMPTY_TREE,
    MODE_FOLDER,
    TreeItem,
    encode_tree,
    object_oid,
)

ReadTree = Callable[[str], Mapping[str, TreeItem]]
"""A folder's items by name, by the oid of its tree."""


class TreeEdit:
    """Changes to one tree, applied in order. `build` says what came of them."""

    def __init__(self, read: ReadTree, root: str) -> None:
        self._read = read
        self._root = _Folder(read, root)
        self._put: set[str] = set()

    def at(self, path: str) -> TreeItem | None:
        """What stands at a path now; None: nothing. A folder that was changed has no oid yet (empty text)."""
        folder_path, _, name = path.rpartition("/")
        folder = self._folder(folder_path)
        return None if folder is None else folder.item(name)

    def put(self, path: str, mode: int, oid: str) -> None:
        """Put a file, or a whole folder, at a path; a file that stands there is replaced.

        Raises:
            BadRequest: a folder stands there, or a file stands where a folder is needed.
        """
        folder_path, _, name = path.rpartition("/")
        folder = self._root
        for part in folder_path.split("/") if folder_path else ():
            folder = folder.enter(part, path)
        item = folder.item(name)
        if item is not None and item.is_folder:
            raise BadRequest(f"{shown(path)} is a folder; it cannot become a file at once")
        folder.put(TreeItem(mode, name, oid))
        self._put.add(path)

    def drop(self, path: str) -> TreeItem:
        """Drop what stands at a path, with all that is below; folders left empty go, too. What it was.

        Raises:
            EntryAbsent: nothing stands there.
        """
        item = self.at(path)
        if item is None:
            raise EntryAbsent(f"A file or folder with the name {shown(path)} does not exist")
        self._drop(self._root, path.split("/"))
        return item

    def folder_oid(self, path: str) -> str | None:
        """The oid of the folder at a path as it is now; None when there is none."""
        folder = self._folder(path)
        return None if folder is None else folder.build([])

    def files_below(self, path: str) -> Iterator[tuple[str, TreeItem]]:
        """Every file below a folder as it is now, by its path."""
        folder = self._folder(path)
        if folder is not None:
            yield from folder.files(f"{path}/" if path else "")

    def files_put(self) -> Iterator[tuple[str, TreeItem]]:
        """Every file that was put and still stands, by its path; with a folder, those below it."""
        for path in sorted(self._put):
            item = self.at(path)
            if item is not None and item.is_folder:
                yield from self.files_below(path)
            elif item is not None:
                yield path, item

    def build(self) -> tuple[str, list[GitObjectRow]]:
        """The oid of the root tree, and the trees that were changed, as objects."""
        made: list[GitObjectRow] = []
        return self._root.build(made), made

    def _folder(self, path: str) -> _Folder | None:
        folder: _Folder | None = self._root
        for part in path.split("/") if path else ():
            folder = folder.below(part) if folder is not None else None
        return folder

    def _drop(self, folder: _Folder, parts: list[str]) -> None:
        if len(parts) == 1:
            folder.drop(parts[0])
            return
        below = folder.enter(parts[0], "/".join(parts))
        self._drop(below, parts[1:])
        if below.is_empty:
            folder.drop(parts[0])


class _Folder:
    """One folder of the edit; read when it is looked into, copied when it is changed."""

    __slots__ = ("_below", "_changed", "_items", "_oid", "_read")

    def __init__(self, read: ReadTree, oid: str) -> None:
        self._read = read
        self._oid = oid
        self._items: Mapping[str, TreeItem] | None = None
        self._changed: dict[str, TreeItem] | None = None
        self._below: dict[str, _Folder] = {}

    @property
    def items(self) -> Mapping[str, TreeItem]:
        if self._changed is not None:
            return self._changed
        if self._items is None:
            self._items = {} if self._oid == EMPTY_TREE else self._read(self._oid)
        return self._items

    @property
    def is_empty(self) -> bool:
        return not self.items

    def item(self, name: str) -> TreeItem | None:
        below = self._below.get(name)
        if below is not None and below.is_touched:
            return TreeItem(MODE_FOLDER, name, "")
        return self.items.get(name)

    @property
    def is_touched(self) -> bool:
        return self._changed is not None or any(below.is_touched for below in self._below.values())

    def below(self, name: str) -> _Folder | None:
        """The folder of this name, if there is one."""
        known = self._below.get(name)
        if known is not None:
            return known
        item = self.items.get(name)
        if item is None or not item.is_folder:
            return None
        return self._below.setdefault(name, _Folder(self._read, item.oid))

    def enter(self, name: str, path: str) -> _Folder:
        """The folder of this name, made when there is none."""
        below = self.below(name)
        if below is not None:
            return below
        if name in self.items:
            raise BadRequest(f"{shown(path)} cannot be: {shown(name)} is a file")
        self._own()[name] = TreeItem(MODE_FOLDER, name, EMPTY_TREE)
        return self._below.setdefault(name, _Folder(self._read, EMPTY_TREE))

    def put(self, item: TreeItem) -> None:
        self._below.pop(item.name, None)
        self._own()[item.name] = item

    def drop(self, name: str) -> None:
        self._below.pop(name, None)
        del self._own()[name]

    def files(self, prefix: str) -> Iterator[tuple[str, TreeItem]]:
        for name, item in list(self.items.items()):
            below = self.below(name) if item.is_folder else None
            if below is not None:
                yield from below.files(f"{prefix}{name}/")
            elif not item.is_folder:
                yield f"{prefix}{name}", item

    def build(self, made: list[GitObjectRow]) -> str:
        """The folder's oid; what was changed of it is added to `made`. It may be built again."""
        for name, below in self._below.items():
            if below.is_touched:
                oid = below.build(made)
                if self.items[name].oid != oid:
                    self._own()[name] = TreeItem(MODE_FOLDER, name, oid)
        if self._changed is None:
            return self._oid
        body = encode_tree(self._changed.values())
        oid = object_oid("tree", body)
        if oid != self._oid:
            made.append(GitObjectRow(oid, "tree", body))
        return oid

    def _own(self) -> dict[str, TreeItem]:
        if self._changed is None:
            self._changed = dict(self.items)
        return self._changed
