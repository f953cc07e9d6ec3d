"""Journals outlive the process that writes them, and are given to one other that asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moongate.core.errors import StoreError
from moongate.store.journals import Journal, left_behind

WRITER = """
import sys, time
from pathlib import Path
from moongate.store.journals import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(1000):
    journal.append(b"line %d" % number)
print("written", flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_wrote_is_there(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    assert list(left_behind(tmp_path)) == [], "it lives"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    ((lines, forget),) = left_behind(tmp_path)
    assert [line for line in lines if line] == [b"line %d" % number for number in range(1000)]
    forget()
    assert list(left_behind(tmp_path)) == []


def test_a_renewed_journal_begins_with_what_it_is_given(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journals")
    journal.append(b"one")
    journal.append(b"two")
    forget = journal.renew([b"two"])
    journal.append(b"three")
    assert len(list((tmp_path / "journals").iterdir())) == 2, "the former one is there until it may go"
    forget()
    (path,) = (tmp_path / "journals").iterdir()
    assert path.read_bytes() == b"\ntwo\nthree"
    assert path.stat().st_mode & 0o077 == 0
    journal.end()
    assert list((tmp_path / "journals").iterdir()) == []


def test_a_line_that_a_full_disk_tore_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = Journal(tmp_path), os.write
    journal.append(b"one")
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        with pytest.raises(StoreError, match="space"):
            journal.append(b"another")
    journal.append(b"two")
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().split(b"\n") == [b"", b"one", b"an", b"two"]
    journal.end()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "journals")
    with pytest.raises(StoreError):
        journal.append(b"one")
    with pytest.raises(StoreError):
        journal.renew([])
    assert list(left_behind(tmp_path / "absent")) == []
