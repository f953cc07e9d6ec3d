"""The admin API's operations on the gateway's tokens, and on who may use its own Hub token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from moongate.app.admin import models
from moongate.app.admin.models import Gone, Model
from moongate.app.admin.operations import Asked, Operation, fields, needing, required
from moongate.app.tokens import Bounds, TokenShelf, mint
from moongate.core.callers import TokenRow
from moongate.hub.trusts import check_place


class Grant(Protocol):
    """A user whom the gateway serves with its own Hub token, and the repositories for which it does."""

    @property
    def user(self) -> str: ...
    @property
    def repo_pattern(self) -> str: ...


class TokenKeeper(TokenShelf, Protocol):
    """What these operations need of the index."""

    def tokens(self) -> list[TokenRow]: ...
    def revoke_token(self, token_id: str, now: float, /) -> bool: ...
    def grants(self) -> Sequence[Grant]: ...
    def grant(self, user: str, repo_pattern: str, /) -> None: ...
    def revoke_grant(self, user: str, repo_pattern: str, /) -> bool: ...


def token_operations(index: TokenKeeper, max_seconds: float) -> tuple[Operation, ...]:
    """The operations. max_seconds: the longest life of a token; 0: any."""
    admin, grant, new = _AdminTokens(index, max_seconds), models.Grant, models.NewToken
    return needing(
        "admin",
        Operation("GET", "/tokens", "The gateway's tokens", admin.tokens, models.Tokens),
        Operation("POST", "/tokens", "Make a token", admin.mint, models.Minted, new,
                  status=201, audited="token.create"),
        Operation("DELETE", "/tokens/{id}", "Revoke a token", admin.revoke, models.Revoked,
                  audited="token.revoke"),
        Operation("GET", "/grants", "Who may use the gateway's Hub token", admin.grants, models.Grants),
        Operation("POST", "/grants", "Grant", admin.grant, grant, grant,
                  status=201, audited="access.grant"),
        Operation("DELETE", "/grants", "Take back a grant", admin.ungrant, Gone, query=("user", "pattern"),
                  audited="access.revoke"),
    )  # fmt: skip


class _AdminTokens:
    def __init__(self, index: TokenKeeper, max_seconds: float) -> None:
        self._index = index
        self._max_seconds = max_seconds

    async def tokens(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._index.tokens)
        return models.Tokens(
            tokens=[
                models.Token.model_validate({**fields(row, models.Token), "places": list(row.places)})
                for row in rows
            ]
        )

    async def mint(self, asked: Asked) -> Model:
        wanted: models.NewToken = asked.body
        secret, row = await asyncio.to_thread(
            mint,
            self._index,
            wanted.user,
            wanted.scope,
            wanted.expires_seconds,
            wanted.note,
            time.time(),
            Bounds(
                tuple(check_place(place) for place in wanted.places),
                max_seconds=self._max_seconds,
            ),
        )
        return models.Minted(
            token=secret.reveal(),
            id=row.id,
            user=row.user,
            scope=row.scope,
            created_at=row.created_at,
            expires_at=row.expires_at,
            places=list(row.places),
        )

    async def revoke(self, asked: Asked) -> Model:
        revoked = await asyncio.to_thread(self._index.revoke_token, asked.part, time.time())
        return models.Revoked(revoked=revoked)

    async def grants(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._index.grants)
        return models.Grants(grants=[models.Grant(user=row.user, pattern=row.repo_pattern) for row in rows])

    async def grant(self, asked: Asked) -> Model:
        await asyncio.to_thread(self._index.grant, asked.body.user, asked.body.pattern)
        return models.Grant(user=asked.body.user, pattern=asked.body.pattern)

    async def ungrant(self, asked: Asked) -> Model:
        user, pattern = required(asked.query, "user"), required(asked.query, "pattern")
        return Gone(removed=await asyncio.to_thread(self._index.revoke_grant, user, pattern))
