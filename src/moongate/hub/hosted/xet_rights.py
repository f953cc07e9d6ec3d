"""Which chunks of which xorbs a caller may use: those that they brought, and those of files they may read.

Whoever may read one file learns nothing of another one whose chunks lie in the same xorb. So a right is to
chunks, never to a xorb.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange, union
from moongate.store.index import Index
from moongate.store.segments import Segments, chunk_ends
from moongate.xet.hashes import Leaf, XetHash

_XORBS_KEPT = 64
_MOST_FILES = 256


class Readers(Protocol):
    """Says who may read what is here, without asking anybody."""

    def reads(self, caller: Caller, file: FileAt) -> bool: ...


@dataclass(frozen=True, slots=True)
class KnownXorb:
    """A xorb that is here, as far as one caller may use it.

    xorb: the name under which it is kept. usable: chunks the caller may use; joined, in order.
    """

    xorb: XetHash
    leaves: dict[int, Leaf]
    usable: tuple[ChunkRange, ...]
    spans: dict[int, ByteSpan] = field(repr=False)

    def may_use(self, first: int, end: int) -> bool:
        """Whether all these chunks are here, known, and the caller's to use."""
        return any(one.first <= first and end <= one.end for one in self.usable) and all(
            index in self.leaves and index in self.spans for index in range(first, end)
        )

    def chunks(self, first: int, end: int) -> ChunkRange:
        """These chunks, with the bytes that they take."""
        return ChunkRange(first, end, ByteSpan(self.spans[first].start, self.spans[end - 1].end))


class XetRights:
    """What one caller may use. Made for one question or one shard; not for several threads."""

    def __init__(
        self,
        index: Index,
        segments: Segments,
        readers: Readers,
        caller: Caller,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._segments = segments
        self._readers = readers
        self._caller = caller
        self._clock = clock
        self._kept: OrderedDict[XetHash, list[KnownXorb]] = OrderedDict()
        self._readable: dict[Etag, bool] = {}

    def named(self, name: XetHash) -> list[KnownXorb]:
        """The xorbs that a client may mean by this hash and of which this caller may use something."""
        known = self._kept.get(name)
        if known is None:
            candidates = dict.fromkeys(self._index.xorbs_named(name))
            known = [one for xorb in candidates if (one := self.of(xorb)) is not None]
            self._kept[name] = known
            if len(self._kept) > _XORBS_KEPT:
                self._kept.popitem(last=False)
        return known

    def find(self, name: XetHash, first: int, end: int) -> KnownXorb | None:
        """A xorb of this hash of which the caller may use these chunks; None: as if there were none."""
        return next((one for one in self.named(name) if one.may_use(first, end)), None)

    def of(self, xorb: XetHash) -> KnownXorb | None:
        """A xorb by the name under which it is kept; None when this caller may use nothing of it."""
        leased = self._index.leased_chunks(self._caller.key, xorb, self._clock())
        usable = union([*leased, *self._of_readable_files(xorb)])
        if not usable:
            return None
        leaves: dict[int, Leaf] = {}
        for run in self._index.chunk_runs(xorb):
            leaves.update(enumerate(run.leaves, run.first))
        return KnownXorb(xorb, leaves, tuple(usable), self._spans(xorb))

    def files_with(self, xorb: XetHash) -> Sequence[str]:
        """The Xet ids of proven files that need chunks of a xorb and that this caller may read."""
        found = []
        for file_id in self._index.references(xorb)[:_MOST_FILES]:
            etag = self._index.proven_etag(file_id)
            if etag is not None and self._may_read(etag):
                found.append(file_id)
        return found

    def _of_readable_files(self, xorb: XetHash) -> list[ChunkRange]:
        ranges: list[ChunkRange] = []
        for file_id in self.files_with(xorb):
            ranges += self._index.ranges_of(file_id).get(xorb, [])
        return ranges

    def _may_read(self, etag: Etag) -> bool:
        known = self._readable.get(etag)
        if known is None:
            places = self._index.where_is(etag)
            known = any(self._readers.reads(self._caller, file) for file in places)
            self._readable[etag] = known
        return known

    def _spans(self, xorb: XetHash) -> dict[int, ByteSpan]:
        """Where each chunk that is here lies in the xorb, as the bytes themselves tell."""
        spans: dict[int, ByteSpan] = {}
        for segment in self._segments.of(xorb):
            try:
                ends = chunk_ends(segment)
            except FileNotFoundError:
                continue
            if len(ends) - 1 != segment.end - segment.first or ends[-1] != segment.length:
                continue
            at = segment.span.start
            for number, (start, end) in enumerate(pairwise(ends), segment.first):
                spans[number] = ByteSpan(at + start, at + end)
        return spans


def range_with(ranges: Sequence[ChunkRange], chunk: int) -> ChunkRange | None:
    """The range that has a chunk, of ranges in order."""
    at = bisect_right(ranges, chunk, key=lambda one: one.first) - 1
    return ranges[at] if at >= 0 and chunk < ranges[at].end else None
