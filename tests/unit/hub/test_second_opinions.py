"""Others are asked about what was let pass, behind it, and what they say counts from then on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.core.verdicts import Basis, Finding, Report, Severity, Verdict, Versions
from moongate.hub.intelligence import NoIntelligence, Subject
from moongate.hub.judging import Judging, Scanners
from moongate.hub.second_opinions import SecondOpinions
from moongate.store.index import Index
from moongate.store.serial import Serial

CONTENT = Etag("a" * 64)
PUBLIC, OURS = RepoId("model", "acme/tiny"), RepoId("model", "ours/tiny")


class Scanner:
    versions = Versions("scan/1", "rules 1", "feeds 1")

    def judge(self, descriptor: int, name: str) -> Report:
        return Report("clean")


class Watcher:
    def judged(self, verdict: Verdict, basis: Basis, seconds: float) -> None: ...


class Knowing(NoIntelligence):
    """A service that objects to everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def has_services(self) -> bool:
        return True

    def known(self, subject: Subject) -> tuple[Finding, ...]:
        return () if subject.security_status is None else (_finding("intel-hub", "The Hub calls it unsafe"),)

    async def ask(self, subject: Subject) -> tuple[Finding, ...]:
        self.asked.append(subject.sha256)
        return (_finding("intel-service", "40 of 60 engines"),)


def _finding(rule: str, what: str) -> Finding:
    return Finding(rule, Severity.HIGH, what, "", "")


class Places:
    """Where the content is; its sha256 is its etag."""

    def __init__(self, *repos: RepoId) -> None:
        self.repos = repos

    def digest_of(self, etag: str) -> str | None:
        return etag

    def where_is(self, etag: Etag) -> list[FileAt]:
        return [at(repo) for repo in self.repos]


def at(repo: RepoId) -> FileAt:
    return FileAt(repo, CommitHash("1" * 40), FileEntry(RepoPath("a.bin"), CONTENT, 9))


@pytest.fixture
def judging(tmp_path: Path) -> Iterator[Judging]:
    with Index(tmp_path / "index.sqlite3") as index:
        scanner = cast("Scanners", Scanner())
        made = Judging(index, scanner, Serial(tmp_path / "serial"), Watcher(), Knowing())
        made.whole(CONTENT, 9, -1, "a.bin")
        yield made


async def asked(judging: Judging, file: FileAt, *places: RepoId, times: int = 1) -> list[str | None]:
    knowing = Knowing()
    opinions = SecondOpinions(knowing, judging, Places(*places), lambda repo: repo == OURS)
    for _ in range(times):
        opinions.want(file)
    await opinions.settled()
    await opinions.close()
    return knowing.asked


async def test_an_answer_counts_for_whoever_asks_next(judging: Judging) -> None:
    serial = judging.serial
    assert await asked(judging, at(PUBLIC), PUBLIC, times=3) == [CONTENT]
    known = judging.known(CONTENT, "a.bin")
    assert known is not None
    assert (known.verdict, known.report.findings[0].rule) == ("dangerous", "intel-service")
    assert judging.serial != serial


async def test_nothing_is_asked_about_what_lives_here(judging: Judging) -> None:
    assert await asked(judging, at(OURS)) == []
    assert await asked(judging, at(PUBLIC), PUBLIC, OURS) == []
    assert judging.worst(CONTENT) == "clean"


def test_the_hubs_word_holds_and_does_not_refuse(judging: Judging) -> None:
    assert judging.hear_of_hub(CONTENT, {"status": "unsafe"})
    assert judging.worst(CONTENT) == "suspicious"
    assert not judging.hear_of_hub(CONTENT, {"status": "unsafe"})
    assert not judging.hear_of_hub(Etag("b" * 64), {"status": "unsafe"})
