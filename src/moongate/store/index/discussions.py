"""Discussions and pull requests of hosted repositories."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import bindparam, func, select

from moongate.store.index.database import Database, Row, Upsert, by
from moongate.store.schema import discussions


@dataclass(frozen=True, slots=True)
class DiscussionRow:
    """A discussion; a pull request's commits stand at `refs/pr/{number}`.

    `status` is draft, open, closed or merged; `events` are as the API shows them.
    """

    number: int
    title: str
    status: str
    is_pull_request: bool
    author: str
    created_at: float
    events: Sequence[Mapping[str, object]] = field(default=())


class DiscussionRows:
    """Discussions."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_discussion = database.upsert(discussions)
        self._add_discussion = prepare(new_discussion(database))
        number = by(discussions.c.repo_number)
        self._discussion = prepare(select(discussions).where(number, by(discussions.c.discussion_number)))
        self._discussions = prepare(
            select(discussions).where(number).order_by(discussions.c.discussion_number.desc())
        )
        self._last_number = prepare(select(func.max(discussions.c.discussion_number)).where(number))

    def add_discussion(self, repo_number: int, row: DiscussionRow) -> bool:
        """Begin a discussion under its number; False when that is taken."""
        return self._db.run(self._add_discussion, *discussion_values(repo_number, row)) > 0

    def put_discussion(self, repo_number: int, row: DiscussionRow) -> None:
        """Keep a discussion as it is now."""
        self._db.run(self._put_discussion, *discussion_values(repo_number, row))

    def discussion(self, repo_number: int, number: int) -> DiscussionRow | None:
        """One discussion."""
        row = self._db.one(self._discussion, repo_number, number)
        return None if row is None else _row(row)

    def discussions(self, repo_number: int) -> list[DiscussionRow]:
        """All of a repository's, the newest first."""
        return [_row(row) for row in self._db.all(self._discussions, repo_number)]

    def last_discussion(self, repo_number: int) -> int:
        """The highest number that is taken; 0 when none is."""
        row = self._db.one(self._last_number, repo_number)
        return int(row[0]) if row is not None and row[0] is not None else 0


def new_discussion(database: Database) -> Upsert:
    """Insert a discussion unless its number is taken; takes `discussion_values`."""
    insert = database.insert(discussions)
    values = insert.values({column: bindparam(f"{column.name}_") for column in discussions.c})
    return values.on_conflict_do_nothing()


def discussion_values(repo_number: int, row: DiscussionRow) -> tuple[object, ...]:
    return (
        repo_number,
        row.number,
        row.title,
        row.status,
        int(row.is_pull_request),
        row.author,
        row.created_at,
        json.dumps([dict(event) for event in row.events]),
    )


def _row(row: Row) -> DiscussionRow:
    _, number, title, status, pull_request, author, created_at, events = row
    return DiscussionRow(number, title, status, bool(pull_request), author, created_at, json.loads(events))
