"""The large files of a repository, over all its history: listed, and dropped for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from moongate.core.digests import Etag
from moongate.hub.hosted.history import History
from moongate.hub.hosted.listings import HostedListings, moment
from moongate.hub.hosted.refs import HostedRefs
from moongate.store.index import HostedBlob, HostedRow, Index

_PAGE = 1000


class Inventory:
    """Large files by content."""

    def __init__(
        self,
        index: Index,
        refs: HostedRefs,
        listings: HostedListings,
        history: History,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._refs = refs
        self._listings = listings
        self._history = history
        self._clock = clock

    def page(self, row: HostedRow, cursor: str, limit: int) -> tuple[list[dict[str, object]], str]:
        """The large files after a cursor (begin with an empty one), and the next cursor; empty: no more."""
        names = self._names(row)
        found: list[HostedBlob] = []
        after = cursor
        while len(found) <= limit and (blobs := self._index.hosted_blobs_after(row.number, after, _PAGE)):
            after = blobs[-1].oid
            found += [blob for blob in blobs if blob.is_lfs]
        shown = found[:limit]
        told = [self._told(blob, names.get(blob.etag), row) for blob in shown]
        return told, shown[-1].oid if len(found) > limit else ""

    def drop(self, row: HostedRow, etags: Iterable[Etag]) -> int:
        """Give up these contents in all of the repository's history; how many it had.

        Commits and pointers stay; the files that pointed there are gone from every listing.
        """
        now = self._clock()
        blobs = [blob for etag in etags for blob in self._index.hosted_blobs_with(row.number, etag)]
        gone = self._index.release_blobs(row.number, [blob for blob in blobs if blob.is_lfs], now + 1.0, now)
        for commit_hash in self._index.commits_of(row.repo):
            self._index.drop_listing(row.repo, commit_hash)
        return len(gone)

    def _names(self, row: HostedRow) -> dict[Etag, tuple[str, str, float]]:
        """A path, the ref it was found at and when that moved, for the contents that a ref still lists."""
        names: dict[Etag, tuple[str, str, float]] = {}
        for ref in self._refs.all(row):
            for entry in self._listings.files(row, ref.commit_hash):
                names.setdefault(entry.etag, (entry.path, ref.name, ref.moved_at))
        return names

    @staticmethod
    def _told(blob: HostedBlob, named: tuple[str, str, float] | None, row: HostedRow) -> dict[str, object]:
        path, ref, pushed_at = named or ("", None, row.changed_at)
        return {
            "oid": blob.etag,
            "fileOid": blob.etag,
            "filename": path,
            "size": blob.size_bytes,
            "pushedAt": moment(pushed_at),
            "ref": ref,
            "pusher": {"user": row.creator},
        }
