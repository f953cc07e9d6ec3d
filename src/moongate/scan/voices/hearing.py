"""Other scanners in the path: asked about what can run code, once it is here, each in processes of its own.

Of what runs nothing nobody is asked: a clean safetensors file costs not one question. A voice adds suspicion
and takes none away; one that hangs, dies or does not start is a note on the verdict, and nobody waits for it
for long.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from moongate.core.verdicts import Report
from moongate.scan.jail import Jail, Limits, Read
from moongate.scan.ledger import Ledger
from moongate.scan.reach import INERT
from moongate.scan.voices.choir import Asked, joined
from moongate.scan.voices.clamd import Clamd
from moongate.scan.voices.voice import DISTRIBUTIONS, KNOWN, is_here

SECONDS: Final = 20.0
"""How long one voice may look at one file."""

_SEATS = 2
_SILENT_SECONDS = 60.0
_UNASKED = ("picklescan", "modelaudit")

Ask = Callable[[Jail], Report]


def installed() -> list[Asked]:
    """The voices that need nothing but to be installed."""
    return [Asked(name) for name in _UNASKED if is_here(name)]


class Hearing:
    """Asks every voice that has a word to say about a file. For any thread; close it when done."""

    def __init__(
        self,
        voices: Sequence[Asked] = (),
        feed_rules: Callable[[], Path | None] = lambda: None,
        limits: Limits | None = None,
    ) -> None:
        """feed_rules: a file with the YARA rules of feeds; another one when they say something else."""
        self._limits = limits or Limits(seconds=SECONDS)
        self._feed_rules = feed_rules
        self._seats = [_Seats(one, self._limits) for one in voices if one.name != "clamd"]
        self._daemons = [Clamd(one.option, self._limits.seconds) for one in voices if one.name == "clamd"]
        self._fed: _Seats | None = None
        self._lock = threading.Lock()
        self.engine = "".join(f"+{_named(one)}" for one in voices)
        """Who is asked, by name and version; empty when nobody is."""
        self._own_rules = "".join(f"+{_digest(one.option)}" for one in voices if one.name == "yara")

    @property
    def rules(self) -> str:
        """Which rules of YARA are asked; empty when none are."""
        fed = self._feed_rules()
        return self._own_rules + (f"+{fed.stem}" if fed is not None else "")

    def heard(self, report: Report, ask: Ask, read: Read, size_bytes: int) -> Report:
        """Our report, with what voices add. ask: has a jail judge the file. Blocks."""
        if not size_bytes or (report.formats and report.formats[0] in INERT):
            return report
        for seats in (*self._seats, *self._from_feeds()):
            if seats.wants(report):
                report = joined(report, seats.hear(ask))
        for daemon in self._daemons:
            ledger = Ledger()
            daemon.hear(read, ledger)
            report = joined(report, replace(ledger.report(), engine="clamd"))
        return report

    def close(self) -> None:
        """Ends every process. May be called twice."""
        with self._lock:
            fed, self._fed = self._fed, None
        for seats in (*self._seats, *([fed] if fed is not None else [])):
            seats.close()

    def _from_feeds(self) -> list[_Seats]:
        path = self._feed_rules()
        with self._lock:
            old = self._fed
            if old is not None and (path is None or old.asked.option != str(path)):
                self._fed = None
                old.close()
            if path is not None and self._fed is None:
                self._fed = _Seats(Asked("yara", str(path)), self._limits)
            return [self._fed] if self._fed is not None else []


class _Seats:
    """The processes of one voice."""

    def __init__(self, asked: Asked, limits: Limits) -> None:
        self.asked = asked
        self._limits = limits
        self._turn = threading.Semaphore(_SEATS)
        self._lock = threading.Lock()
        self._free: list[Jail] = []
        self._closed = False
        self._silent_until = 0.0

    def wants(self, report: Report) -> bool:
        formats = KNOWN[self.asked.name]
        return formats is None or not formats.isdisjoint(report.formats)

    def hear(self, ask: Ask) -> Report:
        if time.monotonic() < self._silent_until:
            return self._note("does not start")
        if not self._turn.acquire(timeout=self._limits.seconds):
            return self._note("is busy with other files")
        try:
            return self._heard(ask)
        finally:
            self._turn.release()

    def _heard(self, ask: Ask) -> Report:
        with self._lock:
            jail = (
                self._free.pop() if self._free else Jail(self._limits, (self.asked.name, self.asked.option))
            )
        try:
            jail.start()
        except OSError:
            jail.close()
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            return self._note("does not start")
        try:
            return ask(jail)
        finally:
            with self._lock:
                if self._closed:
                    jail.close()
                else:
                    self._free.append(jail)

    def _note(self, words: str) -> Report:
        ledger = Ledger()
        ledger.add("voice-failed", f"{self.asked.name} {words}")
        return replace(ledger.report(), engine=self.asked.name)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for jail in free:
            jail.close()


def _named(asked: Asked) -> str:
    name = DISTRIBUTIONS.get(asked.name, asked.name)
    with suppress(PackageNotFoundError):
        return f"{name}/{version(name)}"
    return name


def _digest(path: str) -> str:
    """What a file of rules is kept under; a file that cannot be read is another one than any that can."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
    except OSError:
        return "unread"
