"""Giving up Xet files: their rows first, then the chunks that no other file needs.

In this order a row that says *verified* never misses a chunk. A crash in between leaves chunks that nobody
needs, and `keeping.collect` frees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from moongate.store.chunk_ranges import ChunkRange, difference
from moongate.store.index import Index, XetFileRow
from moongate.store.segments import Segments
from moongate.xet.hashes import XetHash

Needs = dict[XetHash, list[ChunkRange]]
"""Chunks by xorb."""


@dataclass(frozen=True, slots=True)
class Released:
    """What giving up did. `busy`: segments left for later, because read or being fetched."""

    freed_bytes: int = 0
    busy: int = 0


def release(
    segments: Segments, index: Index, files: Iterable[XetFileRow], *, force: bool = False
) -> Released:
    """Forget these files and free what only they need. With `force`, readers do not hold it up."""
    xorbs: set[XetHash] = set()
    for file in files:
        needs = index.ranges_of(file.file_id)
        index.drop_reconstruction(file)
        xorbs.update(needs)
    return free(segments, index, xorbs, force=force)


def discard(segments: Segments, index: Index, file_id: str, *, doubt: bool = False) -> Released:
    """Forget a file whose bytes were found wrong, and free its chunks but for those of verified files.

    With `doubt`, these go, too, and who needs them has to be proven again: for a file that stays wrong
    although everything else of it was fetched anew.
    """
    needs = index.ranges_of(file_id)
    index.drop_reconstruction(file_id)
    if doubt:
        for other in {other for xorb in needs for other in index.references(xorb)}:
            index.mark_unverified(other)
    freed_bytes = busy = 0
    for xorb in needs:
        # Readers do not save it: who goes on with what was found wrong would find it wrong again.
        needed = partial(index.needed, xorb, verified_since=float("-inf"))
        kept = segments.keep_only(xorb, needed, force=True)
        freed_bytes, busy = freed_bytes + kept.freed_bytes, busy + kept.busy
    return Released(freed_bytes, busy)


def free(
    segments: Segments,
    index: Index,
    xorbs: Iterable[XetHash],
    *,
    force: bool = False,
    idle_since: float = float("inf"),
    stop: Callable[[], bool] = lambda: False,
) -> Released:
    """Free the chunks of these xorbs that no file needs and that did not change after `idle_since`."""
    freed_bytes = busy = 0
    for xorb in xorbs:
        if stop():
            break
        kept = segments.keep_only(xorb, partial(index.needed, xorb), force=force, idle_since=idle_since)
        freed_bytes, busy = freed_bytes + kept.freed_bytes, busy + kept.busy
    return Released(freed_bytes, busy)


def own_needs(index: Index, file_id: str) -> Needs:
    """The chunks that only this file needs."""
    own = {
        xorb: difference(ranges, index.needed(xorb, without=[file_id]))
        for xorb, ranges in index.ranges_of(file_id).items()
    }
    return {xorb: ranges for xorb, ranges in own.items() if ranges}


def is_in_use(segments: Segments, needs: Needs) -> bool:
    """Whether a segment that has nothing but these chunks is read or being fetched at this moment."""
    return any(
        segments.is_busy(segment)
        for xorb, ranges in needs.items()
        for one in ranges
        for segment in segments.cover(xorb, one.first, one.end)
        if one.first <= segment.first and segment.end <= one.end
    )


def is_complete(segments: Segments, index: Index, file_id: str) -> bool:
    """Whether every chunk that a file needs is here."""
    return all(
        segments.has(xorb, one.first, one.end)
        for xorb, ranges in index.ranges_of(file_id).items()
        for one in ranges
    )
