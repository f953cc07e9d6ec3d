"""Statements, compiled once, and what runs them.

A statement is written with SQLAlchemy Core, turned into text for one dialect when the index opens, and from
then on handed to the driver as it is: a point read costs what the driver costs. Arguments are positional.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

from sqlalchemy import Column, ColumnElement, Dialect, Table, and_, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

Row: TypeAlias = tuple[Any, ...]  # what a driver returns; its reader knows the columns
Upsert: TypeAlias = sqlite.Insert | postgresql.Insert


class Compiled(NamedTuple):
    """A statement as the driver wants it. `arrange` puts arguments in its order; None: they are already."""

    sql: str
    arrange: Callable[[Sequence[object]], Sequence[object]] | None = None


class Prepared:
    """A statement that is compiled when it is first run.

    There are hundreds, of which a process runs some; compiling them all would make every start longer.
    """

    __slots__ = ("_compile", "arrange", "sql")
    sql: str
    arrange: Callable[[Sequence[object]], Sequence[object]] | None

    def __init__(self, compiling: Callable[[], Compiled]) -> None:
        self._compile = compiling

    def __getattr__(self, name: str) -> object:
        """What is not there yet. Threads that ask at the same time find the same."""
        if name not in ("sql", "arrange"):
            raise AttributeError(name)
        self.sql, self.arrange = self._compile()
        return getattr(self, name)

    def bind(self, args: Sequence[object]) -> Sequence[object]:
        return args if self.arrange is None else self.arrange(args)


class Transaction(Protocol):
    """Statements that happen together or not at all."""

    def one(self, statement: Prepared, *args: object) -> Row | None:
        """The first row; None when there is none."""

    def run(self, statement: Prepared, *args: object) -> int:
        """Rows touched."""

    def run_many(self, statement: Prepared, rows: Iterable[Sequence[object]]) -> None:
        """Run it once for each row of arguments."""


class Database(ABC):
    """One index's driver. Every method may be called from any thread, and blocks.

    All of them raise `StoreError` (or `StoreFull`) when the database cannot do its part.
    """

    dialect: Dialect
    was_created: bool
    """Whether opening it made the tables."""

    @abstractmethod
    def one(self, statement: Prepared, *args: object) -> Row | None:
        """The first row; None when there is none."""

    @abstractmethod
    def all(self, statement: Prepared, *args: object) -> list[Row]:
        """Every row; callers keep that bounded."""

    @abstractmethod
    def run(self, statement: Prepared, *args: object) -> int:
        """Run one statement for good; rows touched."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Run several, for good when the block ends; an exception leaves nothing behind. Never nested."""

    @abstractmethod
    def durable_transaction(self) -> AbstractContextManager[Transaction]:
        """As `transaction`; what it did outlives a power cut, too, from the moment the block has ended."""

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection. May be called twice."""

    def prepare(self, statement: ClauseElement, *names: str) -> Prepared:
        """A statement whose open parameters will come in the order of `names`.

        Without names, in the order in which they first appear in the statement's text.
        """
        return Prepared(lambda: self._compiled(statement, names))

    def _compiled(self, statement: ClauseElement, names: tuple[str, ...]) -> Compiled:
        compiled = cast(SQLCompiler, statement.compile(dialect=self.dialect))
        order = list(compiled.positiontup or ())
        is_open = {name: compiled.binds[name].required for name in order}
        names = names or tuple(name for name in dict.fromkeys(order) if is_open[name])
        if set(names) != {name for name in order if is_open[name]}:
            raise AssertionError(f"the parameters are {order}, not {names}, in {compiled}")
        if tuple(order) == names:
            return Compiled(str(compiled))
        constants = compiled.params
        slots = [(names.index(name) if is_open[name] else -1, constants[name]) for name in order]

        def arrange(args: Sequence[object]) -> Sequence[object]:
            return [constant if place < 0 else args[place] for place, constant in slots]

        return Compiled(str(compiled), arrange)

    def upsert(self, table: Table) -> Prepared:
        """Insert a row, or replace what the row of its primary key holds; takes every column, in order."""
        insert = self.insert(table).values({column: bindparam(f"{column.name}_") for column in table.c})
        keys = [column.name for column in table.primary_key]
        others = {name: column for name, column in insert.excluded.items() if name not in keys}
        if not others:
            return self.prepare(insert.on_conflict_do_nothing())
        return self.prepare(insert.on_conflict_do_update(index_elements=keys, set_=others))

    def insert(self, table: Table) -> Upsert:
        """An insert that can say `on_conflict_…`, and that asks for no generated key back."""
        if self.dialect.name == "sqlite":
            return sqlite.insert(table).inline()
        return postgresql.insert(table).inline()


def by(*columns: Column[Any]) -> ColumnElement[bool]:
    """Each column equal to an open parameter of its name."""
    return and_(*(column == bindparam(column.name) for column in columns))
