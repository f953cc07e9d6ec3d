"""Hot files: kept as chunks, and read plainly so often that a whole copy is worth its room.

A copy is a blob like any other, and the first to go when room is needed, since nothing is lost with it. Each
process counts for itself; what was not read for `_MEMORY_SECONDS` begins anew.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from moongate.core.digests import Etag
from moongate.hub.flights import Flights

_FILES_KEPT = 10_000
_MEMORY_SECONDS = 6 * 3600.0


class HotFiles:
    """Counts plain reads of files that are kept as chunks. For the event loop."""

    def __init__(
        self,
        reads: float,
        has_room: Callable[[int], bool],
        made: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """reads: how often a file is read, whole or in parts that add up to it, before it is hot; 0: never.

        has_room: whether a copy of so many bytes fits, at the cost of other copies alone; it may block.
        made: told the size of each copy that is begun.
        """
        self.has_room = has_room
        self.made = made
        self.flights = Flights()
        """The copies that are being begun."""
        self._reads = reads
        self._clock = clock
        self._read: OrderedDict[Etag, tuple[float, float]] = OrderedDict()

    def is_hot(self, etag: Etag, size_bytes: int, read_bytes: int) -> bool:
        """Take note of a read; whether it is the one that makes the file hot."""
        if not self._reads or not size_bytes:
            return False
        now = self._clock()
        until, count = self._read.pop(etag, (0.0, 0.0))
        count = (count if until > now else 0.0) + read_bytes / size_bytes
        if count >= self._reads:
            return True
        self._read[etag] = now + _MEMORY_SECONDS, count
        if len(self._read) > _FILES_KEPT:
            self._read.popitem(last=False)
        return False
