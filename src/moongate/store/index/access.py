"""Who may: what upstream confirmed for a caller, what was granted here, and this gateway's own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import bindparam, delete, func, or_, select, update

from moongate.core.callers import TokenRow
from moongate.core.names import RepoId
from moongate.store.index.database import Database, by
from moongate.store.schema import access, grants, repo_key, tokens

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


class TokenRows:
    """This gateway's own tokens."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_token = database.upsert(tokens)
        self._token = prepare(select(tokens).where(by(tokens.c.sha256)))
        self._tokens = prepare(select(tokens))
        self._revoke = prepare(
            update(tokens)
            .values(revoked_at=bindparam("now_"))
            .where(tokens.c.token_id == bindparam("id_"), tokens.c.revoked_at.is_(None)),
            "id_",
            "now_",
        )
        self._valid = prepare(
            select(func.count())
            .select_from(tokens)
            .where(
                tokens.c.revoked_at.is_(None),
                or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > bindparam("now_")),
            )
        )

    def put_token(self, token: TokenRow) -> None:
        """Keep a new token's row."""
        self._db.run(
            self._put_token,
            token.id,
            token.sha256,
            token.user,
            token.scope,
            token.created_at,
            token.expires_at,
            token.revoked_at,
            token.note,
        )

    def token_by_sha256(self, sha256: str) -> TokenRow | None:
        """The token with this hash, revoked and expired ones too. A point read: fit for an event loop."""
        row = self._db.one(self._token, sha256)
        return None if row is None else TokenRow(*row)

    def tokens(self) -> list[TokenRow]:
        """Every token that was ever made, the oldest first."""
        rows = [TokenRow(*row) for row in self._db.all(self._tokens)]
        return sorted(rows, key=lambda token: (token.created_at, token.id))

    def revoke_token(self, token_id: str, now: float) -> bool:
        """Make a token worthless from now on; whether it was worth something."""
        return self._db.run(self._revoke, token_id, now) > 0

    def any_token(self, now: float = 0.0) -> bool:
        """Whether somebody could log in: a token that is not revoked and, at `now`, not expired."""
        row = self._db.one(self._valid, now)
        return row is not None and row[0] > 0
