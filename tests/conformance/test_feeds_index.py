"""Feeds, services and digests in the index, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.feeds import Advisory, FeedRow, ServiceAnswer
from moongate.core.hits import Indicator
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.store.index import Index

FEED = FeedRow("ours", "hashes", "https://feeds.example/list.csv", 1.0, {"every_seconds": 60})
BAD, WORSE, SMALL = "a" * 64, "b" * 64, "c" * 40


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    if request.param == "sqlite":
        where = f"sqlite:///{tmp_path}/index.sqlite3"
    else:
        create: Callable[[], str] = request.getfixturevalue("postgres_database")
        where = create()
    with Index(where) as index:
        yield index


def show(index: Index, *told: Indicator, name: str = "ours") -> int:
    number = index.begin_generation(name)
    index.add_indicators(name, number, told)
    index.show_generation(name, number)
    return number


def test_a_feed_is_kept_as_told_and_gone_when_dropped(index: Index) -> None:
    index.put_feed(FEED)
    show(index, Indicator("sha256", BAD))
    assert index.feed("ours") == FeedRow(**{**vars_of(FEED), "generation": 1})
    assert index.drop_feed("ours")
    assert not index.drop_feed("ours")
    assert index.feeds() == []
    assert index.hits("sha256", BAD, 0.0) == []


def vars_of(feed: FeedRow) -> dict[str, object]:
    return {name: getattr(feed, name) for name in FeedRow.__slots__}


def test_a_generation_counts_once_it_is_shown_and_not_before(index: Index) -> None:
    index.put_feed(FEED)
    before = index.feeds_version()
    number = index.begin_generation("ours")
    index.add_indicators("ours", number, [Indicator("sha256", BAD, "Stealer", 90, "amber", 50.0, "lab")])
    assert index.hits("sha256", BAD, 10.0) == []
    assert index.feeds_version() == before
    index.show_generation("ours", number)
    index.note_feed_fetch("ours", {"etag": '"1"'}, 7.0)
    (hit,) = index.hits("sha256", BAD, 10.0)
    assert hit.indicator == Indicator("sha256", BAD, "Stealer", 90, "amber", 50.0, "lab")
    assert (hit.feed, hit.fetched_at) == ("ours", 7.0)
    assert index.feeds_version() != before


def test_an_indicator_ends_when_it_expires(index: Index) -> None:
    index.put_feed(FEED)
    show(index, Indicator("sha256", BAD, expires_at=50.0))
    assert index.hits("sha256", BAD, 49.0)
    assert index.hits("sha256", BAD, 50.0) == []


def test_a_held_generation_waits_beside_the_one_that_counts(index: Index) -> None:
    index.put_feed(FEED)
    first = show(index, Indicator("sha256", BAD))
    second = index.begin_generation("ours", first)
    index.add_indicators("ours", second, [Indicator("sha256", WORSE)])
    index.hold_generation("ours", second, "too much", first)
    assert index.hits("sha256", BAD, 0.0)
    assert index.hits("sha256", WORSE, 0.0) == []
    index.drop_generations("ours")
    assert index.generation_counts("ours", second) == (2, 0, 0)
    index.show_generation("ours", second)
    assert index.hits("sha256", WORSE, 0.0)
    feed = index.feed("ours")
    assert feed is not None
    assert (feed.generation, feed.held_generation, feed.held_why) == (second, None, "")


def test_leavings_of_a_fetch_that_died_are_dropped_and_never_counted(index: Index) -> None:
    index.put_feed(FEED)
    first = show(index, Indicator("sha256", BAD))
    dead = index.begin_generation("ours")
    index.add_indicators("ours", dead, [Indicator("sha256", WORSE)])
    assert index.begin_generation("ours") > dead
    index.drop_generations("ours")
    assert index.generation_counts("ours", dead) == (0, 0, 0)
    assert index.generation_counts("ours", first) == (1, 0, 0)


def test_kept_content_is_found_by_its_sha256_whatever_its_etag(index: Index) -> None:
    index.put_feed(FEED)
    index.put_blob(Etag(BAD), 10, 1.0)
    index.put_blob(Etag(SMALL), 10, 1.0)
    index.put_blob(Etag("d" * 64), 10, 1.0)
    assert index.undigested(10) == [SMALL]
    index.put_digest(SMALL, WORSE)
    assert index.undigested(10) == []
    assert (index.digest_of(SMALL), index.digest_of(BAD), index.digest_of("e" * 40)) == (WORSE, BAD, None)
    assert (index.etag_of(WORSE), index.etag_of(BAD)) == (SMALL, None)
    number = show(index, Indicator("sha256", BAD), Indicator("sha256", WORSE, confidence=20))
    assert sorted(etag for etag, _ in index.kept_hits(0.0)) == [BAD, SMALL]
    assert index.kept_in_generation("ours", number) == {BAD}
    assert index.kept_count() == 3


def test_repositories_and_what_they_list_are_found(index: Index) -> None:
    repo = RepoId("model", "evil/tiny")
    index.put_files(repo, CommitHash("1" * 40), [FileEntry(RepoPath("w.bin"), Etag(BAD), 10)], complete=True)
    index.put_feed(FEED)
    show(index, Indicator("repo", "models/evil/tiny"), Indicator("author", "evil"))
    assert index.repo_keys() == ["models/evil/tiny"]
    assert index.etags_of_repo("models/evil/tiny") == [BAD]
    assert {hit.indicator.kind for hit in index.named_hits(0.0)} == {"repo", "author"}


def test_advisories_and_rules_follow_their_generation(index: Index) -> None:
    index.put_feed(FEED)
    number = index.begin_generation("ours")
    index.add_advisories("ours", number, [Advisory("PyPI", "ctx", "MAL-1", {"versions": ["1"]})])
    index.add_rules("ours", number, {"a.yar": "rule a { condition: true }"})
    assert index.advisories("PyPI", "ctx") == []
    index.show_generation("ours", number)
    assert index.advisories("PyPI", "ctx") == [("ours", 0.0, "MAL-1", {"versions": ["1"]})]
    assert index.yara_sources() == [("ours", "a.yar", "rule a { condition: true }")]
    assert index.generation_counts("ours", number) == (0, 1, 1)
    assert index.advisories_of("ours", number) == [Advisory("PyPI", "ctx", "MAL-1", {"versions": ["1"]})]


def test_many_at_once_use_no_more_than_the_quota(index: Index) -> None:
    with ThreadPoolExecutor(8) as pool:
        allowed = list(pool.map(lambda _: index.use_service("vt", "minute:7", 4), range(20)))
    assert sum(allowed) == 4
    assert index.service_used("vt", "minute:7") == 4
    assert not index.use_service("vt", "minute:8", 0)
    index.prune_service_use("vt", "minute:8")
    assert index.service_used("vt", "minute:7") == 0


def test_answers_are_kept_with_what_is_not_known(index: Index) -> None:
    known = ServiceAnswer("vt", BAD, {"malicious": 3}, 1.0, 9.0)
    index.put_service_answer(known)
    index.put_service_answer(ServiceAnswer("vt", WORSE, None, 1.0, 5.0))
    assert index.service_answer("vt", BAD) == known
    unknown = index.service_answer("vt", WORSE)
    assert unknown is not None
    assert unknown.told is None
    assert index.prune_service_answers(6.0) == 1
    assert index.service_answer("vt", WORSE) is None
