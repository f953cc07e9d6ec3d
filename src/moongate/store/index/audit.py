"""The audit log's lines: added in batches, chained, never changed; searched; archived from the front.

Whoever adds holds the row of the head, so one chain runs through the lines of all processes and replicas.
What is added is durable when the call returns, power cuts included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from sqlalchemy import ColumnElement, bindparam, delete, func, select, update

from moongate.store.index.database import Database, Prepared, Row
from moongate.store.schema import audit_checkpoints, audit_head, audit_lines


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line, and the copies of what it says that it is found by. `repo` is a `repo_key`."""

    seq: int
    at: float
    kind: str
    actor: str
    repo: str | None
    digest: str | None
    line: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The last line, and the last checkpoint. `seq` 0: there is no line yet."""

    seq: int
    hash: bytes
    checkpoint_seq: int
    checkpoint_at: float


@dataclass(frozen=True, slots=True)
class Added:
    """What is added at once: lines that follow the head, and perhaps a checkpoint (its seq, its note)."""

    rows: Sequence[AuditRow]
    checkpoint: tuple[int, str, float] | None = None


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """Which lines are looked for; what is None does not matter. `repo` is a `repo_key`; times in seconds."""

    kind: str | None = None
    actor: str | None = None
    repo: str | None = None
    digest: str | None = None
    since: float | None = None
    until: float | None = None

    def finds(self, row: AuditRow) -> bool:
        """Whether a line is looked for."""
        same = all(
            wanted in (None, getattr(row, name))
            for name, wanted in (
                ("kind", self.kind),
                ("actor", self.actor),
                ("repo", self.repo),
                ("digest", self.digest),
            )
        )
        since, until = self.since or 0.0, float("inf") if self.until is None else self.until
        return same and since <= row.at < until


class AuditRows:
    """The log's rows."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._head = prepare(select(*_HEAD).where(audit_head.c.only == 1))
        self._lock_head = prepare(select(*_HEAD).where(audit_head.c.only == 1).with_for_update())
        self._put_head = prepare(
            update(audit_head)
            .where(audit_head.c.only == 1)
            .values({column: bindparam(f"{column.name}_") for column in _HEAD}),
            *(f"{column.name}_" for column in _HEAD),
        )
        self._add_line = prepare(
            database.insert(audit_lines).values(
                {column: bindparam(f"{column.name}_") for column in audit_lines.c}
            ),
            *(f"{column.name}_" for column in audit_lines.c),
        )
        self._put_checkpoint = database.upsert(audit_checkpoints)
        self._checkpoints = prepare(select(audit_checkpoints).order_by(audit_checkpoints.c.seq))
        self._drop_lines = prepare(delete(audit_lines).where(audit_lines.c.seq <= bindparam("until_")))
        self._bounds = prepare(select(func.min(audit_lines.c.seq), func.max(audit_lines.c.seq)))
        self._after = prepare(
            select(audit_lines)
            .where(audit_lines.c.seq > bindparam("seq_"))
            .order_by(audit_lines.c.seq)
            .limit(bindparam("count_")),
            "seq_",
            "count_",
        )
        self._searches: dict[tuple[bool, ...], Prepared] = {}

    def audit_head(self) -> AuditHead:
        """The last line and checkpoint. A point read."""
        return AuditHead(*(self._db.one(self._head) or _NO_HEAD))

    def add_audit(self, make: Callable[[AuditHead], Added]) -> AuditHead:
        """Add what `make` makes of the present head; the head after that. Durable when it returns.

        Nobody else adds meanwhile. An exception of `make` adds nothing.
        """
        with self._db.durable_transaction() as transaction:
            head = AuditHead(*(transaction.one(self._lock_head) or _NO_HEAD))
            added = make(head)
            if not added.rows and added.checkpoint is None:
                return head
            transaction.run_many(self._add_line, map(_values_of, added.rows))
            last = added.rows[-1] if added.rows else None
            seq, digest = (last.seq, last.hash) if last is not None else (head.seq, head.hash)
            checkpoint_seq, checkpoint_at = head.checkpoint_seq, head.checkpoint_at
            if added.checkpoint is not None:
                checkpoint_seq, note, checkpoint_at = added.checkpoint
                transaction.run(self._put_checkpoint, checkpoint_seq, note)
            transaction.run(self._put_head, seq, digest, checkpoint_seq, checkpoint_at)
            return AuditHead(seq, digest, checkpoint_seq, checkpoint_at)

    def audit_bounds(self) -> tuple[int, int]:
        """The first and the last line that are here; zeros when there are none."""
        first, last = self._db.one(self._bounds) or (None, None)
        return int(first or 0), int(last or 0)

    def audit_after(self, seq: int, count: int) -> list[AuditRow]:
        """So many lines after one, in order."""
        return [_row(row) for row in self._db.all(self._after, seq, count)]

    def search_audit(self, wanted: AuditSearch, before: int, count: int) -> list[AuditRow]:
        """The newest lines before a seq that are looked for, the newest first."""
        asked = [getattr(wanted, name) for name in _SEARCHED]
        present = tuple(value is not None for value in asked)
        statement = self._searches.get(present)
        if statement is None:
            statement = self._searches[present] = self._prepare_search(present)
        values = [value for value in asked if value is not None]
        return [_row(row) for row in self._db.all(statement, *values, before, count)]

    def audit_checkpoints(self) -> list[tuple[int, str]]:
        """Every checkpoint: the line it is of, its note."""
        return [(row[0], row[1]) for row in self._db.all(self._checkpoints)]

    def drop_audit(self, until: int) -> int:
        """Remove the lines up to one that stand in an archive, checked; how many."""
        return self._db.run(self._drop_lines, until)

    def _prepare_search(self, present: tuple[bool, ...]) -> Prepared:
        conditions: list[ColumnElement[bool]] = []
        names: list[str] = []
        for name, is_asked in zip(_SEARCHED, present, strict=True):
            if is_asked:
                conditions.append(_SEARCHED[name](bindparam(f"{name}_")))
                names.append(f"{name}_")
        statement = (
            select(audit_lines)
            .where(*conditions, audit_lines.c.seq < bindparam("before_"))
            .order_by(audit_lines.c.seq.desc())
            .limit(bindparam("count_"))
        )
        return self._db.prepare(statement, *names, "before_", "count_")


_HEAD = (audit_head.c.seq, audit_head.c.hash, audit_head.c.checkpoint_seq, audit_head.c.checkpoint_at)
_NO_HEAD = (0, bytes(32), 0, 0.0)
_LINE = tuple(column.name for column in audit_lines.c)
_values_of: Callable[[AuditRow], tuple[object, ...]] = attrgetter(*_LINE)
_SEARCHED: dict[str, Callable[[ColumnElement[object]], ColumnElement[bool]]] = {
    "kind": lambda value: audit_lines.c.kind == value,
    "actor": lambda value: audit_lines.c.actor == value,
    "repo": lambda value: audit_lines.c.repo == value,
    "digest": lambda value: audit_lines.c.digest == value,
    "since": lambda value: audit_lines.c.at >= value,
    "until": lambda value: audit_lines.c.at < value,
}


def _row(row: Row) -> AuditRow:
    seq, at, kind, actor, repo, digest, line, digest_of_line = row
    return AuditRow(seq, at, kind, actor, repo, digest, bytes(line), bytes(digest_of_line))
