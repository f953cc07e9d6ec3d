"""What only the SQLite file has to get right: damage, rights, other writers, threads that end."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from moongate.core.errors import StoreError
from moongate.core.names import CommitHash, RepoId, Revision
from moongate.store.index import Index

MODEL, MAIN, FIRST = RepoId("model", "acme/tiny"), Revision("main"), CommitHash("1" * 40)
FDS = Path("/proc/self/fd")


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite3"
    path.write_bytes(b"not a database, though long enough to have a header of its own" * 100)
    with pytest.raises(StoreError, match=r"index\.sqlite3 is damaged.*No file of the store is lost.*move it"):
        Index(path)


def test_a_log_stays_while_somebody_has_it_open(tmp_path: Path) -> None:
    """Also when the same process opened the index twice, and another one closes it after that."""
    path = tmp_path / "index.sqlite3"
    with Index(path) as index:
        index.put_ref(MODEL, MAIN, FIRST, 1.0)
        Index(path).close()
        code = "import sys, pathlib, moongate.store.index as i; i.Index(pathlib.Path(sys.argv[1])).close()"
        subprocess.run([sys.executable, "-c", code, path], check=True)
        assert path.with_name(path.name + "-wal").exists()


_CLOSED_UNDER_WORK = """
import pathlib, sys, threading, time
from moongate.core.errors import StoreError
from moongate.store.index import Index

for turn in range(20):
    index, begun, told = Index(pathlib.Path(sys.argv[1])), threading.Barrier(5), []

    def work():
        begun.wait()
        try:
            while True:
                index.prune_deliveries(time.time()) if turn % 2 else index.total_bytes()
        except StoreError as error:
            told.append(error.message)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(0.003 * (turn % 5))
    index.close()
    for thread in threads:
        thread.join()
    assert told == ["the index was closed"] * 4, told
"""


def test_closing_waits_for_threads_that_are_at_it(tmp_path: Path) -> None:
    """In a process of its own: SQLite crashes when a connection goes away under a statement."""
    path = tmp_path / "index.sqlite3"
    done = subprocess.run([sys.executable, "-c", _CLOSED_UNDER_WORK, path], check=False)
    assert done.returncode == 0


def test_damage_met_later_says_so_too(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite3"
    with Index(path) as index:
        for number in range(2000):
            index.put_ref(MODEL, Revision(f"r{number:04}"), FIRST, 1.0)
    page = 4096
    with path.open("r+b") as file:
        for position in range(page, path.stat().st_size, page):
            file.seek(position)
            file.write(os.urandom(page))
    with pytest.raises(StoreError, match="is damaged"), Index(path) as index:
        index.refs_of(MODEL)


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "index.sqlite3"
    with Index(path) as index:
        index.put_ref(MODEL, MAIN, FIRST, 1.0)
        assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open the index"):
        Index(tmp_path / "file" / "index.sqlite3")
    with pytest.raises(StoreError, match="cannot open the index"):
        Index(tmp_path)


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    with Index(tmp_path / "50% ä?#&" / "index.sqlite3") as index:
        assert index.was_created
        assert index.repos() == []


def test_reads_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite3"
    with Index(path) as index:
        index.put_ref(MODEL, MAIN, FIRST, 1.0)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM refs")
        row = index.get_ref(MODEL, MAIN)
        other.execute("ROLLBACK")
        other.close()
    assert row is not None


def test_threads_that_end_leave_no_connection_open(tmp_path: Path) -> None:
    def open_files() -> int:
        return sum(os.path.realpath(fd).startswith(str(tmp_path)) for fd in FDS.iterdir())

    with Index(tmp_path / "index.sqlite3") as index:
        index.repos()
        before = open_files()
        for _ in range(5):
            thread = threading.Thread(target=index.repos)
            thread.start()
            thread.join()
        assert open_files() == before
    assert open_files() == 0
