"""The index in PostgreSQL, for several replicas: psycopg 3, a pool, statements prepared by the server.

A connection that broke while idle (the server restarted) costs one retry, made here: of a single statement,
which may therefore happen twice and must not mind, or of a transaction that did not begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import create_engine
from sqlalchemy.dialects.postgresql import psycopg as sqlalchemy_psycopg
from sqlalchemy.pool import NullPool

from moongate.core.errors import StoreError, StoreFull
from moongate.store.index.database import Compiled, Database, Prepared, Row
from moongate.store.migrations.upgrade import is_current, upgrade

try:
    import psycopg
    from psycopg_pool import ConnectionPool, PoolTimeout
except ImportError as error:
    raise StoreError(
        "a PostgreSQL index needs the driver: install moongate with its extra, moongate[postgres]"
    ) from error

if TYPE_CHECKING:
    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
    Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]

_MAX_CONNECTIONS = 16
_WAIT_SECONDS = 10.0
_ROWS_TOGETHER = 1000
_BEGIN = Prepared(lambda: Compiled("BEGIN"))
_DURABLY = Prepared(lambda: Compiled("SET LOCAL synchronous_commit = on"))
_UPGRADE_LOCK = 0x6D6F6F6E67617465  # any number, as long as every replica takes the same


class PostgresDatabase(Database):
    """One database, reached by a libpq URL."""

    def __init__(self, url: str) -> None:
        """Connects and brings the tables up to date.

        Raises:
            StoreError: the server cannot be reached, or a newer program wrote the tables.
        """
        self.dialect = sqlalchemy_psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
        self._url = url
        with _explained():
            self.was_created = False if is_current(self._version()) else self._upgrade()
            self._pool: ConnectionPool[Connection] = ConnectionPool(
                url,
                min_size=1,
                max_size=_MAX_CONNECTIONS,
                timeout=_WAIT_SECONDS,
                kwargs={"autocommit": True},
                open=False,
                name="index",
            )
            self._pool.open(wait=True, timeout=_WAIT_SECONDS)

    def one(self, statement: Prepared, *args: object) -> Row | None:
        with self._ran(statement, args) as cursor:
            return cursor.fetchone()

    def all(self, statement: Prepared, *args: object) -> list[Row]:
        with self._ran(statement, args) as cursor:
            return cursor.fetchall()

    def run(self, statement: Prepared, *args: object) -> int:
        with self._ran(statement, args) as cursor:
            return cursor.rowcount

    @contextmanager
    def transaction(self) -> Iterator[_PostgresTransaction]:
        with self._ran(_BEGIN, ()) as cursor:
            connection = cursor.connection
            try:
                yield _PostgresTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                if not connection.closed:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def durable_transaction(self) -> Iterator[_PostgresTransaction]:
        with self.transaction() as transaction:
            transaction.run(_DURABLY)
            yield transaction

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _ran(self, statement: Prepared, args: Sequence[object]) -> Iterator[Cursor]:
        """The cursor of a statement that ran; a connection that was dead already is replaced once."""
        with _explained(), ExitStack() as held:
            connection = self._borrow(held)
            try:
                cursor = connection.execute(statement.sql, statement.bind(args))
            except psycopg.OperationalError:
                if not connection.closed:
                    raise
                held.close()
                self._pool.check()
                cursor = self._borrow(held).execute(statement.sql, statement.bind(args))
            yield cursor

    def _borrow(self, held: ExitStack) -> Connection:
        connection = self._pool.getconn()
        held.callback(self._pool.putconn, connection)
        return connection

    # -- opening ---------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        return psycopg.connect(self._url, autocommit=True, connect_timeout=int(_WAIT_SECONDS))

    def _version(self) -> str | None:
        with self._connect() as connection:
            try:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            except psycopg.errors.UndefinedTable:
                return None
        return None if row is None else str(row[0])

    def _upgrade(self) -> bool:
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(self._url), poolclass=NullPool
        )
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
            return upgrade(connection)


class _PostgresTransaction:
    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def one(self, statement: Prepared, *args: object) -> Row | None:
        return self._connection.execute(statement.sql, statement.bind(args)).fetchone()

    def run(self, statement: Prepared, *args: object) -> int:
        return self._connection.execute(statement.sql, statement.bind(args)).rowcount

    def run_many(self, statement: Prepared, rows: Iterable[Sequence[object]]) -> None:
        remaining = iter(rows)
        with self._connection.cursor() as cursor:
            while some := [statement.bind(row) for row in islice(remaining, _ROWS_TOGETHER)]:
                cursor.executemany(statement.sql, some)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StoreFull("the disk of the index's database is full") from error
    except PoolTimeout as error:
        raise StoreError(f"the index's database had no free connection: {error}") from error
    except psycopg.OperationalError as error:
        raise StoreError(f"the index's database cannot be used: {str(error).strip()}") from error
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise StoreError(f"the index cannot hold this value: {error}") from error
