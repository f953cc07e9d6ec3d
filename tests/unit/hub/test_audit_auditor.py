"""What an auditor tries on a log that stands in a real file, and on its archives: each way is told of.

Beside it, that lines which were acknowledged outlive whoever wrote them, with several writers at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from moongate.core.names import RepoId
from moongate.hub.audit import Actor, AuditEvent
from moongate.hub.audit_checkpoint import Checkpoint
from moongate.hub.audit_desk import AuditDesk
from moongate.hub.audit_line import read_line, row_of
from moongate.hub.audit_log import AuditLog
from moongate.hub.audit_verify import Verified
from moongate.store.index import Index
from moongate.store.signing_key import SigningKey

ADA = Actor("ada", "token", "3f9a1c", "10.0.0.9")
REPO = RepoId("model", "acme/tiny")
LINES = 12
T = TypeVar("T")


class House:
    """A log in a home, and the checkpoints that somebody keeps elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = SigningKey.of_home(folder, "audit")
        self.outside: list[Checkpoint] = []

    @property
    def path(self) -> Path:
        return self.folder / "index.sqlite3"

    def write(self, count: int) -> None:
        """So many lines, and a checkpoint that is taken out."""
        with Index(self.path) as index:
            log = AuditLog(index, lambda: self.key)
            for number in range(count):
                log.record(AuditEvent("file.deny", ADA, REPO, reason=f"reason {number}", digest="a" * 64))
            made = log.checkpoint()
            log.close()
        assert made is not None
        self.outside.append(made)

    def desk(self, use: Callable[[AuditDesk], T]) -> T:
        with Index(self.path) as index:
            log = AuditLog(index, lambda: self.key)
            try:
                return use(AuditDesk(index, log))
            finally:
                log.close()

    def verify(self, *, by_outside: bool = False) -> Verified:
        outside = self.outside if by_outside else []
        return self.desk(lambda desk: desk.verify([self.key.public], outside))

    def tamper(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        """Behind the log's back."""
        with sqlite3.connect(self.path) as database:
            for statement, values in statements:
                assert database.execute(statement, values).rowcount != 0, statement
        database.close()

    def line(self, seq: int) -> bytes:
        with Index(self.path) as index:
            return index.audit_after(seq - 1, 1)[0].line


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House(tmp_path_factory.mktemp("written"))
    house.write(LINES // 2)
    house.write(LINES // 2)
    return house


@pytest.fixture
def house(written: House, tmp_path: Path) -> House:
    shutil.copytree(written.folder, tmp_path / "home")
    copied = House(tmp_path / "home")
    copied.outside = list(written.outside)
    return copied


def told(found: Verified) -> str:
    return "; ".join(f"{one.seq}: {one.what}" for one in found.problems)


def test_an_untouched_log_is_sound(house: House) -> None:
    found = house.verify(by_outside=True)
    assert (told(found), found.lines, found.signed_to) == ("", LINES, LINES)


def test_an_edited_line_is_told(house: House) -> None:
    edited = house.line(5).replace(b"reason 4", b"reason 0")
    house.tamper(("UPDATE audit_lines SET line = ? WHERE seq = 5", (edited,)))
    assert "5: the line is not what its hash is of" in told(house.verify())
    fitting = row_of(edited).hash
    house.tamper(("UPDATE audit_lines SET hash = ? WHERE seq = 5", (fitting,)))
    assert "6: the line does not follow the one before it" in told(house.verify())


def test_a_deleted_line_is_told(house: House) -> None:
    house.tamper(("DELETE FROM audit_lines WHERE seq = 4", ()))
    assert "5: line 4 was expected here" in told(house.verify())


def test_lines_that_changed_places_are_told(house: House) -> None:
    third, fourth = house.line(3), house.line(4)
    house.tamper(
        ("UPDATE audit_lines SET line = ?, hash = ? WHERE seq = 3", (fourth, row_of(fourth).hash)),
        ("UPDATE audit_lines SET line = ?, hash = ? WHERE seq = 4", (third, row_of(third).hash)),
    )
    assert "3: the line calls itself 4" in told(house.verify())


def test_a_cut_end_is_told_by_the_head_by_the_checkpoints_and_at_last_by_those_kept_elsewhere(
    house: House,
) -> None:
    house.tamper(("DELETE FROM audit_lines WHERE seq > 8", ()))
    assert f"the head is line {LINES}; the last line here is 8" in told(house.verify())
    fitting = row_of(house.line(8)).hash
    house.tamper(("UPDATE audit_head SET seq = 8, hash = ?", (fitting,)))
    assert "the end was cut off" in told(house.verify())
    house.tamper(
        ("DELETE FROM audit_checkpoints WHERE seq > 8", ()),
        ("UPDATE audit_head SET checkpoint_seq = 6", ()),
    )
    assert told(house.verify()) == "", "whoever has everything made all fit"
    assert "the end was cut off" in told(house.verify(by_outside=True))


def test_an_old_checkpoint_in_place_of_the_last_is_told(house: House) -> None:
    old = house.outside[0].note()
    house.tamper(("UPDATE audit_checkpoints SET note = ? WHERE seq = ?", (old, LINES)))
    assert f"{LINES}: the checkpoint is of line 6" in told(house.verify())
    house.tamper(("DELETE FROM audit_checkpoints WHERE seq = ?", (LINES,)))
    assert f"{LINES}: the last checkpoint is missing" in told(house.verify())


def test_an_old_log_in_place_of_the_present_one_is_told(house: House, tmp_path: Path) -> None:
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(house.path, backup)
    house.write(3)
    shutil.copy(backup, house.path)
    for beside in ("-wal", "-shm"):
        house.path.with_name(f"{house.path.name}{beside}").unlink(missing_ok=True)
    assert told(house.verify()) == "", "it is a sound log, and an old one"
    assert f"{LINES + 3}: a signed checkpoint is of a line that is not here" in told(
        house.verify(by_outside=True)
    )


ARCHIVES: list[tuple[str, Callable[[list[bytes]], list[bytes]], str]] = [
    ("edited", lambda lines: [lines[0].replace(b"reason 0", b"reason 1"), *lines[1:]], "does not follow"),
    ("deleted", lambda lines: [*lines[:2], *lines[3:]], "line 3 was expected here"),
    ("swapped", lambda lines: [lines[1], lines[0], *lines[2:]], "was expected here"),
    ("cut", lambda lines: lines[:-1], "the end was cut off"),
    ("torn", lambda lines: [*lines[:-1], lines[-1][:40]], "no line of an audit log"),
]


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in ARCHIVES], ids=[c[0] for c in ARCHIVES])
def test_an_archive_that_was_changed_is_told(
    house: House, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], words: str
) -> None:
    file = tmp_path / "old.jsonl"
    house.desk(lambda desk: desk.archive(file, LINES, ADA))

    def checked() -> str:
        return told(house.desk(lambda desk: desk.verify_file(file, [house.key.public], house.outside[-1:])))

    assert checked() == ""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(change(lines)))
    assert words in checked()


