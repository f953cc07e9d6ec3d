"""The index in one SQLite file: write-ahead log, one connection a thread, point reads inline.

Readers never wait for a writer. A writer waits for another one, in this process or elsewhere, up to
`_BUSY_SECONDS`; callers on an event loop therefore write from a thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from sqlalchemy import create_engine, event
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.pool import NullPool

from moongate.core.errors import StoreError, StoreFull
from moongate.store.index.database import Database, Prepared, Row
from moongate.store.migrations.upgrade import is_current, upgrade

_BUSY_SECONDS = 10.0
_OPENING_SECONDS = 60.0
_CACHED_STATEMENTS = 512
_CACHE_KIB = 8192


class SqliteDatabase(Database):
    """One file. Threads that end close their connections; `close` closes all."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made when absent, and brings its tables up to date.

        Raises:
            StoreError: it cannot be opened, is damaged, or was written by a newer program.
        """
        self.dialect = pysqlite.dialect(paramstyle="qmark")
        self.path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: dict[sqlite3.Connection, Lock] = {}
        self._closed = False
        with self._explained():
            self._make_file()
            self._wait_for_wal()
            self.was_created = False if is_current(self._version()) else self._upgrade()

    def one(self, statement: Prepared, *args: object) -> Row | None:
        try:
            with self._held() as connection:
                return cast("Row | None", connection.execute(statement.sql, statement.bind(args)).fetchone())
        except sqlite3.DatabaseError as error:
            raise self._explain(error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise StoreError(f"the index cannot hold this value: {error}") from error

    def all(self, statement: Prepared, *args: object) -> list[Row]:
        with self._explained(), self._held() as connection:
            return connection.execute(statement.sql, statement.bind(args)).fetchall()

    def run(self, statement: Prepared, *args: object) -> int:
        with self._explained(), self._held() as connection:
            return connection.execute(statement.sql, statement.bind(args)).rowcount

    @contextmanager
    def transaction(self) -> Iterator[_SqliteTransaction]:
        with self._explained(), self._held() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def durable_transaction(self) -> Iterator[_SqliteTransaction]:
        with self._explained(), self._held() as connection:
            connection.execute("PRAGMA synchronous = FULL")
            try:
                with self.transaction() as transaction:
                    yield transaction
            finally:
                connection.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connections, self._open = self._open, {}
        for connection, lock in connections.items():
            # SQLite crashes when a connection is closed that another thread is using.
            if lock.acquire(timeout=_BUSY_SECONDS):
                connection.close()
                lock.release()

    # -- connections -----------------------------------------------------------------------------------------

    def _held(self) -> _Held:
        """This thread's connection; it stays open while the block is in."""
        try:
            return cast("_Held", self._local.held)
        except AttributeError:
            held = self._local.held = _Held(self, *self._connect())
            return held

    def _connect(self) -> tuple[sqlite3.Connection, Lock]:
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        with self._lock:
            if self._closed:
                connection.close()
                raise StoreError("the index was closed")
            lock = self._open[connection] = threading.RLock()
        return connection, lock

    def forget(self, connection: sqlite3.Connection) -> None:
        """Close the connection of a thread that ended."""
        with self._lock:
            self._open.pop(connection, None)
        connection.close()

    # -- opening ---------------------------------------------------------------------------------------------

    def _make_file(self) -> None:
        """An empty file that only its owner reads: it will hold names and hashes of tokens.

        One that is there is left alone: to close it would end the locks that SQLite has on it in this
        process, and another one could take away the write-ahead log under a connection that is still open.
        """
        try:
            if self.path.is_file():
                return
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreError(f"cannot open the index {self.path}: {error.strerror}") from error

    def _wait_for_wal(self) -> None:
        """Switch to the write-ahead log; the busy timeout does not cover that, should two start at once."""
        deadline = time.monotonic() + _OPENING_SECONDS
        while True:
            try:
                self._held().connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _version(self) -> str | None:
        try:
            row = self._held().connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        return None if row is None else str(row[0])

    def _upgrade(self) -> bool:
        engine = create_engine("sqlite://", creator=self._migrating_connection, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def _begin(connection: object) -> None:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")  # type: ignore[attr-defined]

        with engine.begin() as connection:
            return upgrade(connection)

    def _migrating_connection(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path, timeout=_OPENING_SECONDS, isolation_level=None, check_same_thread=False
        )

    # -- errors ----------------------------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._explain(error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise StoreError(f"the index cannot hold this value: {error}") from error

    def _explain(self, error: sqlite3.DatabaseError) -> Exception:
        """What happened, in words that help; a mistake of ours stays what it is."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreError(
                f"the index {self.path} is damaged ({error}). No file of the store is lost: move it (and "
                f"{self.path.name}-wal, {self.path.name}-shm) away or put a backup in its place, and start "
                "again; sealed files are registered anew, tokens and pins must be made again"
            )
        if code == sqlite3.SQLITE_FULL:
            return StoreFull(f"the disk of the index {self.path} is full")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(f"the index {self.path} was busy for {_BUSY_SECONDS:.0f} seconds")
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            return StoreError(f"the index {self.path} cannot be used: {error}")
        if isinstance(error, sqlite3.ProgrammingError) and self._closed:
            return StoreError("the index was closed")
        return error


class _Held:
    """A thread's connection; goes when the thread does. Nobody closes it while its block is in."""

    __slots__ = ("_database", "_lock", "connection")

    def __init__(self, database: SqliteDatabase, connection: sqlite3.Connection, lock: Lock) -> None:
        self._database = database
        self._lock = lock
        self.connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        return self.connection

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __del__(self) -> None:
        self._database.forget(self.connection)


class Lock(Protocol):
    """A lock that its holder may take again; `threading.RLock` names none."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...


class _SqliteTransaction:
    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, statement: Prepared, *args: object) -> Row | None:
        return cast("Row | None", self._connection.execute(statement.sql, statement.bind(args)).fetchone())

    def run(self, statement: Prepared, *args: object) -> int:
        return self._connection.execute(statement.sql, statement.bind(args)).rowcount

    def run_many(self, statement: Prepared, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(statement.sql, (statement.bind(row) for row in rows))


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
