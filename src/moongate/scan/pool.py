"""Jails in a row: a scan takes a free one, or waits for one; many small files share a few processes.

A jail that judged many files is replaced, so that nothing that a file left behind grows old.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Report, Versions
from moongate.scan.jail import Jail, Limits, Read
from moongate.scan.reach import INERT, MOST_BYTES
from moongate.scan.rules import ENGINE, RULES
from moongate.scan.sniff import HEAD_BYTES, sniff
from moongate.scan.voices.hearing import Hearing

_FILES_EACH = 2000


class Jails:
    """Judges content in at most so many processes at once. For any thread; close it when done."""

    def __init__(
        self,
        most: int = 2,
        limits: Limits | None = None,
        feeds: Callable[[], str] = lambda: "",
        hearing: Hearing | None = None,
    ) -> None:
        """feeds: the version of what threat feeds say now. hearing: asks other scanners, too."""
        self._hearing = hearing or Hearing()
        self._limits = limits or Limits()
        self._free: list[tuple[Jail, int]] = []
        self._turn = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._closed = False
        self._feeds = feeds

    @property
    def versions(self) -> Versions:
        """Who judges now."""
        hearing = self._hearing
        return Versions(ENGINE + hearing.engine, RULES + hearing.rules, self._feeds())

    def judge(self, descriptor: int, name: str) -> Report:
        """The report on an open file, other scanners heard; see `Jail.judge`."""
        with self._one() as jail:
            report = jail.judge(descriptor, name)

        def read(span: ByteSpan) -> bytes:
            return os.pread(descriptor, span.length, span.start)

        size_bytes = os.fstat(descriptor).st_size
        return self._hearing.heard(report, lambda jail: jail.judge(descriptor, name), read, size_bytes)

    def judge_read(self, read: Read, size_bytes: int, name: str) -> Report:
        """As `judge`, of content that `read` gives by span; see `Jail.judge_read`."""
        with self._one() as jail:
            report = jail.judge_read(read, size_bytes, name)

        def within(span: ByteSpan) -> bytes | None:
            return read(ByteSpan(span.start, min(span.end, size_bytes))) if span.start < size_bytes else b""

        return self._hearing.heard(
            report, lambda jail: jail.judge_read(read, size_bytes, name), within, size_bytes
        )

    def glance(self, read: Read, size_bytes: int, name: str, reach_bytes: int | None = None) -> Report:
        """What a first look finds, at so much of the beginning; see `scan.glance`."""
        with self._one() as jail:
            return jail.judge_read(read, size_bytes, name, glance_bytes=reach_bytes or MOST_BYTES)

    def warm(self) -> None:
        """Have a process ready. Blocks a moment; what goes wrong is told by the first scan."""
        with suppress(OSError, TimeoutError), self._one() as jail:
            jail.start()

    def is_inert(self, head: bytes, size_bytes: int) -> bool:
        """Whether content that begins so is of a format that runs nothing while it is read."""
        return sniff(head[:HEAD_BYTES], size_bytes) in INERT

    def close(self) -> None:
        """End the processes; those that are at work end when they are done. May be called twice."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for jail, _ in free:
            jail.close()
        self._hearing.close()

    @contextmanager
    def _one(self) -> Iterator[Jail]:
        with self._turn:
            with self._lock:
                jail, judged = self._free.pop() if self._free else (Jail(self._limits), 0)
            try:
                yield jail
            finally:
                self._put_back(jail, judged + 1)

    def _put_back(self, jail: Jail, judged: int) -> None:
        with self._lock:
            if not self._closed and judged < _FILES_EACH:
                self._free.append((jail, judged))
                return
        jail.close()
