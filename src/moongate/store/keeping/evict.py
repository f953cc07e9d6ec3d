"""Eviction: content that can be fetched again makes room, in the order of a policy.

First go blobs that verified chunks make, too: nothing is lost with them. Then sealed files, idle partials and
Xet files stand in one queue. A Xet file frees the chunks that no other one needs; one that would free none
waits until the queue is empty. Last go chunks that nobody needs, which only a crash leaves.

Never chosen: what a pinned commit lists (but for its second copy), what is hosted here and cannot be fetched
again, what somebody has open (a shared lock says so), what is being filled. One process evicts at a time; a
second one waits, looks again, and mostly finds nothing to do.
"""

from __future__ import annotations

import fcntl
import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from moongate.core.digests import Etag
from moongate.core.errors import StoreFull
from moongate.core.sizes import shown_size
from moongate.store.blobs import Blobs
from moongate.store.claims import Claims
from moongate.store.index import BlobRow, Eviction, Index, XetFileRow
from moongate.store.keeping.partials import PartialFile, drop_partial, partial_files
from moongate.store.layout import Layout
from moongate.store.release import free, is_in_use, own_needs, release
from moongate.store.segments import Segments
from moongate.store.upload_files import uploading_bytes

_Candidate: TypeAlias = BlobRow | PartialFile | XetFileRow

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
    xet_files: int = 0

    @property
    def files(self) -> int:
        """Sealed, partial and Xet files together."""
        return self.blobs + self.partials + self.xet_files


def make_room(
    layout: Layout,
    blobs: Blobs,
    segments: Segments,
    index: Index,
    limits: Limits,
    incoming_bytes: int,
) -> Evicted:
    """Evict until `incoming_bytes` more fit.

    Raises:
        StoreFull: they do not, whatever may go.
    """
    evicted = evict(layout, blobs, segments, index, limits, incoming_bytes)
    if evicted.over_bytes:
        wanted, over = shown_size(incoming_bytes), shown_size(evicted.over_bytes)
        quota = "raise quota_bytes, " if limits.quota_bytes else ""
        free = (
            f" or lower min_free_bytes ({shown_size(limits.min_free_bytes)})" if limits.min_free_bytes else ""
        )
        raise StoreFull(
            f"no room for {wanted}: {over} too many, and what is left is pinned or in use; {quota}unpin "
            f"something, free disk space{free}"
        )
    return evicted


