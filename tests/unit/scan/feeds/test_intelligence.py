"""What is answered about content, repositories and packages; services; bundles."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, VerificationFailed
from moongate.core.hits import Indicator
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.hub.intelligence import Subject
from moongate.scan.feeds.bundles import MANIFEST, read_bundle, write_bundle
from moongate.store.index import Index
from support.feed_desk import DAY, Desk
from support.feeds import FeedServer

A, B, MD5 = "a" * 64, "b" * 64, "c" * 32
EVIL = RepoId("model", "Evil/Tiny")
BAD = {"last_analysis_stats": {"malicious": 40, "suspicious": 1, "undetected": 20, "harmless": 0}}
GOOD = {
    "last_analysis_stats": {"malicious": 0, "suspicious": 0, "undetected": 60, "harmless": 0},
    "first_submission_date": 1_500_000_000,
}


def say(desk: Desk, *told: Indicator, name: str = "ours") -> None:
    if desk.index.feed(name) is None:
        desk.add("hashes", "/nowhere", name)
    number = desk.index.begin_generation(name)
    desk.index.add_indicators(name, number, told)
    desk.index.show_generation(name, number)
    desk.index.note_feed_fetch(name, {}, desk.now)


class TestHits:
    def test_a_finding_names_the_feed_and_how_old_it_is(self, desk: Desk) -> None:
        say(desk, Indicator("sha256", A, "Stealer", 90, "amber", source="lab"))
        desk.now += 2 * DAY
        (found,) = desk.intelligence.known(Subject(sha256=A))
        assert found.severity.name == "CRITICAL"
        assert found.what == "ours knows these bytes as Stealer"
        assert found.evidence == {
            "sha256": A,
            "feed": "ours",
            "feed_fetched_at": "2026-09-21T14:13:20Z",
            "feed_age_seconds": 172800,
            "confidence": 90,
            "tlp": "amber",
            "source": "lab",
        }

    def test_how_sure_the_feed_is_decides_how_severe_it_is(self, desk: Desk) -> None:
        say(
            desk,
            Indicator("sha256", A, confidence=59),
            Indicator("sha256", B, confidence=29),
            Indicator("md5", MD5, confidence=100),
        )
        severities = [
            found.severity.name
            for subject in (Subject(sha256=A), Subject(sha256=B), Subject(md5=MD5))
            for found in desk.intelligence.known(subject)
        ]
        assert severities == ["MEDIUM", "LOW", "MEDIUM"]

    def test_repositories_and_authors_are_known_in_any_case_but_not_what_is_hosted_here(
        self, desk: Desk
    ) -> None:
        say(desk, Indicator("repo", "models/evil/tiny"), Indicator("author", "evil"))
        found = desk.intelligence.known(Subject(repo=EVIL))
        assert [(one.rule, one.severity.name) for one in found] == [
            ("intel-repo", "HIGH"),
            ("intel-author", "MEDIUM"),
        ]
        assert desk.intelligence.known(Subject(repo=EVIL, hosted=True)) == ()
        assert desk.intelligence.known(Subject(repo=RepoId("dataset", "good/tiny"))) == ()

    def test_what_is_red_shows_no_label(self, desk: Desk) -> None:
        say(desk, Indicator("sha256", A, "Operation Secret", tlp="red", source="agency"))
        (found,) = desk.intelligence.known(Subject(sha256=A))
        assert "Secret" not in json.dumps(found.as_json())
        assert "agency" not in json.dumps(found.as_json())

    def test_everything_kept_is_hunted_by_bytes_and_by_name(self, desk: Desk) -> None:
        desk.keep(A, B)
        desk.index.put_files(EVIL, CommitHash("1" * 40), [FileEntry(RepoPath("w.bin"), Etag(B), 10)])
        say(desk, Indicator("sha256", A), Indicator("author", "evil"))
        kept = desk.intelligence.kept_and_known()
        assert {etag: [one.rule for one in found] for etag, found in kept.items()} == {
            A: ["intel-hash"],
            B: ["intel-author"],
        }

    def test_without_feeds_there_is_no_age(self, desk: Desk) -> None:
        assert desk.intelligence.oldest_age_seconds() is None
        desk.add("hashes", "/nowhere")
        desk.now += 60
        assert desk.intelligence.oldest_age_seconds() == 60  # never fetched: as old as it is here


@pytest.fixture
def vt(desk: Desk, server: FeedServer, monkeypatch: pytest.MonkeyPatch) -> FeedServer:
    monkeypatch.setenv("VT_KEY", "k3y")
    desk.add("virustotal", server.url, "vt", key="env:VT_KEY", per_minute=3, per_day=5)
    server.virustotal({A: BAD, B: GOOD})
    return server


class TestServices:
    async def test_a_hash_is_asked_once_and_the_answer_kept(self, desk: Desk, vt: FeedServer) -> None:
        subjects = [Subject(sha256=A)] * 4
        answers = await asyncio.gather(*(desk.intelligence.ask(subject) for subject in subjects))
        assert [[one.rule for one in found] for found in answers] == [["intel-service"]] * 4
        assert vt.paths() == [f"/api/v3/files/{A}"]
        assert vt.asked[0].headers["x-apikey"] == "k3y"
        assert desk.intelligence.known(Subject(sha256=A)) == answers[0]
        desk.now += 3600
        await desk.intelligence.ask(Subject(sha256=A))
        assert len(vt.asked) == 2

    async def test_unknown_is_neither_clean_nor_bad_and_not_asked_again_at_once(
        self, desk: Desk, vt: FeedServer
    ) -> None:
        unknown = Subject(sha256="d" * 64)
        assert await desk.intelligence.ask(unknown) == ()
        assert await desk.intelligence.ask(unknown) == ()
        assert len(vt.asked) == 1
        kept = desk.index.service_answer("vt", "d" * 64)
        assert kept is not None
        assert kept.told is None

    async def test_of_what_is_hosted_not_even_the_hash_is_told(self, desk: Desk, vt: FeedServer) -> None:
        assert await desk.intelligence.ask(Subject(sha256=A, hosted=True)) == ()
        assert await desk.intelligence.ask(Subject(repo=EVIL)) == ()
        assert vt.asked == []

    async def test_quotas_by_the_minute_and_by_the_day_hold_for_all_processes(
        self, desk: Desk, vt: FeedServer
    ) -> None:
        others = Desk(desk.index, desk.settings, desk.now)
        for number in range(6):
            await (desk, others)[number % 2].intelligence.ask(Subject(sha256=f"{number:064x}"))
        assert len(vt.asked) == 3
        for desk_now in (desk, others):
            desk_now.now += 60
        for number in range(6):
            await (desk, others)[number % 2].intelligence.ask(Subject(sha256=f"{number:064x}"))
        assert len(vt.asked) == 5

    async def test_a_service_that_limits_or_fails_is_left_alone_for_a_while(
        self, desk: Desk, vt: FeedServer
    ) -> None:
        vt.routes["/api/v3/files/"] = lambda _: (429, {"Retry-After": "90"}, b"")
        assert await desk.intelligence.ask(Subject(sha256=A)) == ()
        asked = len(vt.asked)
        desk.now += 80
        await desk.intelligence.ask(Subject(sha256=A))
        assert len(vt.asked) == asked
        assert "limits" in desk.feed("vt").trouble
        vt.virustotal({A: BAD})
        desk.now += 80
        assert await desk.intelligence.ask(Subject(sha256=A))
        assert desk.feed("vt").trouble == ""

    @pytest.mark.parametrize("answer", [(200, b"{}"), (200, b"<html>"), (401, b""), (302, b""), (500, b"")])
    async def test_an_answer_of_another_shape_says_nothing(
        self, desk: Desk, vt: FeedServer, answer: tuple[int, bytes]
    ) -> None:
        vt.routes["/api/v3/files/"] = lambda _: (answer[0], {}, answer[1])
        assert await desk.intelligence.ask(Subject(sha256=A)) == ()
        assert desk.index.service_answer("vt", A) is None
        assert desk.feed("vt").trouble


class TestBundles:
    def carry(self, desk: Desk, tmp_path: Path) -> Path:
        say(desk, Indicator("sha256", A, "Stealer"), Indicator("sha256", B, "Secret", tlp="red"))
        bundle = tmp_path / "feeds.zip"
        (exported,) = write_bundle(desk.index, [], bundle, desk.now)
        assert (exported.feed, exported.statements, exported.left_out) == ("ours", 1, 1)
        return bundle

    def test_a_bundle_brings_what_counts_with_its_age(self, desk: Desk, tmp_path: Path) -> None:
        bundle = self.carry(desk, tmp_path)
        with Index(tmp_path / "other.sqlite3") as index:
            other = Desk(index, desk.settings, desk.now + DAY)
            (outcome,) = read_bundle(index, bundle, other.now)
            assert (outcome.how, outcome.indicators) == ("changed", 1)
            assert (other.knows(A), other.knows(B)) == (True, False)
            assert other.intelligence.oldest_age_seconds() == DAY
            assert read_bundle(index, bundle, other.now)[0].how == "same"
            assert "Secret" not in bundle.read_bytes().decode("latin-1")

    def test_what_is_newer_here_stays(self, desk: Desk, tmp_path: Path) -> None:
        bundle = self.carry(desk, tmp_path)
        desk.now += 10
        say(desk, Indicator("sha256", "e" * 64))
        assert read_bundle(desk.index, bundle, desk.now)[0].how == "same"
        assert desk.knows("e" * 64)

    def test_a_damaged_or_strange_bundle_brings_nothing(self, desk: Desk, tmp_path: Path) -> None:
        bundle = self.carry(desk, tmp_path)
        with zipfile.ZipFile(bundle) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        bad = tmp_path / "bad.zip"
        changes: list[tuple[dict[str, bytes], type[Exception]]] = [
            ({"feeds/0.jsonl": parts["feeds/0.jsonl"].replace(b"aaaa", b"bbbb")}, VerificationFailed),
            ({MANIFEST: b"{}"}, BadRequest),
            ({MANIFEST: parts[MANIFEST].replace(b'"hashes"', b'"magic"')}, BadRequest),
            ({MANIFEST: parts[MANIFEST].replace(b"0.jsonl", b"9.jsonl")}, BadRequest),
        ]
        with Index(tmp_path / "other.sqlite3") as index:
            for change, error in changes:
                with zipfile.ZipFile(bad, "w") as archive:
                    for name, body in {**parts, **change}.items():
                        archive.writestr(name, body)
                with pytest.raises(error):
                    read_bundle(index, bad, desk.now)
            bad.write_bytes(b"PK nonsense")
            with pytest.raises(BadRequest):
                read_bundle(index, bad, desk.now)
            assert index.hits("sha256", A, desk.now) == []
