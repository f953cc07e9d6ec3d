"""Waivers, and the number by which every process sees that there are others now."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select, update

from moongate.core.approvals import Waiver
from moongate.store.index.database import Database, Prepared, Row, by
from moongate.store.schema import serials, waivers

_MOST = 10_000
_NAME = "waivers"


class WaiverRows:
    """Dated exceptions; a revoked or expired one stays."""

    def __init__(self, database: Database) -> None:
        prepare, table = database.prepare, waivers
        self._db = database
        self._put_waiver = database.upsert(table)
        self._waiver_by_id = prepare(select(table).where(by(table.c.waiver_id)))
        self._waivers_now = prepare(
            select(table)
            .where(table.c.revoked_at.is_(None), table.c.expires_at > bindparam("now_"))
            .order_by(table.c.expires_at.desc())
            .limit(_MOST)
        )
        self._waivers_all = prepare(select(table).order_by(table.c.created_at.desc()).limit(_MOST))
        self._revoke_waiver = prepare(
            update(table)
            .values(revoked_at=bindparam("now_"), revoked_by=bindparam("who_"))
            .where(table.c.waiver_id == bindparam("id_"), table.c.revoked_at.is_(None)),
            "now_",
            "who_",
            "id_",
        )
        self._waiver_serial = prepare(select(serials.c.number).where(by(serials.c.name)))
        self._raise_waivers = raise_serial(database)

    def waiver_serial(self) -> int:
        """Changes with every waiver that is made or revoked. A point read."""
        row = self._db.one(self._waiver_serial, _NAME)
        return 0 if row is None else int(row[0])

    def put_waiver(self, waiver: Waiver) -> None:
        """Keep a new waiver; it holds in every process when this returns."""
        with self._db.transaction() as transaction:
            transaction.run(self._put_waiver, *waiver_values(waiver))
            transaction.run(self._raise_waivers, _NAME, 1)

    def get_waiver(self, waiver_id: str) -> Waiver | None:
        """One waiver, whether it still holds or not. A point read."""
        row = self._db.one(self._waiver_by_id, waiver_id)
        return None if row is None else _waiver_of(row)

    def waivers(self, now: float | None = None) -> list[Waiver]:
        """Those that hold at `now`, the longest first; without it all, the newest first."""
        rows = self._db.all(self._waivers_all) if now is None else self._db.all(self._waivers_now, now)
        return [_waiver_of(row) for row in rows]

    def revoke_waiver(self, waiver_id: str, who: str, now: float) -> bool:
        """Take a waiver back; whether it was not revoked before."""
        with self._db.transaction() as transaction:
            revoked = transaction.run(self._revoke_waiver, now, who, waiver_id) > 0
            transaction.run(self._raise_waivers, _NAME, 1)
        return revoked


def raise_serial(database: Database) -> Prepared:
    """What raises the number by which others see that something changed; it takes a name and 1."""
    insert = database.insert(serials).values(name=bindparam("name_"), number=bindparam("first_"))
    raised = {"number": serials.c.number + 1}
    return database.prepare(
        insert.on_conflict_do_update(index_elements=["name"], set_=raised), "name_", "first_"
    )


def waiver_values(waiver: Waiver) -> tuple[Any, ...]:
    """A waiver as its table's columns."""
    return (
        waiver.id,
        waiver.scope,
        waiver.subject,
        waiver.lifts,
        waiver.expires_at,
        waiver.created_at,
        waiver.created_by,
        waiver.comment,
        waiver.repo,
        waiver.commit_hash,
        waiver.path,
        waiver.digest,
        waiver.finding,
        waiver.action,
        json.dumps(waiver.rules),
        waiver.request_id,
        waiver.revoked_at,
        waiver.revoked_by,
    )


def _waiver_of(row: Row) -> Waiver:
    waiver = Waiver(*row[:14])
    return replace(
        waiver,
        rules=tuple(json.loads(row[14])),
        request_id=row[15],
        revoked_at=row[16],
        revoked_by=row[17],
    )