def test_an_archive_that_was_cut_to_an_old_checkpoint_is_told(house: House, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    house.desk(lambda desk: desk.archive(file, LINES, ADA))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:6]))
    found = house.desk(lambda desk: desk.verify_file(file, [house.key.public], house.outside[:1]))
    assert told(found) == f"6: lines 1 to {LINES} were archived in a file of this name"
    assert told(house.verify()) == ""


WRITER = """
import sys
from pathlib import Path
from moongate.hub.audit import Actor, AuditEvent
from moongate.hub.audit_log import AuditLog
from moongate.store.index import Index
from moongate.store.signing_key import SigningKey
home, name = Path(sys.argv[1]), sys.argv[2]
with Index(home / "index.sqlite3") as index:
    log = AuditLog(index, lambda: SigningKey.of_home(home, "audit"))
    for number in range(100_000):
        log.note(AuditEvent("file.deliver", Actor(name, "token")))
        log.record(AuditEvent("pin.create", Actor(name, "token"), subject=str(number)))
        print(number, flush=True)
"""


def test_two_writers_at_once_are_killed_and_no_acknowledged_line_is_lost(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(1)
    names = ("one", "two")
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE) for name in names]
    acknowledged: dict[str, set[str]] = {}
    try:
        for writer in writers:
            assert writer.stdout is not None
            for _ in range(20):  # both write by now, or will
                writer.stdout.readline()
    finally:
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
    for name, writer in zip(names, writers, strict=True):
        rest, _ = writer.communicate()
        acknowledged[name] = {str(number) for number in range(20)} | set(rest.decode().split()[:-1])
    found = house.verify()
    assert told(found) == ""
    with Index(house.path) as index:
        lines = [read_line(row.line) for row in index.audit_after(0, 1_000_000)]
    for name in names:
        there = {line["subject"] for line in lines if line["actor"]["name"] == name and "subject" in line}
        assert acknowledged[name] - there == set(), name
