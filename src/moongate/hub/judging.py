"""`Judging`: what scans say of content, each content looked at once by the same versions, and remembered.

    known      what was said before, memory first
    whole      the verdict on every byte, given now if need be
    glance     a first look at what can run code, through ranges

A verdict from ranges (`basis`) stands only against content, never for it: the bytes were not proven to be
the content's yet. It is forgotten when they turn out not to be, and doubted after an hour.

Scans block; what blocks says so, and belongs in a thread.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.core.verdicts import (
    Basis,
    Finding,
    Judged,
    Report,
    Severity,
    Verdict,
    Versions,
    is_nameless,
    name_kind_of,
    worst,
)
from moongate.hub.intelligence import Intelligence, NoIntelligence, Subject

RANGES_SECONDS: Final = 3600.0
"""How long a verdict from ranges stands against content whose bytes nobody has proven."""

_FIRST_RETRY_SECONDS = 600.0
_LONGEST_RETRY_SECONDS = 86_400.0
_LATER_SECONDS = 0.001
_HASHED_BYTES = 16 << 20
_REQUIREMENTS_BYTES = 1 << 20
_INTELLIGENCE = "intel-"
_KEPT = 20_000
_GLANCES_KEPT = 2000

log = structlog.get_logger("moongate.judging")

ReadSpan = Callable[[ByteSpan], bytes | None]
"""Gives the bytes of a span, fewer where the content ends; None: enough was looked at."""


class VerdictStore(Protocol):
    """Where verdicts are kept; `store.index.Index` is one."""

    def put_verdict(self, judged: Judged) -> None: ...
    def verdicts_of(self, etag: Etag) -> list[Judged]: ...
    def drop_unproven_verdicts(self, etag: Etag) -> None: ...
    def where_is(self, etag: Etag) -> list[FileAt]: ...
    def digest_of(self, etag: str) -> str | None: ...
    def put_digest(self, etag: str, sha256: str) -> None: ...
    def outdated_verdicts(self, versions: Versions, now: float, limit: int) -> Sequence[Judged]: ...


class Scanners(Protocol):
    """What looks at content, in processes of its own; `scan.pool.Jails` is one. Blocks; for any thread."""

    @property
    def versions(self) -> Versions: ...
    def judge(self, descriptor: int, name: str) -> Report: ...
    def judge_read(self, read: ReadSpan, size_bytes: int, name: str) -> Report: ...
    def glance(
        self, read: ReadSpan, size_bytes: int, name: str, reach_bytes: int | None = None
    ) -> Report: ...
    def is_inert(self, head: bytes, size_bytes: int) -> bool: ...


class Changes(Protocol):
    """A number that all processes share; `store.serial.Serial` is one."""

    @property
    def value(self) -> int: ...
    def raise_it(self) -> None: ...


class JudgingWatcher(Protocol):
    """Who counts verdicts. Called from any thread."""

    def judged(self, verdict: Verdict, basis: Basis, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class _Memo:
    rows: tuple[Judged, ...]
    serial: int


class Judging:
    """What is known of content, and how to find out. One per process, for any thread."""

    def __init__(
        self,
        store: VerdictStore,
        scanners: Scanners,
        changes: Changes,
        watcher: JudgingWatcher,
        intelligence: Intelligence | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._scanners = scanners
        self._changes = changes
        self._watcher = watcher
        self._intelligence = intelligence or NoIntelligence()
        self._clock = clock
        self._memos: OrderedDict[Etag, _Memo] = OrderedDict()
        self._lock = threading.Lock()
        self._running: dict[tuple[Etag, str], threading.Lock] = {}
        self._glances: dict[tuple[Etag, str], Judged] = {}
        self.on_detection: Callable[[Judged], None] = _nothing
        """Told of content that is suspicious or dangerous, when it was judged so."""

    @property
    def serial(self) -> int:
        """Changes when a verdict may have become worse, in whatever process."""
        return self._changes.value

    @property
    def versions(self) -> Versions:
        """Who judges now."""
        return self._scanners.versions

    # -- what is known -----------------------------------------------------------------------------------

    def known(self, etag: Etag, path: str = "") -> Judged | None:
        """What was said of a content under such a name, by whatever version; None: nobody looked yet.

        What is dangerous under one name is dangerous under all. A point read.
        """
        return standing(self._rows(etag), path, self._clock())

    def final(self, etag: Etag, path: str = "") -> Judged | None:
        """As `known`, when every byte was looked at."""
        known = self.known(etag, path)
        return known if known is not None and known.basis == "whole" else None

    def worst(self, etag: Etag) -> Verdict | None:
        """The worst that stands of a content, whatever its name; None: nobody looked yet. A point read."""
        kinds: dict[str, Verdict] = {}
        for row in self._rows(etag):
            if row.basis == "whole" or (row.retry_at or 0.0) > self._clock():
                kinds.setdefault(row.name_kind, row.verdict)
        return worst(list(kinds.values())) if kinds else None

    def _rows(self, etag: Etag) -> tuple[Judged, ...]:
        serial = self._changes.value
        memo = self._memos.get(etag)
        if memo is not None and memo.serial == serial:
            return memo.rows
        rows = tuple(self._store.verdicts_of(etag))
        if rows:
            self._remember(etag, rows, serial)
        return rows

    def _remember(self, etag: Etag, rows: tuple[Judged, ...], serial: int) -> None:
        with self._lock:
            self._memos[etag] = _Memo(rows, serial)
            while len(self._memos) > _KEPT:
                self._memos.popitem(last=False)

    # -- finding out (blocks) ----------------------------------------------------------------------------

    def whole(self, etag: Etag, size_bytes: int, descriptor: int, path: str | None = None) -> Judged:
        """The verdict on an open file whose hash is right. Blocks while it is looked at."""

        def read(span: ByteSpan) -> bytes:
            return os.pread(descriptor, span.length, span.start)

        return self._whole(etag, size_bytes, path, read, lambda name: self._scanners.judge(descriptor, name))

    def whole_read(self, etag: Etag, size_bytes: int, read: ReadSpan, path: str | None = None) -> Judged:
        """As `whole`, of content that is read by span."""
        return self._whole(
            etag, size_bytes, path, read, lambda name: self._scanners.judge_read(read, size_bytes, name)
        )

    def _whole(
        self, etag: Etag, size_bytes: int, path: str | None, read: ReadSpan, look: Callable[[str], Report]
    ) -> Judged:
        name = self._name_of(etag) if path is None else path
        with self._turn(etag, name_kind_of(name)):
            known = self.final(etag, name)
            if known is not None and not self._is_outdated(known):
                return known
            begun = time.monotonic()
            report = known.report if known is not None and self._stands(known) else look(name)
            hits = self._hits(etag, size_bytes, read, report)
            judged = self._judged(etag, size_bytes, name, _with_hits(report, hits), "whole", known)
            self._keep(judged, begun)
            return judged

    def _stands(self, known: Judged) -> bool:
        """Whether scanners would say the same again, since only feeds say something new."""
        versions = self._scanners.versions
        return (
            known.verdict != "failed"
            and replace(known.versions, feeds=versions.feeds) == versions
            and not any(finding.rule.startswith(_INTELLIGENCE) for finding in known.report.findings)
        )

    def _hits(self, etag: Etag, size_bytes: int, read: ReadSpan, report: Report) -> tuple[Finding, ...]:
        """What threat intelligence knows of content that is here."""
        hits = self._intelligence.known(Subject(sha256=self._sha256_of(etag, size_bytes, read)))
        if "requirements" in report.formats:
            text = read(ByteSpan(0, min(size_bytes, _REQUIREMENTS_BYTES))) or b""
            hits += self._intelligence.packages(text.decode("utf-8", "replace"))
        return hits

    def _sha256_of(self, etag: Etag, size_bytes: int, read: ReadSpan) -> str | None:
        """The sha256, by which feeds know content; of what git names, hashed when nobody noted it yet."""
        known = self._store.digest_of(etag)
        if known is not None or not 0 < size_bytes <= _HASHED_BYTES:
            return known
        data = read(ByteSpan(0, size_bytes))
        if data is None or len(data) != size_bytes:
            return None
        digest = hashlib.sha256(data).hexdigest()
        with suppress(StoreError):
            self._store.put_digest(etag, digest)
        return digest

    def glance(
        self, etag: Etag, size_bytes: int, read: ReadSpan, path: str, reach_bytes: int | None = None
    ) -> Judged:
        """What a first look finds; the same for all who ask within a while. Blocks.

        reach_bytes: how much of the beginning there is to look at; None: as much as a look takes.
        Written down only when it stands against the content. What `read` raises is raised here; when it gives
        None, the look ends with what was found so far.
        """
        kind = f"{name_kind_of(path)} {reach_bytes or 0}"
        with self._turn(etag, f"glance {kind}"):
            kept = self._glances.get((etag, kind))
            if kept is not None and (kept.retry_at or 0.0) > self._clock():
                return kept
            begun = time.monotonic()
            report = self._scanners.glance(read, size_bytes, path, reach_bytes)
            hits = self._intelligence.known(Subject(sha256=self._store.digest_of(etag)))
            report = _with_hits(report, hits)
            judged = self._judged(etag, size_bytes, path, report, "ranges", None)
            if judged.verdict in ("dangerous", "suspicious"):
                self._keep(judged, begun)
            self._glances[etag, kind] = judged
            while len(self._glances) > _GLANCES_KEPT:
                self._glances.pop(next(iter(self._glances)), None)
            return judged

    def is_inert(self, head: bytes, size_bytes: int) -> bool:
        """Whether content that begins so is of a format that runs nothing while it is read."""
        return self._scanners.is_inert(head, size_bytes)

    def forget_unproven(self, etag: Etag) -> None:
        """What was looked at was not this content."""
        self._store.drop_unproven_verdicts(etag)
        self._memos.pop(etag, None)
        for key in [key for key in self._glances if key[0] == etag]:
            self._glances.pop(key, None)
        self._changes.raise_it()

    def outdated(self, limit: int) -> Sequence[Judged]:
        """What should be looked at again, most used first. A walk."""
        return self._store.outdated_verdicts(self._scanners.versions, self._clock(), limit)

    def outdated_of(self, etag: Etag) -> Sequence[Judged]:
        """As `outdated`, of one content: the newest word for each kind of name."""
        newest: dict[str, Judged] = {}
        for row in self._store.verdicts_of(etag):
            newest.setdefault(row.name_kind, row)
        return [row for row in newest.values() if row.basis == "whole" and self._is_outdated(row)]

    def hunted(self) -> Iterable[Etag]:
        """What is kept and known to threat intelligence. A walk."""
        return [Etag(etag) for etag in self._intelligence.kept_and_known()]

    def hear(self, etag: Etag, found: tuple[Finding, ...]) -> bool:
        """Add to what was said of a content what others say of it; whether that is new. Blocks.

        What was said before stands, and can only get worse by it.
        """
        is_news = False
        newest: dict[str, Judged] = {}
        for row in self._store.verdicts_of(etag):
            newest.setdefault(row.name_kind, row)
        for row in newest.values():
            told = {(one.rule, one.what) for one in row.report.findings}
            added = tuple(one for one in found if (one.rule, one.what) not in told)
            if row.basis != "whole" or not added:
                continue
            is_news = True
            judged_at = max(self._clock(), row.judged_at + _LATER_SECONDS)
            report = _with_hits(row.report, added)
            self._keep(replace(row, report=report, judged_at=judged_at), time.monotonic())
        return is_news

    def hear_of_hub(self, etag: Etag, status: object) -> bool:
        """As `hear`, of `securityFileStatus` as upstream told it: a voice that alone refuses nothing."""
        found = self._intelligence.known(Subject(security_status=status))
        least = (replace(one, severity=min(one.severity, Severity.MEDIUM)) for one in found)
        return self.hear(etag, tuple(one for one in least if one.severity == Severity.MEDIUM))

    def heard(self) -> None:
        """Feeds say something new: nothing that was decided before may be remembered."""
        self._changes.raise_it()

    # -- inside ------------------------------------------------------------------------------------------

    def _is_outdated(self, known: Judged) -> bool:
        if known.retry_at is not None and known.retry_at <= self._clock():
            return True
        return known.versions != self._scanners.versions

    def _name_of(self, etag: Etag) -> str:
        """A name that the content has somewhere; a name that may be read as code before one that may not."""
        names = [str(file.entry.path) for file in self._store.where_is(etag)[:50]]
        return next((name for name in names if name.endswith(".py")), names[0] if names else "")

    def _judged(
        self,
        etag: Etag,
        size_bytes: int,
        name: str,
        report: Report,
        basis: Basis,
        before: Judged | None,
    ) -> Judged:
        now, versions = self._clock(), self._scanners.versions
        if before is not None:
            now = max(
                now, before.judged_at + _LATER_SECONDS
            )  # the newest word counts, also by a coarse clock
        report = replace(report, engine=versions.engine, rules=versions.rules)
        judged = Judged(
            etag,
            report,
            now,
            size_bytes,
            "" if is_nameless(report) else name_kind_of(name),
            versions.feeds,
            basis,
        )
        if basis == "ranges":
            return replace(judged, retry_at=now + RANGES_SECONDS)
        if report.verdict != "failed":
            return judged
        attempts = before.attempts + 1 if before is not None and before.versions == versions else 1
        pause = min(_FIRST_RETRY_SECONDS * 2.0 ** (attempts - 1), _LONGEST_RETRY_SECONDS)
        return replace(judged, attempts=attempts, retry_at=now + pause)

    def _keep(self, judged: Judged, begun: float) -> None:
        """Write down a verdict; if that cannot be, this process remembers it all the same."""
        before = self.known(judged.etag)
        try:
            self._store.put_verdict(judged)
            rows = tuple(self._store.verdicts_of(judged.etag))
        except StoreError as error:
            log.warning("a verdict was not written down", etag=judged.etag, why=error.message)
            rows = (judged, *(memo.rows if (memo := self._memos.get(judged.etag)) else ()))
        if judged.verdict != "clean" or (before is not None and before.verdict != judged.verdict):
            self._changes.raise_it()
        self._remember(judged.etag, rows, self._changes.value)
        self._watcher.judged(judged.verdict, judged.basis, time.monotonic() - begun)
        if judged.verdict in ("suspicious", "dangerous"):
            log.warning(
                "a scan found something",
                etag=judged.etag,
                verdict=judged.verdict,
                findings=[finding.rule for finding in judged.report.findings[:5]],
            )
            self.on_detection(judged)

    def _turn(self, etag: Etag, kind: str) -> threading.Lock:
        with self._lock:
            if len(self._running) > _KEPT:
                self._running.clear()
            return self._running.setdefault((etag, kind), threading.Lock())


def standing(rows: Sequence[Judged], path: str, now: float) -> Judged | None:
    """Of all that was said of a content, the newest first, what counts under such a name."""
    kind = name_kind_of(path)
    dangerous = None
    for row in rows:
        if row.basis == "ranges" and (row.retry_at or 0.0) <= now:
            continue
        if row.name_kind in ("", kind):
            return row
        if row.verdict == "dangerous" and dangerous is None:
            dangerous = row
    return dangerous


def _with_hits(report: Report, hits: tuple[Finding, ...]) -> Report:
    """The report, and what threat intelligence knows of the content on top."""
    if not hits:
        return report
    verdicts: list[Verdict] = [report.verdict]
    for hit in hits:
        if hit.severity >= Severity.HIGH:
            verdicts.append("dangerous")
        elif hit.severity == Severity.MEDIUM:
            verdicts.append("suspicious")
    return replace(report, verdict=worst(verdicts), findings=(*hits, *report.findings))


def _nothing(_: Judged) -> None:
    """Nobody wants to know."""
