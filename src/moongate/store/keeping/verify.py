"""Verification: every blob and every Xet file is hashed again, by several threads, in bounded memory.

Results come as they are ready. Whoever stops asking stops the work; asking again with the same
`verified_before` continues, because what was found right is written down.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from moongate.core.digests import Etag, content_hasher
from moongate.core.errors import StoreError
from moongate.store.blobs import Blobs
from moongate.store.index import BlobRow, Index
from moongate.store.keeping.collect import register_sealed
from moongate.store.keeping.verify_xet import Checked, XetWorker
from moongate.store.segments import Segments

_Row = TypeVar("_Row")

_PAGE = 500
_READ_BYTES = 1 << 20
_MAX_THREADS = 8
_NOTED_TOGETHER = 200


def verify(
    blobs: Blobs,
    segments: Segments,
    index: Index,
    *,
    verified_before: float = float("inf"),
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    clock: Callable[[], float],
) -> Iterator[Checked]:
    """Hash every blob and every Xet file that was last found right before `verified_before`.

    Then look for content of hosted repositories that is not here at all: it is wrong, too, and nowhere else.
    `progress` is told of bytes as they are hashed, from any thread. Closing the iterator stops the threads.
    """
    register_sealed(blobs, index)
    wrong: set[Etag] = set()
    for checked in _hashed(blobs, segments, index, verified_before, threads, progress, clock):
        if checked.outcome == "wrong":
            wrong.add(checked.etag)
        yield checked
    yield from _lost(blobs, index, wrong)


def _hashed(
    blobs: Blobs,
    segments: Segments,
    index: Index,
    verified_before: float,
    threads: int | None,
    progress: Callable[[int], None] | None,
    clock: Callable[[], float],
) -> Iterator[Checked]:
    worker = _Worker(blobs, index, progress, clock)
    chunks = XetWorker(segments, index, worker.stopped, progress, clock)
    threads = threads or min(_MAX_THREADS, os.cpu_count() or 1)
    with worker.noting(), ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        try:
            yield from _in_threads(pool, threads, worker.check, _rows(index, verified_before))
            yield from _in_threads(pool, threads, chunks.check, chunks.rows(verified_before))
        finally:
            worker.stopped.set()
    yield from chunks.quarantine_wrong()


def _lost(blobs: Blobs, index: Index, told: set[Etag]) -> Iterator[Checked]:
    """Content that hosted repositories have and the store has not; but for what was told of."""
    after = ""
    while page := index.hosted_contents_after(after, _PAGE):
        for etag, size_bytes in page:
            in_chunks = any(file.verified_at is not None for file in index.xet_files_of(etag))
            if etag not in told and not in_chunks and blobs.size_bytes(etag) is None:
                yield Checked(etag, size_bytes, "wrong", "it is hosted here, and its content is lost")
        after = page[-1][0]


def _in_threads(
    pool: ThreadPoolExecutor, threads: int, check: Callable[[_Row], Checked | None], rows: Iterator[_Row]
) -> Iterator[Checked]:
    waiting: set[Future[Checked | None]] = set()
    try:
        for row in rows:
            waiting.add(pool.submit(check, row))
            if len(waiting) >= 2 * threads:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from _results(done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from _results(done)
    finally:
        for future in waiting:
            future.cancel()


def _rows(index: Index, verified_before: float) -> Iterator[BlobRow]:
    after = ""
    while page := index.blobs_after(after, _PAGE, verified_before):
        yield from page
        after = page[-1].etag


def _results(done: set[Future[Checked | None]]) -> Iterator[Checked]:
    return (checked for future in done if (checked := future.result()) is not None)


class _Worker:
    """What the threads share."""

    def __init__(
        self,
        blobs: Blobs,
        index: Index,
        progress: Callable[[int], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._blobs = blobs
        self._index = index
        self._progress = progress
        self._clock = clock
        self._lock = threading.Lock()
        self._right: dict[Etag, float] = {}
        self.stopped = threading.Event()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Write down at the end, too, what was found right."""
        try:
            yield
        finally:
            self._index.note_verified(self._right)

    def check(self, row: BlobRow) -> Checked | None:
        """One file's verdict; None when stopped before there was one."""
        fd = self._blobs.open(row.etag)  # the lock that comes with it keeps eviction away
        if fd is None:
            if self._blobs.size_bytes(row.etag) is None:
                self._index.drop_blob(row)
            return Checked(row.etag, row.size_bytes, "gone")
        try:
            size_bytes = os.fstat(fd).st_size
            why = self._fault(row.etag, fd, size_bytes)
        finally:
            os.close(fd)
        if why is None:
            return None
        if not why:
            self._note_right(row, size_bytes)
            return Checked(row.etag, size_bytes, "right")
        try:
            quarantined_at = self._blobs.quarantine(row.etag, why)
        except StoreError:
            if self._blobs.size_bytes(row.etag) is not None:
                raise
            return Checked(row.etag, size_bytes, "gone", why)
        self._index.drop_blob(row)
        return Checked(row.etag, size_bytes, "wrong", why, quarantined_at)

    def _fault(self, etag: Etag, fd: int, size_bytes: int) -> str | None:
        """What is wrong with the bytes; empty when nothing is, None when stopped."""
        hasher = content_hasher(etag, size_bytes)
        buffer = memoryview(bytearray(_READ_BYTES))
        position = 0
        try:
            while count := os.preadv(fd, [buffer], position):
                if self.stopped.is_set():
                    return None
                hasher.update(buffer[:count])
                position += count
                if self._progress is not None:
                    self._progress(count)
        except OSError as error:
            return f"cannot be read at byte {position}: {error.strerror}"
        found = hasher.hexdigest()
        return "" if found == etag else f"its {size_bytes} bytes hash to {found}"

    def _note_right(self, row: BlobRow, size_bytes: int) -> None:
        if size_bytes != row.size_bytes:
            self._index.put_blob(row.etag, size_bytes, self._clock())
        with self._lock:
            self._right[row.etag] = self._clock()
            if len(self._right) < _NOTED_TOGETHER:
                return
            noted, self._right = self._right, {}
        self._index.note_verified(noted)
