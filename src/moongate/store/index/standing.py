"""Roles in the gateway as a whole, and approvers of namespaces."""

from __future__ import annotations

from sqlalchemy import delete, select

from moongate.core.accounts import StandingRow
from moongate.store.index.database import Database, by
from moongate.store.schema import standing_roles


class StandingRows:
    """Roles of the gateway."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._add_standing = database.upsert(standing_roles)
        self._drop_standing = prepare(
            delete(standing_roles).where(
                by(standing_roles.c.place, standing_roles.c.subject, standing_roles.c.role)
            )
        )
        self._standing_rows = prepare(select(standing_roles))

    def add_standing(self, row: StandingRow) -> None:
        """Let a subject have a role, beside others. Again is free."""
        self._db.run(self._add_standing, row.place, row.subject, row.role)

    def drop_standing(self, row: StandingRow) -> bool:
        """Take a role back; whether they had it."""
        return self._db.run(self._drop_standing, row.place, row.subject, row.role) > 0

    def standing(self) -> list[StandingRow]:
        """Every role, by place and subject. There are few."""
        rows = sorted(self._db.all(self._standing_rows))
        return [StandingRow(*row) for row in rows]
