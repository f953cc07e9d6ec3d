"""Trees and paths-info answered from a recursive listing that is known whole.

One recursive listing of a commit holds every shape of tree that a client may ask for, so the others need no
upstream, and an air-gapped gateway can answer them. It is used only when it is certain: every page is here,
and every folder of every file is named in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import dirname
from typing import Final

import orjson

from moongate.core.names import CommitHash, RepoId
from moongate.hub import keys
from moongate.store.index import Index, StoredAnswer
from moongate.wire.links import next_link

RECURSIVE: Final = (("recursive", "true"),)
FIRST_PAGE: Final = "recursive=true"
"""The query of a recursive listing's first page."""

_MAX_PAGES = 2000
_MAX_ENTRIES_SHOWN = 10_000
_MEMORY_LISTINGS = 4
_MEMORY_ENTRIES = 20_000

Item = dict[str, object]


@dataclass(frozen=True, slots=True)
class WholeListing:
    """Every entry of a commit as upstream wrote it, by path, in upstream's order."""

    items: dict[str, Item]

    def tree(self, folder: str, pairs: Sequence[tuple[str, str]]) -> bytes | None:
        """The answer to a tree question, as JSON; None when it must be asked upstream after all.

        A folder that is not there is None too; see `lacks`.
        """
        recursive = ("recursive", "true") in pairs
        if any(name != "recursive" for name, _ in pairs):
            return None
        if folder and self.items.get(folder, {}).get("type") != "directory":
            return None
        below = f"{folder}/" if folder else ""
        shown = [
            item
            for path, item in self.items.items()
            if path.startswith(below) and (recursive or dirname(path) == folder)
        ]
        if not recursive:
            # Folders first, as upstream shows them.
            shown.sort(key=lambda item: item.get("type") != "directory")
        return orjson.dumps(shown) if len(shown) <= _MAX_ENTRIES_SHOWN else None

    def lacks(self, path: str) -> bool:
        """Whether nothing at all stands at this path."""
        return bool(path) and path not in self.items

    def paths(self, paths: Sequence[str]) -> bytes:
        """The answer to an unexpanded paths-info question, as JSON."""
        return orjson.dumps([self.items[path] for path in paths if path in self.items])


class Listings:
    """Whole listings, put together from their pages in the index; the last few stay in memory."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: OrderedDict[tuple[RepoId, CommitHash], WholeListing] = OrderedDict()

    def forget(self, repo: RepoId) -> None:
        """Drop what memory knows of a repository's listings."""
        for key in [key for key in self._kept if key[0] == repo]:
            del self._kept[key]

    def whole(self, repo: RepoId, commit_hash: CommitHash) -> WholeListing | None:
        """The whole listing of a commit, if every page of it is here and it is certain."""
        key = (repo, commit_hash)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if not self._index.listing_complete(repo, commit_hash):
            return None
        pages = self.pages(repo, commit_hash)
        listing = None if pages is None else _put_together(pages)
        if listing is not None and len(listing.items) <= _MEMORY_ENTRIES:
            self._kept[key] = listing
            if len(self._kept) > _MEMORY_LISTINGS:
                self._kept.popitem(last=False)
        return listing

    def pages(self, repo: RepoId, commit_hash: CommitHash) -> list[StoredAnswer] | None:
        """Every page of the recursive listing in order; None unless all are here."""
        pages: list[StoredAnswer] = []
        pairs: Sequence[tuple[str, str]] = RECURSIVE
        while len(pages) < _MAX_PAGES:
            page = self._index.get_answer(keys.tree(repo, commit_hash, "", pairs))
            if page is None or page.status != 200:
                return None
            pages.append(page)
            link = next_link(page.headers)
            if link is None:
                return pages
            pairs = keys.normal_query(link.partition("?")[2])
        return None


def _put_together(pages: Sequence[StoredAnswer]) -> WholeListing | None:
    items: dict[str, Item] = {}
    for page in pages:
        for item in orjson.loads(page.body):
            items[str(item["path"])] = item
    folders = {path for path, item in items.items() if item.get("type") == "directory"}
    certain = all(dirname(path) in folders for path in items if "/" in path)
    return WholeListing(items) if certain else None
