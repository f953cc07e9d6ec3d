"""Where the ranges of a Xet file can be fetched, for as long as upstream lets its addresses be good.

An address that expired is asked for again, once for all who fetch. Upstream may answer only for some callers:
so whoever asks needs a road that a caller showed, or one that is guessed and given up when it is refused.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout

from moongate.core.errors import (
    Absent,
    NotAllowed,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from moongate.hub.xet_ranges import offers
from moongate.hub.xet_room import XetRoom
from moongate.store.index import KeptFetch, ReconstructionRow
from moongate.store.segments import Segment
from moongate.upstream.cas import CasRoad
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import FetchRange, Reconstruction

_LOOK_SECONDS = 0.25


class Outdated(UpstreamBroken):
    """Upstream tells of a file in another way than it did when its row was put."""


class NobodyToAsk(UpstreamUnreachable):
    """No caller came to this process with access to the file; to others one may have come."""


class Addresses:
    """Those of one file. Fit for any thread."""

    def __init__(
        self,
        room: XetRoom,
        row: ReconstructionRow,
        road: CasRoad | None,
        guess: CasRoad | None,
        left: Callable[[], Iterable[KeptFetch]],
        is_over: Callable[[], bool],
    ) -> None:
        """guess: this very road, when no caller has shown yet that upstream lets it be gone.

        left: what is still to be fetched. is_over: whether nobody wants an answer any more.
        """
        self.road = road
        self.forgot_at = 0.0
        """When a road that was guessed was given up, as `time.monotonic` has it."""
        self._room = room
        self._row = row
        self._guess = guess
        self._left = left
        self._is_over = is_over
        self._fetches: dict[XetHash, tuple[FetchRange, ...]] = {}
        self._asking = threading.Lock()

    @property
    def is_guessed(self) -> bool:
        """Whether nobody knows yet that upstream answers on this road."""
        return self.road is self._guess

    def learn(self, answer: Reconstruction) -> None:
        """Take in where upstream says that ranges can be fetched for a while."""
        self._fetches = dict(answer.fetches)

    def of(self, segment: Segment, stale: str = "") -> FetchRange:
        """Where these chunks can be fetched; asks the reconstruction again when it is not known. Blocks.

        stale: an address that was refused.

        Raises:
            Outdated: upstream tells of the file in another way than before.
            NobodyToAsk: no caller came by whose way upstream answers.
            UpstreamError: as asking for a reconstruction.
        """
        found = self._known(segment)
        if found is not None and found.url != stale:
            return found
        with self._asking:
            found = self._known(segment)
            if found is None or found.url == stale:
                answer = self._ask_again()
                if not self._agrees(answer):
                    raise Outdated("upstream tells of this file in another way than before; ask for it again")
                self.learn(answer)
                found = self._known(segment)
        if found is None:
            raise UpstreamBroken("upstream does not offer a range that it offered before")
        return found

    def _agrees(self, answer: Reconstruction) -> bool:
        """Whether an answer offers what is left to fetch, at the same place."""
        return all(
            any(offers(one, wanted.chunks) for one in answer.fetches.get(wanted.xorb, ()))
            for wanted in self._left()
        )

    def _known(self, segment: Segment) -> FetchRange | None:
        for one in self._fetches.get(segment.xorb, ()):
            if one.start <= segment.first and segment.end <= one.end:
                return one
        return None

    def _ask_again(self) -> Reconstruction:
        road = self.road
        if road is None:
            raise NobodyToAsk("nobody here knows how to ask upstream for this file")
        asked = asyncio.run_coroutine_threadsafe(
            self._room.cas.reconstruction(road, self._row.file_id, self._row.size_bytes), self._room.loop
        )
        try:
            while not self._is_over():
                try:
                    return asked.result(_LOOK_SECONDS)
                except FutureTimeout:
                    if asked.done():
                        raise UpstreamTimeout("upstream's CAS took too long to answer") from None
        except CancelledError:
            raise UpstreamUnreachable("this gateway is stopping") from None
        except (NotAllowed, Absent) as error:  # the caller's own access was decided before; this is ours
            if road is self._guess:
                self._forget_guess(road)
                raise NobodyToAsk("upstream lets only some callers fetch this file") from error
            raise UpstreamUnreachable(f"upstream does not let us fetch this file: {error.message}") from error
        finally:
            asked.cancel()
        raise UpstreamUnreachable("this gateway is stopping")

    def _forget_guess(self, road: CasRoad) -> None:
        self.forgot_at = time.monotonic()
        if self.road is road:  # no caller came meanwhile
            self.road = None
