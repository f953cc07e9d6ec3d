"""Content is judged once by the same versions, again by others, and what stands against it travels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Basis, Finding, Report, Severity, Verdict, Versions
from moongate.hub.intelligence import NoIntelligence, Subject
from moongate.hub.judging import RANGES_SECONDS, Judging
from moongate.hub.rejudging import Rejudging
from moongate.store.index import Index
from moongate.store.serial import Serial

ONE = Etag("a" * 64)


@dataclass
class Scanner:
    """Says what it is told to, and counts."""

    verdict: Verdict = "clean"
    formats: tuple[str, ...] = ()
    versions: Versions = field(default_factory=lambda: Versions("scan/1", "rules 1", "feeds 1"))
    looks: list[str] = field(default_factory=list)

    def judge(self, descriptor: int, name: str) -> Report:
        self.looks.append(name)
        return Report(self.verdict, formats=self.formats)

    def judge_read(self, read: Callable[[ByteSpan], bytes | None], size_bytes: int, name: str) -> Report:
        return self.judge(-1, name)

    def glance(
        self,
        read: Callable[[ByteSpan], bytes | None],
        size_bytes: int,
        name: str,
        reach_bytes: int | None = None,
    ) -> Report:
        return self.judge(-1, name)

    def is_inert(self, head: bytes, size_bytes: int) -> bool:
        return False


class Watcher:
    def judged(self, verdict: Verdict, basis: Basis, seconds: float) -> None: ...


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Room:
    index: Index
    scanner: Scanner
    changes: Serial
    clock: Clock

    def judging(self, intelligence: NoIntelligence | None = None) -> Judging:
        return Judging(self.index, self.scanner, self.changes, Watcher(), intelligence, self.clock)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with Index(tmp_path / "index.sqlite3") as index:
        yield Room(index, Scanner(), Serial(tmp_path / "serial"), Clock())


def test_the_same_bytes_are_looked_at_once_in_all_processes(room: Room) -> None:
    here, elsewhere = room.judging(), room.judging()
    assert here.known(ONE, "a.bin") is None
    assert here.whole(ONE, 9, -1, "a.bin").verdict == "clean"
    assert elsewhere.whole(ONE, 9, -1, "b.bin").verdict == "clean"
    assert here.whole(ONE, 9, -1, "a.bin").verdict == "clean"
    assert room.scanner.looks == ["a.bin"]


def test_text_is_judged_for_each_kind_of_name_and_danger_travels(room: Room) -> None:
    judging = room.judging()
    assert judging.whole(ONE, 9, -1, "notes.txt").verdict == "clean"
    assert judging.known(ONE, "run.py") is None
    room.scanner.verdict = "dangerous"
    assert judging.whole(ONE, 9, -1, "run.py").verdict == "dangerous"
    known = judging.known(ONE, "anything.cfg")
    assert known is not None
    assert known.verdict == "dangerous"
    assert judging.worst(ONE) == "dangerous"


def test_what_no_name_can_change_is_judged_once(room: Room) -> None:
    room.scanner.formats = ("zip", "torch")
    judging = room.judging()
    judging.whole(ONE, 9, -1, "a.bin")
    judging.whole(ONE, 9, -1, "b.pt")
    assert room.scanner.looks == ["a.bin"]


def test_other_versions_look_again_and_what_was_said_stands_until_then(room: Room) -> None:
    judging = room.judging()
    room.index.put_files(
        RepoId("model", "acme/one"), CommitHash("c" * 40), [FileEntry(RepoPath("a.bin"), ONE, 9)]
    )
    room.index.put_blob(ONE, 9, 1.0)
    judging.whole(ONE, 9, -1, "a.bin")
    room.scanner.versions = replace(room.scanner.versions, rules="rules 2")
    room.scanner.verdict = "dangerous"
    before = judging.serial
    known = judging.known(ONE, "a.bin")
    assert known is not None
    assert known.verdict == "clean"
    again = Rejudging(judging, lambda etag, span: bytes(span.length))
    assert again.run() == 1
    assert again.run() == 0
    assert judging.worst(ONE) == "dangerous"
    assert judging.serial != before, "who let it pass before must hear of it"
    room.scanner.versions = replace(room.scanner.versions, feeds="feeds 2")
    assert again.run() == 1


def test_a_scan_that_failed_is_tried_again_later_and_later(room: Room) -> None:
    room.scanner.verdict = "failed"
    judging = room.judging()
    waits = []
    for _ in range(3):
        judged = judging.whole(ONE, 9, -1, "a.bin")
        assert judged.retry_at is not None
        waits.append(judged.retry_at - room.clock.now)
        judging.whole(ONE, 9, -1, "a.bin")
        room.clock.now = judged.retry_at
    assert len(room.scanner.looks) == 3
    assert waits[0] < waits[1] < waits[2]


def test_a_first_look_stands_against_content_for_an_hour_and_never_for_it(room: Room) -> None:
    judging = room.judging()
    assert judging.glance(ONE, 9, lambda span: b"", "a.bin").verdict == "clean"
    assert judging.known(ONE, "a.bin") is None
    other = Etag("b" * 64)
    room.scanner.verdict = "dangerous"
    judging.glance(other, 9, lambda span: b"", "a.bin")
    known = room.judging().known(other, "a.bin")
    assert known is not None
    assert known.basis == "ranges"
    assert judging.final(other, "a.bin") is None
    room.clock.now += RANGES_SECONDS
    assert judging.known(other, "a.bin") is None
    room.clock.now -= RANGES_SECONDS
    judging.forget_unproven(other)
    assert judging.known(other, "a.bin") is None


def test_a_worse_verdict_is_heard_of_at_once_elsewhere(room: Room) -> None:
    here, elsewhere = room.judging(), room.judging()
    here.whole(ONE, 9, -1, "a.bin")
    assert elsewhere.worst(ONE) == "clean"
    room.scanner.versions = replace(room.scanner.versions, rules="rules 2")
    room.scanner.verdict = "suspicious"
    here.whole(ONE, 9, -1, "a.bin")
    assert elsewhere.worst(ONE) == "suspicious"


def test_threat_intelligence_only_adds_suspicion(room: Room) -> None:
    class Knows(NoIntelligence):
        def known(self, subject: Subject) -> tuple[Finding, ...]:
            found = Finding("intel-hash", Severity.HIGH, "a feed knows it", "why", "advice")
            return (found,) if subject.sha256 == ONE else ()

    judging = room.judging(Knows())
    assert judging.whole(ONE, 9, -1, "a.bin").verdict == "dangerous"
    assert judging.whole(Etag("b" * 64), 9, -1, "a.bin").verdict == "clean"


def test_what_only_feeds_say_anew_costs_no_scan(room: Room) -> None:
    class Knows(NoIntelligence):
        known_now: tuple[Finding, ...] = ()

        def known(self, subject: Subject) -> tuple[Finding, ...]:
            return self.known_now if subject.sha256 == ONE else ()

        def kept_and_known(self) -> dict[str, tuple[Finding, ...]]:
            return {ONE: self.known_now} if self.known_now else {}

    intelligence = Knows()
    judging = room.judging(intelligence)
    files = [FileEntry(RepoPath(f"{etag[:1]}.bin"), etag, 9) for etag in (ONE, Etag("b" * 64))]
    room.index.put_files(RepoId("model", "acme/one"), CommitHash("c" * 40), files)
    for file in files:
        room.index.put_blob(file.etag, 9, 1.0)
        judging.whole(file.etag, 9, -1, file.path)
    again = Rejudging(judging, lambda etag, span: bytes(span.length))
    assert again.run() == 0
    intelligence.known_now = (Finding("intel-hash", Severity.HIGH, "a feed knows it", "why", "advice"),)
    room.scanner.versions = replace(room.scanner.versions, feeds="feeds 2")
    looks = list(room.scanner.looks)
    assert again.has_news()
    assert again.run() == 2
    assert not again.has_news()
    assert (judging.worst(ONE), judging.worst(Etag("b" * 64))) == ("dangerous", "clean")
    assert room.scanner.looks == looks
    intelligence.known_now = ()
    room.scanner.versions = replace(room.scanner.versions, feeds="feeds 3")
    assert again.run() == 2
    assert judging.worst(ONE) == "clean"
    assert len(room.scanner.looks) == len(looks) + 1, "what feeds said before is no part of what a scan says"
