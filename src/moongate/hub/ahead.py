"""Batches decoded ahead, each once, by whoever comes first: a helper, or the reader that waits for another.

A batch of a mebibyte goes from thread to thread by two locks and a queue, in a few microseconds; the futures
of a pool take a tenth of the time in which it is decoded.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from moongate.store.pieces import Batch, Piece


class Decoding:
    """A batch, and its pieces once somebody has decoded it. For any thread."""

    __slots__ = ("_begun", "_closing", "_done", "_error", "_given_up", "_pieces", "batch")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._begun, self._done, self._closing = threading.Lock(), threading.Lock(), threading.Lock()
        self._done.acquire()
        self._pieces: list[Piece] = []
        self._error: BaseException | None = None
        self._given_up = False

    @property
    def is_done(self) -> bool:
        return not self._done.locked()

    def begin(self) -> bool:
        """Decode it here, unless somebody began to."""
        if not self._begun.acquire(blocking=False):
            return False
        try:
            self._pieces = self.batch.pieces()
        except BaseException as error:  # noqa: BLE001 - whoever waits for the pieces is told
            self._error = error
        self._done.release()
        if self._given_up:
            self._close()
        return True

    def pieces(self) -> list[Piece]:
        """As those of the batch; waits for who decodes it."""
        self.begin()
        with self._done:
            if self._error is not None:
                raise self._error
            return self._pieces

    def give_up(self) -> None:
        """Nobody waits for it: it is closed, when it was decoded if somebody is at it."""
        self._given_up = True
        if self._begun.acquire(blocking=False) or self.is_done:
            self._close()

    def _close(self) -> None:
        if self._closing.acquire(blocking=False):
            self.batch.close()


class Helpers:
    """A few threads that decode what is offered to them, in that order; begun with the first of it."""

    def __init__(self, threads: int) -> None:
        self._offered: SimpleQueue[Decoding | None] = SimpleQueue()
        self._left = [threading.Thread(target=self._run, name="decode", daemon=True) for _ in range(threads)]
        self._threads = len(self._left)

    def offer(self, decoding: Decoding) -> None:
        """Have it decoded by whoever is free, unless somebody else comes first. For any thread."""
        self._offered.put(decoding)
        while self._left:
            try:
                self._left.pop().start()
            except IndexError:
                return

    def close(self) -> None:
        """End the threads, when what was offered before is done. Nothing may be offered any more."""
        for _ in range(self._threads):
            self._offered.put(None)

    def _run(self) -> None:
        while (decoding := self._offered.get()) is not None:
            decoding.begin()
            del decoding  # whose memory must not wait for the next one
