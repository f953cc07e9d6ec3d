"""This gateway's own tokens. Only their hashes are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import bindparam, delete, func, or_, select, update

from moongate.core.callers import TokenRow
from moongate.store.index.database import Database, Row, by
from moongate.store.schema import accounts, tokens


class TokenRows:
    """Tokens, and what is known of whom they are of."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        known = select(tokens, accounts.c.kind, accounts.c.disabled_at).select_from(
            tokens.outerjoin(accounts, accounts.c.account == func.lower(tokens.c.user_name))
        )
        self._put_token = database.upsert(tokens)
        self._token = prepare(known.where(by(tokens.c.sha256)))
        self._tokens = prepare(known)
        self._revoke = prepare(
            update(tokens)
            .values(revoked_at=bindparam("now_"))
            .where(tokens.c.token_id == bindparam("id_"), tokens.c.revoked_at.is_(None)),
            "id_",
            "now_",
        )
        self._use = prepare(
            update(tokens).values(last_used_at=bindparam("at_")).where(tokens.c.token_id == bindparam("id_")),
            "id_",
            "at_",
        )
        self._prune_exchanged = prepare(
            delete(tokens).where(tokens.c.origin == "exchange", tokens.c.expires_at < bindparam("before"))
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
            token.origin,
            " ".join(token.places),
            token.last_used_at,
        )

    def token_by_sha256(self, sha256: str) -> TokenRow | None:
        """The token with this hash, revoked and expired ones too. A point read: fit for an event loop."""
        row = self._db.one(self._token, sha256)
        return None if row is None else _token_row(row)

    def tokens(self) -> list[TokenRow]:
        """Every token that was ever made, the oldest first; exchanged ones are forgotten in time."""
        rows = [_token_row(row) for row in self._db.all(self._tokens)]
        return sorted(rows, key=lambda token: (token.created_at, token.id))

    def revoke_token(self, token_id: str, now: float) -> bool:
        """Make a token worthless from now on; whether it was worth something."""
        return self._db.run(self._revoke, token_id, now) > 0

    def tokens_used(self, uses: Iterable[tuple[str, float]]) -> None:
        """Note when tokens were last used, by id."""
        with self._db.transaction() as transaction:
            transaction.run_many(self._use, uses)

    def prune_exchanged(self, before: float) -> int:
        """Forget exchanged tokens that ended before then; how many."""
        return self._db.run(self._prune_exchanged, before)

    def any_token(self, now: float = 0.0) -> bool:
        """Whether somebody could log in: a token that is not revoked and, at `now`, not expired."""
        row = self._db.one(self._valid, now)
        return row is not None and row[0] > 0


def _token_row(row: Row) -> TokenRow:
    *first, origin, places, last_used_at, kind, disabled_at = row
    token = TokenRow(*first)
    return replace(
        token,
        origin=origin,
        places=tuple(places.split()),
        last_used_at=last_used_at,
        service=kind == "service",
        disabled=disabled_at is not None,
    )
