"""Browsers' sessions: a cookie that says nothing, and a row in the index that says whose it is.

    Set-Cookie: moongate_session=<43 random characters>; HttpOnly; SameSite=Lax; Path=/ [; Secure]

On https its name is `__Host-moongate_session`, which browsers take from nobody but us. The index keeps the
sha256 of it. A session ends after `session_seconds`, by signing out, with the token that it was begun with,
and when its account is disabled; what it may do follows its user's roles while it lasts.

A page that changes something carries `csrf_word` of the session in its form, since the cookie alone proves
nothing about who made the form; see `check_form`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from aiohttp import hdrs, web

from moongate.core.accounts import AccountRow, SessionRow
from moongate.core.callers import Caller
from moongate.core.errors import NotAllowed

if TYPE_CHECKING:
    from moongate.app.door import Door

NAME = "moongate_session"
SECURE_NAME = f"__Host-{NAME}"
CSRF_FIELD = "csrf"

_RANDOM_BYTES = 32
_MAX_CHARS = 64
_FOREIGN_SITES = ("cross-site", "same-site")


class SessionIndex(Protocol):
    """What this room needs of the index."""

    def put_session(self, row: SessionRow) -> None: ...
    def session(self, sha256: str) -> SessionRow | None: ...
    def drop_session(self, sha256: str) -> bool: ...
    def account(self, name: str) -> AccountRow | None: ...


class Sessions:
    """Begins, finds and ends sessions. Any process finds those of every other."""

    def __init__(
        self, index: SessionIndex, session_seconds: float, now: Callable[[], float] = time.time
    ) -> None:
        self._index = index
        self._session_seconds = session_seconds
        self._now = now

    def begin(self, account: str, token_sha256: str | None = None) -> str:
        """A new session; what the cookie holds. Writes: call it in a thread.

        token_sha256: of the token of ours that was signed in with; None when an issuer vouched for them.
        """
        word, now = secrets.token_urlsafe(_RANDOM_BYTES), self._now()
        row = SessionRow(_sha256(word), account, token_sha256, now, now + self._session_seconds)
        self._index.put_session(row)
        return word

    def end(self, request: web.BaseRequest) -> bool:
        """End the session of this request; whether there was one. Writes: call it in a thread."""
        word = cookie_of(request)
        return word is not None and self._index.drop_session(_sha256(word))

    def caller(self, request: web.BaseRequest, door: Door) -> Caller | None:
        """Whose session this request is of; None when it is of none that is good. Some point reads."""
        word = cookie_of(request)
        row = self._index.session(_sha256(word)) if word is not None else None
        if row is None or row.expires_at <= self._now():
            return None
        try:
            if row.token_sha256 is not None:
                return replace(door.caller_by(row.token_sha256), method="session")
            account = self._index.account(row.account)
            if account is None or account.disabled_at is not None:
                return None
            return door.signed_in(row.account)
        except NotAllowed:
            return None

    def cookie(self, word: str, *, secure: bool) -> tuple[str, str]:
        """The header that gives a browser its session."""
        age = int(self._session_seconds)
        return set_cookie(SECURE_NAME if secure else NAME, word, age, secure=secure)

    @staticmethod
    def no_cookie(*, secure: bool) -> tuple[str, str]:
        """The header that takes it from the browser."""
        return set_cookie(SECURE_NAME if secure else NAME, "", 0, secure=secure)


def set_cookie(name: str, value: str, age_seconds: int, *, secure: bool, path: str = "/") -> tuple[str, str]:
    """A cookie that no script reads, and that no form of another site brings along."""
    ending = "; Secure" if secure else ""
    return (
        hdrs.SET_COOKIE,
        f"{name}={value}; Max-Age={age_seconds}; Path={path}; HttpOnly; SameSite=Lax{ending}",
    )


def cookie_of(request: web.BaseRequest) -> str | None:
    """What a session's cookie holds, if the request has one that can be."""
    for name in (SECURE_NAME, NAME):
        word = request.cookies.get(name)
        if word:
            return word if len(word) <= _MAX_CHARS and word.isascii() else None
    return None


def csrf_word(request: web.BaseRequest) -> str:
    """What a form must carry to be taken for this session's own; empty without a session."""
    word = cookie_of(request)
    return "" if word is None else hmac.digest(word.encode(), b"csrf", hashlib.sha256).hex()


def check_form(request: web.BaseRequest, given: str, base_url: str) -> None:
    """Return when a form was made by our own page, for the session that it comes with.

    base_url: our address. given: the form's field `CSRF_FIELD`.

    Raises:
        NotAllowed: it was not, or nobody can tell.
    """
    refuse_foreign_page(request, base_url)
    wanted = csrf_word(request)
    if not wanted or not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace")):
        raise NotAllowed("This form is too old, or was made by another page; go back, and load it again.")


def refuse_foreign_page(request: web.BaseRequest, base_url: str) -> None:
    """Return when no page of another site asks, as far as the browser says.

    Raises:
        NotAllowed: one does.
    """
    origin, site = request.headers.get(hdrs.ORIGIN), request.headers.get("Sec-Fetch-Site")
    if (origin is not None and origin != base_url) or site in _FOREIGN_SITES:
        raise NotAllowed("Pages of other sites may not do this.")


def _sha256(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()
