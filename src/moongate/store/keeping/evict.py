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

from moongate.core.digests import Etag
from moongate.core.errors import StoreFull
from moongate.store.blobs import Blobs
from moongate.store.index import BlobRow, Eviction, Index
from moongate.store.keeping.partials import PartialFile, drop_partial, partial_files
from moongate.store.layout import Layout

_PAGE = 256


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
    *,
    clock: Callable[[], float],
) -> Evicted:
    """Evict until `incoming_bytes` more fit.

    Raises:
        StoreFull: they do not, whatever may go.
    """
    evicted = evict(layout, blobs, index, limits, incoming_bytes, clock=clock)
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
    clock: Callable[[], float],
    stop: Callable[[], bool] = lambda: False,
) -> Evicted:
    """Evict until the store, with `incoming_bytes` more, is within its limits, or nothing may go."""
    if not (limits.quota_bytes or limits.min_free_bytes):
        return Evicted()
    with _alone(layout):
        partials = partial_files(layout)
        over_bytes = _over_bytes(layout, index, limits, partials) + incoming_bytes
        freed_bytes = removed_blobs = removed_partials = busy = 0
        queue = _queue(index, limits.eviction, partials)
        while over_bytes > freed_bytes and not stop() and (candidate := next(queue, None)) is not None:
            if isinstance(candidate, PartialFile):
                freed = None if index.is_pinned(candidate.etag) else drop_partial(layout, candidate.etag)
                removed_partials += freed is not None
            else:
                freed = drop_blob(blobs, index, candidate.etag, clock())
                removed_blobs += freed is not None
            busy += freed is None
            freed_bytes += freed or 0
    return Evicted(freed_bytes, removed_blobs, removed_partials, busy, max(0, over_bytes - freed_bytes))


def drop_blob(blobs: Blobs, index: Index, etag: Etag, now: float, *, force: bool = False) -> int | None:
    """Free one sealed file and its row; the bytes it took, or None when it is open and was left alone.

    Bytes go first: after a crash in between, a row without bytes is harmless, and bytes without a row
    would not count.
    """
    freed = blobs.remove(etag, force=force)
    if not freed and blobs.size_bytes(etag) is not None:
        return None
    index.drop_blob(etag, sealed_until=now)  # filled and sealed again meanwhile? then its row is right
    return freed


def _over_bytes(layout: Layout, index: Index, limits: Limits, partials: list[PartialFile]) -> int:
    """How far the store is beyond its limits; negative when there is room."""
    beyond = []
    if limits.quota_bytes:
        used = index.total_bytes() + sum(partial.stored_bytes for partial in partials)
        beyond.append(used - limits.quota_bytes)
    if limits.min_free_bytes:
        disk = os.statvfs(layout.root)
        beyond.append(limits.min_free_bytes - disk.f_bavail * disk.f_frsize)
    return max(beyond)


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