def evict(
    layout: Layout,
    blobs: Blobs,
    segments: Segments,
    index: Index,
    limits: Limits,
    incoming_bytes: int = 0,
    *,
    copies_only: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Evicted:
    """Evict until the store, with `incoming_bytes` more, is within its limits, or nothing may go.

    With `copies_only`, nothing goes but blobs that verified chunks make, too.
    """
    if not (limits.quota_bytes or limits.min_free_bytes):
        return Evicted()
    with _alone(layout):
        partials = partial_files(layout)
        excess = _excess(layout, segments, index, limits, partials, incoming_bytes)
        eviction = _Eviction(layout, blobs, segments, index, excess)
        unpinned = [partial for partial in partials if not index.is_pinned(partial.etag)]
        queue: Iterator[_Candidate] = _queue(index, limits.eviction, unpinned)
        if copies_only:
            queue = _sealed(index, limits.eviction, copies=True)
        while eviction.excess.bytes > 0:
            if stop():
                return eviction.result()
            candidate = next(queue, None) or eviction.next_deferred()
            if candidate is None and copies_only:
                break
            if candidate is None:
                eviction.sweep()
                break
            eviction.take(candidate)
        return eviction.result()


class _Eviction:
    """One eviction under way."""

    def __init__(
        self, layout: Layout, blobs: Blobs, segments: Segments, index: Index, excess: _Excess
    ) -> None:
        self.excess = excess
        self._layout = layout
        self._claims = Claims(layout)
        self._blobs = blobs
        self._segments = segments
        self._index = index
        self._deferred: deque[XetFileRow] = deque()
        self._queue_ended = False
        self._freed_bytes = self._busy = 0
        self._removed = {BlobRow: 0, PartialFile: 0, XetFileRow: 0}

    def result(self) -> Evicted:
        blobs, partials, xet_files = self._removed.values()
        over_bytes = max(0, int(self.excess.bytes))
        return Evicted(self._freed_bytes, blobs, partials, self._busy, over_bytes, xet_files)

    def next_deferred(self) -> XetFileRow | None:
        """A file that had no chunk of its own while others were there; asked for once the queue is empty."""
        self._queue_ended = True
        return self._deferred.popleft() if self._deferred else None

    def take(self, candidate: _Candidate) -> None:
        """Free a candidate, unless it is open."""
        if isinstance(candidate, PartialFile):
            self._count(candidate, candidate.stored_bytes, drop_partial(self._layout, candidate.etag))
        elif isinstance(candidate, BlobRow):
            self._take_blob(candidate)
        else:
            self._take_xet_file(candidate)

    def _take_blob(self, row: BlobRow) -> None:
        with self._claims.freeing():
            if must_stay(self._index, row.etag):  # since it was chosen
                self._busy += 1
                return
            freed_bytes = drop_blob(self._blobs, self._index, row)
        self._count(row, row.size_bytes, freed_bytes)

    def _take_xet_file(self, file: XetFileRow) -> None:
        own = own_needs(self._index, file.file_id)
        if not own and not self._queue_ended:
            self._deferred.append(file)
        elif is_in_use(self._segments, own):
            self._busy += 1
        else:
            with self._claims.freeing():
                if self._index.is_pinned(file.etag):  # since it was chosen
                    self._busy += 1
                    return
                freed_bytes = release(self._segments, self._index, [file]).freed_bytes
            self._count(file, freed_bytes, freed_bytes)

    def sweep(self) -> None:
        """Free chunks that nobody needs."""
        freed_bytes = free(self._segments, self._index, self._segments.xorbs()).freed_bytes
        self._freed_bytes += freed_bytes
        self.excess = self.excess.less(freed_bytes, freed_bytes)

    def _count(self, candidate: _Candidate, counted_bytes: int, freed_bytes: int | None) -> None:
        if freed_bytes is None:
            self._busy += 1
            return
        self._removed[type(candidate)] += 1
        self._freed_bytes += freed_bytes
        self.excess = self.excess.less(counted_bytes, freed_bytes)


def must_stay(index: Index, etag: Etag) -> bool:
    """Whether a blob is pinned or hosted, and no verified chunks make it, too."""
    return index.is_pinned(etag) and not any(
        file.verified_at is not None for file in index.xet_files_of(etag)
    )


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
    layout: Layout,
    segments: Segments,
    index: Index,
    limits: Limits,
    partials: list[PartialFile],
    incoming_bytes: int,
) -> _Excess:
    of_quota = of_disk = float("-inf")
    if limits.quota_bytes:
        used = index.total_bytes() + sum(partial.stored_bytes for partial in partials)
        used += segments.stored_bytes() + uploading_bytes(layout)
        of_quota = used + incoming_bytes - limits.quota_bytes
    if limits.min_free_bytes:
        disk = os.statvfs(layout.root)
        of_disk = limits.min_free_bytes + incoming_bytes - disk.f_bavail * disk.f_frsize
    return _Excess(of_quota, of_disk)


def _queue(index: Index, policy: Eviction, partials: list[PartialFile]) -> Iterator[_Candidate]:
    """Second copies, then sealed files, partial files and Xet files together; what goes first in front."""

    def key(candidate: _Candidate) -> float:
        if isinstance(candidate, PartialFile):
            return -candidate.stored_bytes if policy == "largest" else candidate.changed_at
        if policy == "largest":
            return -candidate.size_bytes
        if policy == "lru":
            return candidate.read_at
        return candidate.sealed_at if isinstance(candidate, BlobRow) else candidate.noted_at

    yield from _sealed(index, policy, copies=True)
    streams: list[Iterable[_Candidate]] = [
        _sealed(index, policy, copies=False),
        sorted(partials, key=key),
        _xet_files(index, policy),
    ]
    yield from heapq.merge(*streams, key=key)


def _sealed(index: Index, policy: Eviction, *, copies: bool) -> Iterator[BlobRow]:
    last: BlobRow | None = None
    while page := index.eviction_candidates(_PAGE, policy, last, copies=copies):
        yield from page
        last = page[-1]


def _xet_files(index: Index, policy: Eviction) -> Iterator[XetFileRow]:
    last: XetFileRow | None = None
    while page := index.xet_candidates(_PAGE, policy, last):
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
