"""Coming in with a token, going out, and the choice of a theme."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

from moongate.app.door import Door
from moongate.app.pages.visits import THEME_COOKIE, PageAnswer, Sent, Shown, Visit
from moongate.app.sessions import Sessions, set_cookie
from moongate.core.errors import BadToken, NotAllowed
from moongate.web.account_views import SignInView
from moongate.wire.bearer import looks_like_ours

THEMES: Final = ("light", "dark")
_YEAR_SECONDS = 365 * 86400


class AccountPages:
    """`/-/sign-in`, `/-/sign-out` and `/-/theme`."""

    def __init__(self, sessions: Sessions, door: Door, issuers: Sequence[str] = ()) -> None:
        """issuers: the addresses of those with whom people may sign in, too."""
        self._sessions = sessions
        self._door = door
        self._issuers = issuers

    async def sign_in_form(self, visit: Visit) -> PageAnswer:
        return self._form(own_path(visit.query.get("next", "/")))

    async def sign_in(self, visit: Visit) -> PageAnswer:
        after, token = own_path(visit.form.get("next", "/")), visit.form.get("token", "").strip()
        try:
            if not token.isascii() or not looks_like_ours(token):
                raise BadToken(
                    "That is no token of this gateway: those begin with hf_ and have 51 characters."
                )
            sha256 = hashlib.sha256(token.encode()).hexdigest()
            caller = self._door.caller_by(sha256)
        except NotAllowed as error:
            visit.exchange.tell("session.refuse", reason=error.message)
            return self._form(after, error.message)
        visit.exchange.tell("session.start", subject=caller.user)
        word = await asyncio.to_thread(self._sessions.begin, caller.user, sha256)
        return Sent(after, (self._sessions.cookie(word, secure=self._secure(visit)),))

    async def sign_out(self, visit: Visit) -> PageAnswer:
        if await asyncio.to_thread(self._sessions.end, visit.exchange.request):
            visit.exchange.tell("session.end", subject=visit.caller.user)
        return Sent("/", (self._sessions.no_cookie(secure=self._secure(visit)),))

    async def theme(self, visit: Visit) -> PageAnswer:
        chosen = visit.form.get("theme", "")
        age = _YEAR_SECONDS if chosen in THEMES else 0
        kept = set_cookie(THEME_COOKIE, chosen if age else "", age, secure=self._secure(visit))
        return Sent(own_path(visit.form.get("next", "/")), (kept,))

    def _form(self, after: str, wrong: str = "") -> Shown:
        begins = f"/login?{urlencode({'next': after})}"
        issuers = [(urlsplit(issuer).hostname or issuer, begins) for issuer in self._issuers]
        view = SignInView(after, issuers, wrong)
        return Shown("sign_in", "Sign in", {"view": view}, status=401 if wrong else 200)

    def _secure(self, visit: Visit) -> bool:
        return self._door.base_url(visit.exchange.request).startswith("https:")


def own_path(text: str) -> str:
    """A path of ours to go on to; the first page where it is anything else."""
    bad = (
        not text.startswith("/")
        or text.startswith(("//", "/\\"))
        or len(text) > 2000
        or any(char <= " " or char in "\\\x7f" or not char.isascii() for char in text)
    )
    return "/" if bad else text
