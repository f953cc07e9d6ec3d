"""Other scanners are heard in processes of their own; they add suspicion, and their end is no outage."""

from __future__ import annotations

import os
import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moongate.core.errors import BadRequest
from moongate.core.verdicts import Report
from moongate.scan.jail import Jail, Limits
from moongate.scan.voices.choir import Asked, Choir
from moongate.scan.voices.clamd import Clamd
from moongate.scan.voices.voice import VoiceAbsent
from support.pickled import EVIL, zipped


def judged(jail: Jail | Choir, data: bytes, folder: Path, name: str = "model.bin") -> Report:
    path = folder / name
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return jail.judge(descriptor, name)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("name", "package"), [("picklescan", "picklescan"), ("modelaudit", "modelaudit_picklescan")]
)
def test_a_scanner_of_pickles_is_heard_in_its_jail(name: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    with Jail(voice=(name, "")) as jail:
        told = judged(jail, zipped({"archive/data.pkl": EVIL}), tmp_path)
        assert jail.confined
        assert told.verdict == "suspicious", told
        assert told.findings[0].rule == "voice"
        assert name in told.findings[0].what
        assert judged(jail, pickle.dumps({"a": 1}), tmp_path).verdict == "clean"


def test_rules_of_yara_are_dangerous_unless_they_say_less(tmp_path: Path) -> None:
    pytest.importorskip("yara_x")
    rules = tmp_path / "rules.yar"
    rules.write_text(
        'rule known { meta: description = "seen before" strings: $a = "fingerprint" condition: $a }\n'
        'rule mild { meta: severity = "low" strings: $a = "whisper" condition: $a }\n'
    )
    with Choir([Asked.parse(f"yara:{rules}")]) as choir:
        told = judged(choir, b"a fingerprint here", tmp_path, "notes.txt")
        assert told.verdict == "dangerous"
        assert told.findings[0].what == "the rule known matches: seen before"
        assert told.findings[0].offset == 2
        assert "yara-x/" in told.engine
        assert judged(choir, b"a whisper here", tmp_path, "notes.txt").verdict == "clean"


def test_a_voice_takes_no_suspicion_away(tmp_path: Path) -> None:
    pytest.importorskip("picklescan")
    unknown = b"\x80\x04\x8c\x05mypkg\x8c\x03run\x93)R."
    with Choir([Asked("picklescan")]) as choir:
        assert judged(choir, unknown, tmp_path).verdict == "dangerous"


def test_a_voice_that_dies_or_hangs_is_a_note(tmp_path: Path) -> None:
    pytest.importorskip("yara_x")
    with Choir([Asked("yara", str(tmp_path / "no-such-rules"))], Limits(seconds=30)) as choir:
        told = judged(choir, b"hello\n", tmp_path, "notes.txt")
    assert told.verdict == "clean"
    assert [finding.rule for finding in told.findings] == ["voice-failed"]


def test_names_of_voices_are_checked() -> None:
    for words in ("nobody", "yara", "clamd"):
        with pytest.raises(VoiceAbsent):
            Asked.parse(words)
    for address in ("tcp:192.0.2.1:3310", "tcp:127.0.0.1", "unix:", "http://x"):
        with pytest.raises(BadRequest):
            Clamd(address)


@contextmanager
def daemon(path: Path, answer: bytes, most_bytes: int = 1 << 30) -> Iterator[list[bytes]]:
    """A daemon that speaks clamd's protocol over a socket, for one connection."""
    heard: list[bytes] = []
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen(1)

    def serve() -> None:
        peer, _ = door.accept()
        with peer, peer.makefile("rb") as stream:
            heard.append(stream.read(len(b"zINSTREAM\0")))
            while sum(map(len, heard)) < most_bytes and (length := struct.unpack(">I", stream.read(4))[0]):
                heard.append(stream.read(length))
            peer.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        thread.join()
        door.close()


@pytest.mark.parametrize(
    ("answer", "verdict", "rule"),
    [
        (b"stream: OK\0", "clean", None),
        (b"stream: Eicar-Test-Signature FOUND\0", "dangerous", "virus"),
        (b"INSTREAM size limit exceeded. ERROR\0", "clean", "voice-failed"),
        (b"", "clean", "voice-failed"),
    ],
)
def test_what_clamav_answers(answer: bytes, verdict: str, rule: str | None, tmp_path: Path) -> None:
    address = tmp_path / "clamd"
    data = b"some words\n" * 60_000
    with daemon(address, answer) as heard, Choir([Asked("clamd", f"unix:{address}")]) as choir:
        told = judged(choir, data, tmp_path, "notes.txt")
    assert heard[0] == b"zINSTREAM\0"
    assert b"".join(heard[1:]) == data
    assert told.verdict == verdict
    assert [finding.rule for finding in told.findings] == ([rule] if rule else [])


def test_a_daemon_that_is_not_there_is_a_note(tmp_path: Path) -> None:
    with Choir([Asked("clamd", f"unix:{tmp_path / 'absent'}")]) as choir:
        told = judged(choir, b"hello\n", tmp_path, "notes.txt")
    assert told.verdict == "clean"
    assert told.findings[0].rule == "voice-failed"
