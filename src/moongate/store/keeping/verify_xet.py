"""Verification of Xet files: every chunk is decoded and hashed, then the file, by both of its hashes.

When a file is wrong, the chunks that no right file has are in doubt: their segments go to quarantine, and
every file that needs one of them has to be fetched and proven again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moongate.core.digests import Etag
from moongate.store.chunk_ranges import difference
from moongate.store.chunk_reader import BadSegment, ChunksLost
from moongate.store.index import Index, XetFileRow
from moongate.store.proof import fault_of
from moongate.store.segments import Segments
from moongate.xet.hashes import XetHash

Outcome = Literal["right", "wrong", "gone"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Checked:
    """One file's verdict.

    outcome: `right`; `wrong`: it was quarantined (`quarantined_at` says where, `why` what was found), and
    the next request fetches it anew; `gone`: it was removed meanwhile, or had been lost. `file_id`: the Xet
    id of a file that is kept as chunks; empty for a blob.
    """

    etag: Etag
    size_bytes: int
    outcome: Outcome
    why: str = ""
    quarantined_at: Path | None = None
    file_id: str = ""


class XetWorker:
    """What the threads that check Xet files share."""

    def __init__(
        self,
        segments: Segments,
        index: Index,
        stopped: threading.Event,
        progress: Callable[[int], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._segments = segments
        self._index = index
        self._stopped = stopped
        self._progress = progress
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._wrong: list[tuple[XetFileRow, str]] = []

    def rows(self, verified_before: float) -> Iterator[XetFileRow]:
        """The files to check."""
        after = ""
        while page := self._index.xet_files_after(after, _PAGE, verified_before):
            yield from page
            after = page[-1].file_id

    def check(self, file: XetFileRow) -> Checked | None:
        """One file's verdict; None when stopped before there was one, and for wrong files: they come last."""
        row = self._index.get_reconstruction(file.file_id)
        if row is None:
            return Checked(file.etag, file.size_bytes, "gone", file_id=file.file_id)
        try:
            why = fault_of(self._segments, row, self._goes_on)
        except ChunksLost:
            self._index.mark_unverified(file.file_id)
            return Checked(file.etag, file.size_bytes, "gone", file_id=file.file_id)
        except BadSegment as error:
            why = error.message
        if why is None:
            return None
        if not why:
            self._index.mark_verified(row.file_id, row.etag, self._clock(), row.noted_at)
            return Checked(file.etag, file.size_bytes, "right", file_id=file.file_id)
        self._index.mark_unverified(file.file_id)
        with self._lock:
            self._wrong.append((file, why))
        return None

    def _goes_on(self, size_bytes: int) -> bool:
        if self._progress is not None and not self._stopped.is_set():
            self._progress(size_bytes)
        return not self._stopped.is_set()

    def quarantine_wrong(self) -> Iterator[Checked]:
        """Take what is in doubt out of service, once every file was checked and right chunks are known."""
        for file, why in self._wrong:
            needs = self._index.ranges_of(file.file_id)
            self._index.drop_reconstruction(file)
            moved: Path | None = None
            for xorb in needs:
                right = self._index.needed(xorb, verified_since=self._began)
                for one in difference(needs[xorb], right):
                    for segment in self._segments.cover(xorb, one.first, one.end):
                        moved = self._segments.quarantine(segment, right, why) or moved
                self._doubt_others(xorb)
            yield Checked(file.etag, file.size_bytes, "wrong", why, moved, file.file_id)

    def _doubt_others(self, xorb: XetHash) -> None:
        """Whoever misses a chunk of this xorb now has to be proven again."""
        for file_id in self._index.references(xorb):
            ranges = self._index.ranges_of(file_id)[xorb]
            if not all(self._segments.has(xorb, one.first, one.end) for one in ranges):
                self._index.mark_unverified(file_id)
