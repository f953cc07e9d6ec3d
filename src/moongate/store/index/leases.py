"""Leases: who does something that only one process should do, and until when."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, or_, select

from moongate.store.index.database import Database, by
from moongate.store.schema import leases


class LeaseRows:
    """Named leases with an owner and an end."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        lease = database.insert(leases).values(
            name=bindparam("name_"), owner=bindparam("owner_"), expires_at=bindparam("until_")
        )
        self._try_lease = prepare(
            lease.on_conflict_do_update(
                index_elements=["name"],
                set_={"owner": lease.excluded.owner, "expires_at": lease.excluded.expires_at},
                where=or_(leases.c.owner == lease.excluded.owner, leases.c.expires_at <= bindparam("now_")),
            ),
            "name_",
            "owner_",
            "until_",
            "now_",
        )
        self._lease_owner = prepare(
            select(leases.c.owner).where(by(leases.c.name), leases.c.expires_at > bindparam("now_")),
            "name",
            "now_",
        )
        self._release = prepare(delete(leases).where(by(leases.c.name, leases.c.owner)))
        self._prune = prepare(delete(leases).where(leases.c.expires_at < bindparam("expired_before")))

    def try_lease(self, name: str, owner: str, seconds: float, now: float) -> bool:
        """Take or renew a lease; False while somebody else's has not run out."""
        return self._db.run(self._try_lease, name, owner, now + seconds, now) > 0

    def lease_owner(self, name: str, now: float) -> str | None:
        """Who has a lease that has not run out. A point read."""
        row = self._db.one(self._lease_owner, name, now)
        return None if row is None else str(row[0])

    def release_lease(self, name: str, owner: str) -> None:
        """Give it back early, if it is still this owner's."""
        self._db.run(self._release, name, owner)

    def prune_leases(self, expired_before: float) -> int:
        """Forget leases that ran out before; how many."""
        return self._db.run(self._prune, expired_before)
