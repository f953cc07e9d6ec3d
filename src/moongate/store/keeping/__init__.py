"""Upkeep of the store: room, truth and order.

    evict      make room under a quota: refetchable content goes, pinned, read and growing content stays
    remove     give up a repository or a revision at once, because somebody asked
    verify     hash everything again; what is wrong goes to quarantine, and the next request refetches it
    collect    bring disk and index together again, and drop what no longer serves anybody
    digests    note the sha256 of what is kept under git's object id
    usage      who holds how much

`Keeping` gives them one door. All of it blocks and belongs in a thread; all of it may be stopped at any
moment and run again, beside a serving gateway or several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from moongate.core.names import RepoId, Revision
from moongate.store.blobs import Blobs
from moongate.store.index import Eviction, Index
from moongate.store.keeping.collect import Ages, Collected, collect
from moongate.store.keeping.digests import note_digests
from moongate.store.keeping.evict import Evicted, Limits, evict, make_room
from moongate.store.keeping.remove import Removed, remove, would_free
from moongate.store.keeping.usage import StoreUsage, usage
from moongate.store.keeping.verify import verify
from moongate.store.keeping.verify_xet import Checked
from moongate.store.layout import Layout
from moongate.store.segments import Segments

__all__ = [
    "Ages",
    "Checked",
    "Collected",
    "Evicted",
    "Keeping",
    "Limits",
    "Removed",
    "StoreUsage",
]


class Keeping:
    """The upkeep of one store."""

    def __init__(
        self,
        layout: Layout,
        blobs: Blobs,
        index: Index,
        *,
        quota_bytes: int = 0,
        min_free_bytes: int = 0,
        eviction: Eviction = "lru",
        clock: Callable[[], float] = time.time,
        segments: Segments | None = None,
    ) -> None:
        """`quota_bytes` bounds blobs, xorbs and partial files together; zero: no bound, for either limit."""
        self._layout = layout
        self._blobs = blobs
        self._segments = segments or Segments(layout)
        self._index = index
        self._limits = Limits(quota_bytes, min_free_bytes, eviction)
        self._clock = clock

    def evict(self, stop: Callable[[], bool] = lambda: False) -> Evicted:
        """Bring the store within its limits, as far as what may go allows."""
        return evict(self._layout, self._blobs, self._segments, self._index, self._limits, stop=stop)

    def make_room(self, incoming_bytes: int) -> Evicted:
        """Evict until so many bytes more fit the limits.

        Raises:
            StoreFull: they do not fit, whatever may go.
        """
        return make_room(self._layout, self._blobs, self._segments, self._index, self._limits, incoming_bytes)

    def has_room_for_copy(self, size_bytes: int) -> bool:
        """Whether a second copy of so many bytes fits the limits, once other second copies made room."""
        return not evict(
            self._layout,
            self._blobs,
            self._segments,
            self._index,
            self._limits,
            size_bytes,
            copies_only=True,
        ).over_bytes

    def remove(self, repo: RepoId, revision: Revision | None = None) -> Removed:
        """Give up a repository, or a revision of it, now.

        Raises:
            RepoAbsent, RevisionAbsent: nothing of it is known here.
            StoreError: it is pinned.
        """
        return remove(self._layout, self._blobs, self._segments, self._index, repo, revision)

    def would_free(self, repo: RepoId, revision: Revision | None = None) -> int:
        """What `remove` would free, in bytes. Partial files are not counted.

        Raises:
            RepoAbsent, RevisionAbsent: nothing of it is known here.
        """
        return would_free(self._blobs, self._index, repo, revision)

    def verify(
        self,
        *,
        verified_before: float = float("inf"),
        threads: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Checked]:
        """Hash every blob and Xet file that was last found right before a time; results as they come."""
        return verify(
            self._blobs,
            self._segments,
            self._index,
            verified_before=verified_before,
            threads=threads,
            progress=progress,
            clock=self._clock,
        )

    def collect(self, ages: Ages | None = None, stop: Callable[[], bool] = lambda: False) -> Collected:
        """Bring disk and index together and drop what serves nobody."""
        return collect(
            self._layout,
            self._blobs,
            self._segments,
            self._index,
            ages or Ages(),
            clock=self._clock,
            stop=stop,
        )

    def note_digests(self, stop: Callable[[], bool] = lambda: False, most: int | None = None) -> int:
        """Hash small files whose sha256 is not known yet; how many."""
        return note_digests(self._blobs, self._index, stop=stop, most=most)

    def usage(self) -> StoreUsage:
        """Who holds how much. Walks every listing."""
        return usage(self._layout, self._segments, self._index, self._limits.quota_bytes)
