"""Eviction: content that can be fetched again makes room, in the order of a policy.

Never chosen: what a pinned commit lists, what somebody has open (a shared lock says so), what is being
filled. Idle partials stand in the same queue as sealed files. One process evicts at a time; a second one
waits, looks again, and mostly finds nothing to do.
"""

from __future__ import annotations

import fcntl
import heapq
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from moongate.core.errors import StoreFull
from moongate.store.blobs import Blobs
from moongate.store.index import BlobRow, Eviction, Index
from moongate.store.keeping.partials import PartialFile, drop_partial, partial_files
from moongate.store.layout import Layout

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `quota_bytes` for the store, at least `min_free_bytes` left on its disk. Zero: no limit."""

    quota_bytes: int = 0
    min_free_bytes: int = 0
    eviction: Eviction = "lru"


@dataclass(frozen=True, slots=True)
class Evicted:
    """What an eviction did. `busy`: passed over because open. `over_bytes`: what is still too much."""

    freed_bytes: int = 0
    blobs: int = 0
    partials: int = 0
    busy: int = 0
    over_bytes: int = 0


def make_room(
    layout: Layout,
    blobs: Blobs,
    index: Index,
    limits: Limits,
    incoming_bytes: int,
) -> Evicted:
    """Evict until `incoming_bytes` more fit.

    Raises:
        StoreFull: they do not, whatever may go.
    """
    evicted = evict(layout, blobs, index, limits, incoming_bytes)
    if evicted.over_bytes:
        raise StoreFull(
            f"no room for {incoming_bytes} bytes: {evicted.over_bytes} too many, and what is left is pinned "
            "or in use; raise the quota, free disk space, or unpin something"
        )
    return evicted


def evict(
    layout: Layout,
    blobs: Blobs,
    index: Index,
    limits: Limits,
    incoming_bytes: int = 0,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Evicted:
    """Evict until the store, with `incoming_bytes` more, is within its limits, or nothing may go."""
    if not (limits.quota_bytes or limits.min_free_bytes):
        return Evicted()
    with _alone(layout):
        partials = partial_files(layout)
        excess = _excess(layout, index, limits, partials, incoming_bytes)
        freed_bytes = removed_blobs = removed_partials = busy = 0
        unpinned = [partial for partial in partials if not index.is_pinned(partial.etag)]
        queue = _queue(index, limits.eviction, unpinned)
        while excess.bytes > 0 and not stop() and (candidate := next(queue, None)) is not None:
            if isinstance(candidate, PartialFile):
                freed = drop_partial(layout, candidate.etag)
                removed_partials += freed is not None
            else:
                freed = drop_blob(blobs, index, candidate)
                removed_blobs += freed is not None
            if freed is None:
                busy += 1
                continue
            freed_bytes += freed
            counted = candidate.stored_bytes if isinstance(candidate, PartialFile) else candidate.size_bytes
            excess = excess.less(counted, freed)
    return Evicted(freed_bytes, removed_blobs, removed_partials, busy, max(0, int(excess.bytes)))


def drop_blob(blobs: Blobs, index: Index, row: BlobRow, *, force: bool = False) -> int | None:
    """Free one sealed file and its row; the bytes it took, or None when it is open and was left alone.

    Bytes go first: after a crash in between, a row without bytes is harmless, and bytes without a row
    would not count.
    """
    freed = blobs.remove(row.etag, force=force)
    if not freed and blobs.size_bytes(row.etag) is not None:
        return None
    index.drop_blob(row)
    return freed


@dataclass(frozen=True, slots=True)
class _Excess:
    """How far the store is beyond each limit; negative when there is room, minus infinity without a limit.

    The quota goes by what the index counts, the reserve by what the disk has: they differ when a row has
    lost its file.
    """

    of_quota: float
    of_disk: float

    @property
    def bytes(self) -> float:
        return max(self.of_quota, self.of_disk)

    def less(self, counted_bytes: int, freed_bytes: int) -> _Excess:
        return _Excess(self.of_quota - counted_bytes, self.of_disk - freed_bytes)


def _excess(
    layout: Layout, index: Index, limits: Limits, partials: list[PartialFile], incoming_bytes: int
) -> _Excess:
    of_quota = of_disk = float("-inf")
    if limits.quota_bytes:
        used = index.total_bytes() + sum(partial.stored_bytes for partial in partials)
        of_quota = used + incoming_bytes - limits.quota_bytes
    if limits.min_free_bytes:
        disk = os.statvfs(layout.root)
        of_disk = limits.min_free_bytes + incoming_bytes - disk.f_bavail * disk.f_frsize
    return _Excess(of_quota, of_disk)


def _queue(index: Index, policy: Eviction, partials: list[PartialFile]) -> Iterator[BlobRow | PartialFile]:
    """Sealed and partial files together, what should go first in front."""

    def key(candidate: BlobRow | PartialFile) -> float:
        if isinstance(candidate, PartialFile):
            return -candidate.stored_bytes if policy == "largest" else candidate.changed_at
        if policy == "largest":
            return -candidate.size_bytes
        return candidate.read_at if policy == "lru" else candidate.sealed_at

    return heapq.merge(_sealed(index, policy), sorted(partials, key=key), key=key)


def _sealed(index: Index, policy: Eviction) -> Iterator[BlobRow]:
    last: BlobRow | None = None
    while page := index.eviction_candidates(_PAGE, policy, last):
        yield from page
        last = page[-1]


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Only one process (and thread) of this store at a time."""
    fd = os.open(layout.evict_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
