"""`/-/tokens`: a user's own tokens, and everybody's for an administrator."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, cast

from moongate.app.pages.visits import PageAnswer, Sent, Shown, Visit
from moongate.app.tokens import Bounds, mint
from moongate.core.callers import Scope
from moongate.core.errors import AuthRequired, NotAllowed
from moongate.web.views import MadeToken, TokenForm, TokensView, TokenView

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_SCOPES: Final[tuple[tuple[Scope, str], ...]] = (
    ("read", "pulls and looks"),
    ("write", "pushes to what is hosted, too"),
    ("admin", "everything, this gateway's settings among it"),
)
_SPANS: Final = (("7", "a week"), ("30", "a month"), ("90", "three months"), ("365", "a year"), ("0", "ever"))
_RANK: Final = {"read": 0, "write": 1, "admin": 2}
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,95}")
_MAX_NOTE_CHARS = 200


class TokenPages:
    """Lists, makes and revokes tokens. Nobody makes one that may more than they came with."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def list(self, visit: Visit) -> PageAnswer:
        _must_be_known(visit)
        return await self._page(visit)

    async def make(self, visit: Visit) -> PageAnswer:
        _must_be_known(visit)
        form = TokenForm(
            user=visit.form.get("user", "").strip() if visit.is_admin else visit.caller.user,
            note=visit.form.get("note", "").strip()[:_MAX_NOTE_CHARS],
            scope=visit.form.get("scope", ""),
            days=visit.form.get("days", ""),
        )
        wrong = _wrong(visit, form)
        if wrong:
            return await self._page(visit, form, wrong=wrong, status=400)
        return await self._page(visit, made=await asyncio.to_thread(self._make, visit, form))

    async def revoke(self, visit: Visit) -> PageAnswer:
        _must_be_known(visit)
        token_id, rows = visit.form.get("id", ""), await asyncio.to_thread(self._gateway.index.tokens)
        mine = any(row.id == token_id and (visit.is_admin or row.user == visit.caller.user) for row in rows)
        if not mine:
            raise NotAllowed("You have no such token.")
        await asyncio.to_thread(self._gateway.index.revoke_token, token_id, time.time())
        visit.exchange.tell("token.revoke", subject=token_id)
        return Sent("/-/tokens")

    def _make(self, visit: Visit, form: TokenForm) -> MadeToken:
        """A token that may no more, and lasts no longer, than what its maker came with."""
        caller, seconds, now = visit.caller, int(form.days) * 86400.0 or None, time.time()
        came_with = next((row for row in self._gateway.index.tokens() if row.id == caller.token_id), None)
        if came_with is not None and came_with.expires_at is not None and not visit.is_admin:
            left = max(1.0, came_with.expires_at - now)
            seconds = left if seconds is None else min(seconds, left)
        own = form.user == caller.user
        secret, row = mint(
            self._gateway.index,
            form.user,
            cast(Scope, form.scope),
            seconds,
            form.note,
            now,
            Bounds(
                caller.places,
                "sign-in" if own and caller.by_roles else "",
                self._gateway.settings.token_max_seconds,
            ),
        )
        details: dict[str, object] = {"user": row.user, "scope": row.scope}
        visit.exchange.tell("token.create", subject=row.id, details=details)
        return MadeToken(row.user, secret.reveal())

    async def _page(
        self,
        visit: Visit,
        form: TokenForm | None = None,
        *,
        made: MadeToken | None = None,
        wrong: str = "",
        status: int = 200,
    ) -> Shown:
        rows = await asyncio.to_thread(self._gateway.index.tokens)
        fields = TokenView.__dataclass_fields__
        tokens = [
            TokenView(**{name: value for name, value in asdict(row).items() if name in fields})
            for row in reversed(rows)
            if visit.is_admin or row.user == visit.caller.user
        ]
        tokens.sort(key=lambda token: token.revoked_at is not None)
        view = TokensView(
            tokens=tokens,
            all_users=visit.is_admin,
            scopes=[pair for pair in _SCOPES if _RANK[pair[0]] <= _RANK[_most(visit)]],
            spans=_SPANS,
            form=form or TokenForm(user=visit.caller.user if visit.caller.kind == "token" else ""),
            made=made,
            wrong=wrong,
        )
        return Shown("tokens", "Tokens", {"view": view}, status=status)


def _must_be_known(visit: Visit) -> None:
    if visit.caller.kind != "token" and not visit.is_admin:
        raise AuthRequired("Sign in to see your tokens.")


def _most(visit: Visit) -> str:
    """The scope that a new token may have at most."""
    return "admin" if visit.is_admin else visit.caller.scope


def _wrong(visit: Visit, form: TokenForm) -> str:
    if not _USER.fullmatch(form.user):
        return "A user's name has letters, digits and . _ @ + -"
    if form.scope not in _RANK:
        return "There is no such scope."
    if _RANK[form.scope] > _RANK[_most(visit)]:
        return "A token may not do more than the one you came in with."
    return "" if form.days in dict(_SPANS) else "There is no such span."
