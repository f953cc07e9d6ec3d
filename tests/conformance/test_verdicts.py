"""One contract for the verdicts on content, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.core.verdicts import Finding, Judged, Report, Severity, Verdict, Versions
from moongate.store.index import Index

ONE, OTHER = Etag("a" * 64), Etag("b" * 40)
NOW = Versions("scan/1", "rules 2", "feeds 3")
FINDING = Finding("pickle-import", Severity.HIGH, "calls os.system", "it runs", "do not load it", "a!/b", 7)


def judged(etag: Etag, verdict: Verdict, at: float, versions: Versions = NOW) -> Judged:
    findings = (FINDING,) if verdict == "dangerous" else ()
    report = Report(verdict, findings, ("pickle",), 11, 0, versions.engine, versions.rules)
    return Judged(etag, report, at, size_bytes=12, name_kind="bin", feeds=versions.feeds)


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    where = f"sqlite:///{tmp_path}/index.sqlite3"
    if request.param == "postgresql":
        create: Callable[[], str] = request.getfixturevalue("postgres_database")
        where = create()
    with Index(where) as index:
        yield index


def test_what_was_said_comes_back_whole(index: Index) -> None:
    said = replace(judged(ONE, "dangerous", 5.0), retry_at=9.5, attempts=2, basis="ranges")
    index.put_verdict(said)
    assert index.verdicts_of(ONE) == [said]
    assert index.verdicts_of(OTHER) == []


def test_the_same_versions_replace_and_other_ones_are_history(index: Index) -> None:
    old = replace(NOW, rules="rules 1")
    index.put_verdict(judged(ONE, "clean", 1.0, old))
    index.put_verdict(judged(ONE, "failed", 2.0))
    index.put_verdict(judged(ONE, "dangerous", 3.0))
    assert [(one.verdict, one.judged_at) for one in index.verdicts_of(ONE)] == [
        ("dangerous", 3.0),
        ("clean", 1.0),
    ]
    index.put_verdict(judged(ONE, "dangerous", 4.0, replace(NOW, feeds="feeds 4")))
    assert [(one.verdict, one.judged_at) for one in index.verdicts_of(ONE)] == [
        ("dangerous", 4.0),
        ("clean", 1.0),
    ]


def test_lists_and_counts_go_by_the_newest_word(index: Index) -> None:
    index.put_verdict(judged(ONE, "clean", 1.0, replace(NOW, rules="rules 1")))
    index.put_verdict(judged(ONE, "dangerous", 2.0))
    index.put_verdict(judged(OTHER, "clean", 3.0))
    assert [one.etag for one in index.with_verdict("clean", 100.0, 10)] == [OTHER]
    assert [one.etag for one in index.with_verdict("dangerous", 100.0, 10)] == [ONE]
    assert index.with_verdict("dangerous", 2.0, 10) == []
    assert index.verdict_counts() == {"clean": 1, "dangerous": 1}


def test_a_repository_has_the_verdicts_of_its_files(index: Index) -> None:
    repo, commit = RepoId("model", "acme/one"), CommitHash("c" * 40)
    index.put_files(repo, commit, [FileEntry(RepoPath("a.bin"), ONE, 12)])
    index.put_verdict(judged(ONE, "clean", 1.0))
    index.put_verdict(judged(OTHER, "clean", 2.0))
    assert [one.etag for one in index.verdicts_in(repo, 10)] == [ONE]
    assert index.verdicts_in(RepoId("model", "acme/two"), 10) == []


def test_what_is_outdated_and_kept_is_found_last_read_first(index: Index) -> None:
    old = replace(NOW, rules="rules 1")
    third = Etag("d" * 64)
    for etag, at in ((ONE, 10.0), (OTHER, 20.0), (third, 30.0)):
        index.put_blob(etag, 12, at)
    index.put_verdict(judged(ONE, "clean", 1.0, old))
    index.put_verdict(judged(OTHER, "clean", 2.0, old))
    index.put_verdict(judged(third, "clean", 3.0))
    index.put_verdict(judged(Etag("e" * 64), "clean", 3.0, old))  # not kept
    assert [one.etag for one in index.outdated_verdicts(NOW, 50.0, 10)] == [OTHER, ONE]
    assert [one.etag for one in index.outdated_verdicts(NOW, 50.0, 1)] == [OTHER]
    index.put_verdict(replace(judged(third, "failed", 4.0), retry_at=60.0))
    assert third not in [one.etag for one in index.outdated_verdicts(NOW, 59.0, 10)]
    assert third in [one.etag for one in index.outdated_verdicts(NOW, 60.0, 10)]


def test_what_was_said_of_wrong_bytes_is_forgotten(index: Index) -> None:
    index.put_verdict(replace(judged(ONE, "dangerous", 1.0), basis="ranges"))
    index.put_verdict(judged(OTHER, "clean", 1.0))
    index.drop_unproven_verdicts(ONE)
    index.drop_unproven_verdicts(OTHER)
    assert index.verdicts_of(ONE) == []
    assert len(index.verdicts_of(OTHER)) == 1
