"""What was asked of the policy, day by day: each question once, with how often it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select

from moongate.core.asked import AskedRow
from moongate.store.index.database import Database
from moongate.store.schema import decided_requests

_MOST = 200_000


class DecidedRows:
    """Questions that were decided."""

    def __init__(self, database: Database) -> None:
        table = decided_requests
        self._db = database
        insert = database.insert(table).values({column: bindparam(f"{column.name}_") for column in table.c})
        self._put_asked = database.prepare(
            insert.on_conflict_do_update(
                index_elements=["day", "facts_digest"],
                set_={
                    "effect": insert.excluded.effect,
                    "asked_count": table.c.asked_count + insert.excluded.asked_count,
                    "asked_at": insert.excluded.asked_at,
                },
            )
        )
        self._asked_since = database.prepare(
            select(table)
            .where(table.c.day >= bindparam("day_"))
            .order_by(table.c.asked_at.desc())
            .limit(_MOST)
        )
        self._prune_asked = database.prepare(delete(table).where(table.c.day < bindparam("day_")))

    def put_asked(self, rows: Sequence[AskedRow]) -> None:
        """Count questions; what was asked that day before is added to."""
        with self._db.transaction() as transaction:
            transaction.run_many(
                self._put_asked,
                (
                    (row.day, row.facts_digest, row.facts, row.effect, row.asked_count, row.asked_at)
                    for row in rows
                ),
            )

    def asked_since(self, day: int) -> list[AskedRow]:
        """The questions of that day and later, the newest first; at most 200,000."""
        return [AskedRow(*row) for row in self._db.all(self._asked_since, day)]

    def prune_asked(self, before_day: int) -> int:
        """Forget what was asked before that day; how many questions."""
        return self._db.run(self._prune_asked, before_day)
