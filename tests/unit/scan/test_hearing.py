"""In the path, other scanners are asked about what can run code only; their end harms nobody."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Report
from moongate.scan.feeds.rule_file import RuleFile
from moongate.scan.jail import Limits
from moongate.scan.pool import Jails
from moongate.scan.voices.choir import Asked
from moongate.scan.voices.hearing import Hearing
from support.voices import FakePicklescan
from support.weights import safetensors

PICKLE = pickle.dumps({"a": 1})


@pytest.fixture
def scanner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePicklescan:
    fake = FakePicklescan(tmp_path / "packages")
    monkeypatch.setenv("PYTHONPATH", str(fake.folder))
    return fake


@pytest.fixture
def jails() -> Iterator[Jails]:
    jails = Jails(hearing=Hearing([Asked("picklescan")], limits=Limits(seconds=2)))
    yield jails
    jails.close()


def judged(jails: Jails, data: bytes) -> Report:
    def read(span: ByteSpan) -> bytes:
        return data[span.start : span.end]

    return jails.judge_read(read, len(data), "model.bin")


def rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


def test_a_voice_that_hangs_or_dies_is_a_note_and_the_next_file_is_judged(
    scanner: FakePicklescan, jails: Jails
) -> None:
    for wish, words in (("crash", "SIGABRT"), ("hang", "was stopped after 2 s")):
        scanner.wish(wish)
        told = judged(jails, PICKLE)
        assert (told.verdict, rules(told)) == ("clean", ["voice-failed"])
        assert words in told.findings[0].what
        scanner.wish("cry")
        assert judged(jails, PICKLE).verdict == "suspicious"
    scanner.wish("")
    assert rules(judged(jails, PICKLE)) == []


def test_while_a_voice_hangs_others_are_heard(scanner: FakePicklescan, jails: Jails) -> None:
    scanner.wish("hang")
    slow = threading.Thread(target=judged, args=(jails, PICKLE))
    slow.start()
    assert judged(jails, b"just some words\n").verdict == "clean"
    assert slow.is_alive()
    slow.join()


def test_what_runs_nothing_is_not_asked_about(scanner: FakePicklescan, jails: Jails) -> None:
    scanner.wish("crash")
    assert rules(judged(jails, safetensors({"a": ("U8", [4])}))) == []
    assert rules(judged(jails, b"")) == []


def test_a_voice_that_does_not_start_is_left_alone(tmp_path: Path) -> None:
    jails = Jails(hearing=Hearing([Asked("yara", str(tmp_path / "none.yar"))]))
    for _ in range(2):
        told = judged(jails, b"hello\n")
        assert rules(told) == ["voice-failed"]
        assert "does not start" in told.findings[0].what
    jails.close()


def test_versions_tell_who_is_asked() -> None:
    assert Jails().versions.engine == Jails(hearing=Hearing()).versions.engine
    asked = Jails(hearing=Hearing([Asked("clamd", "unix:/run/clamd")]))
    assert asked.versions.engine.endswith("+clamd")


class Feeds:
    """What feeds say."""

    def __init__(self) -> None:
        self.version, self.sources = "", list[tuple[str, str, str]]()

    def say(self, version: str, word: str) -> None:
        self.version = version
        self.sources = [("ours", "rules", f'rule known {{ strings: $a = "{word}" condition: $a }}')]

    def feeds_version(self) -> str:
        return self.version

    def yara_sources(self) -> list[tuple[str, str, str]]:
        return self.sources


def test_rules_of_feeds_are_asked_as_they_are_now(tmp_path: Path) -> None:
    pytest.importorskip("yara_x")
    feeds = Feeds()
    jails = Jails(hearing=Hearing(feed_rules=RuleFile(feeds, tmp_path / "rules").now))
    before = jails.versions
    assert judged(jails, b"a fingerprint\n").verdict == "clean"
    feeds.say("1", "fingerprint")
    assert jails.versions.rules != before.rules
    assert rules(judged(jails, b"a fingerprint\n")) == ["yara-match"]
    feeds.say("2", "whisper")
    assert rules(judged(jails, b"a fingerprint\n")) == []
    assert len(list((tmp_path / "rules").iterdir())) == 1
    feeds.version, feeds.sources = "3", []
    assert jails.versions == before
    jails.close()
