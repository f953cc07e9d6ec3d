"""Who may: what upstream confirmed for a caller, and what was granted here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import bindparam, delete, select

from moongate.core.names import RepoId
from moongate.store.index.database import Database, by
from moongate.store.schema import access, grants, repo_key

Allowed = Literal["files", "metadata", "none"]


@dataclass(frozen=True, slots=True)
class AccessRow:
    """What upstream lets a caller have of a repository, as last confirmed."""

    allowed: Allowed
    checked_at: float


@dataclass(frozen=True, slots=True)
class Grant:
    """A user whom this gateway serves, with its own upstream token, what matches the pattern."""

    user: str
    repo_pattern: str


class AccessRows:
    """Confirmed access, and grants."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._get_access = prepare(
            select(access.c.allowed, access.c.checked_at).where(by(access.c.caller_key, access.c.repo))
        )
        self._put_access = database.upsert(access)
        self._drop_access = prepare(delete(access).where(by(access.c.caller_key)))
        self._prune_access = prepare(delete(access).where(access.c.checked_at < bindparam("older_than")))
        self._grant = database.upsert(grants)
        self._revoke_grant = prepare(delete(grants).where(by(grants.c.user_name, grants.c.repo_pattern)))
        self._grants = prepare(select(grants))

    def get_access(self, caller_key: str, repo: RepoId) -> AccessRow | None:
        """What was last confirmed for this caller. A point read: fit for an event loop."""
        row = self._db.one(self._get_access, caller_key, repo_key(repo))
        return None if row is None else AccessRow(row[0], row[1])

    def put_access(self, caller_key: str, repo: RepoId, allowed: Allowed, now: float) -> None:
        """Remember what upstream said of this caller and repository."""
        self._db.run(self._put_access, caller_key, repo_key(repo), allowed, now)

    def drop_access(self, caller_key: str) -> None:
        """Forget what was confirmed for a caller: its token was refused, for example."""
        self._db.run(self._drop_access, caller_key)

    def prune_access(self, older_than: float) -> int:
        """Forget confirmations that nobody renewed since; how many."""
        return self._db.run(self._prune_access, older_than)

    def grant(self, user: str, repo_pattern: str) -> None:
        """Let a user have what matches, such as `meta-llama/*`. Again is free."""
        self._db.run(self._grant, user, repo_pattern)

    def revoke_grant(self, user: str, repo_pattern: str) -> bool:
        """Take back exactly that grant; whether there was one."""
        return self._db.run(self._revoke_grant, user, repo_pattern) > 0

    def grants(self) -> list[Grant]:
        """Every grant, by user."""
        return [Grant(*row) for row in sorted(self._db.all(self._grants))]
