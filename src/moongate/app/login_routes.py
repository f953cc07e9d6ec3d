"""`/login`, `/login/callback`, `/logout` and `/device`: people, and their browsers.

What a browser has to bring back of a sign-in lies in a cookie for ten minutes, sealed with a key of the
home's secret: the answer of an issuer counts only in the browser that asked, and only once. Where it goes
then is a path of our own, whatever the address said.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import astuple
from urllib.parse import parse_qsl, quote

import orjson
from aiohttp import web

from moongate.app.dispatch import allow
from moongate.app.door import Door
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.pages.visits import Shown
from moongate.app.replies import Reply
from moongate.app.sessions import Sessions, check_form, csrf_word, set_cookie
from moongate.app.shared_secret import key_for
from moongate.core.errors import Absent, AuthRequired, BadRequest, MoongateError, NotAllowed
from moongate.hub.audit import Actor, ActorKind, Audit, AuditEvent
from moongate.hub.devices import Devices, plain_code, shown_code
from moongate.hub.sign_ins import PENDING_SECONDS, NotSignedIn, Pending, SignIns, reason_of
from moongate.web.account_views import DeviceView, MessageView, SignOutView
from moongate.wire.errors import error_answer

_COOKIE = "moongate_login"
_MAX_COOKIE_CHARS = 4096
_MAX_PATH_CHARS = 2000
_MAX_FORM_BYTES = 16 << 10
_MAX_FIELDS = 32

Frame = Callable[..., Reply]
"""Puts a page into the frame of all pages: an exchange, what is shown, and headers."""


class LoginRoutes:
    """Answers these pages. Everything in `public` finds out by itself who asks."""

    def __init__(
        self,
        sign_ins: SignIns | None,
        sessions: Sessions,
        devices: Devices,
        door: Door,
        audit: Audit,
        secret: bytes,
        frame: Frame,
    ) -> None:
        """sign_ins: None where no issuer is set; then nobody signs in by one."""
        self._sign_ins = sign_ins
        self._sessions = sessions
        self._devices = devices
        self._door = door
        self._audit = audit
        self._frame = frame
        self._key = key_for(secret, "sign-ins under way")

    async def login(self, exchange: Exchange) -> web.StreamResponse:
        """Sends a browser to the issuer."""
        allow(exchange, "GET")
        sign_ins = self._at_issuer()
        after = own_path(_query(exchange).get("next", "/"))
        url, pending = await sign_ins.begin(self._redirect_uri(exchange), after)
        cookie = self._cookie(exchange, self._seal(pending), int(PENDING_SECONDS))
        return _redirect(exchange, url, cookie)

    async def callback(self, exchange: Exchange) -> web.StreamResponse:
        """Takes the issuer's answer, and begins a session."""
        allow(exchange, "GET")
        sign_ins, secure = self._at_issuer(), self._is_secure(exchange)
        no_cookie = self._cookie(exchange, "", 0)
        try:
            pending = self._unseal(exchange)
            person = await sign_ins.finish(_query(exchange), pending, self._redirect_uri(exchange))
            caller = self._door.signed_in(person.account)
        except NotAllowed as error:
            await self._note(exchange, "session.refuse", "anonymous", reason=error.message)
            return self._wrong(exchange, error, no_cookie)
        word = await asyncio.to_thread(self._sessions.begin, person.account)
        await self._note(
            exchange,
            "session.start",
            caller.user,
            issuer=sign_ins.rules.issuer,
            sub=person.subject,
            groups=list(person.groups),
            roles=list(caller.roles),
        )
        return _redirect(exchange, pending.after, no_cookie, self._sessions.cookie(word, secure=secure))

    async def logout(self, exchange: Exchange) -> web.StreamResponse:
        """Ends a session, by a form of our own."""
        allow(exchange, "GET", "HEAD", "POST")
        request = exchange.request
        caller = self._sessions.caller(request, self._door)
        if exchange.is_read:
            if caller is None:
                return self._message(exchange, "Signed out", MessageView("You are not signed in.", "out"))
            exchange.caller = caller
            view = SignOutView(caller.user, csrf_word(request))
            return self._frame(exchange, Shown("sign_out", "Sign out", {"view": view}))
        form = await _form(exchange)
        check_form(request, form.get("csrf", ""), self._door.base_url(request))
        if await asyncio.to_thread(self._sessions.end, request) and caller is not None:
            await self._note(exchange, "session.end", caller.user)
        return _redirect(exchange, "/", self._sessions.no_cookie(secure=self._is_secure(exchange)))

    async def device(self, exchange: Exchange) -> web.StreamResponse:
        """Lets somebody who signed in allow a device to act as them."""
        allow(exchange, "GET", "HEAD", "POST")
        request = exchange.request
        caller = self._sessions.caller(request, self._door)
        asked = _query(exchange).get("user_code", "")[:20]
        if caller is None or not caller.by_roles:
            return self._to_sign_in(exchange, f"/device?user_code={quote(asked)}" if asked else "/device")
        exchange.caller = caller
        if exchange.is_read:
            return self._device_form(exchange, asked)
        form = await _form(exchange)
        check_form(request, form.get("csrf", ""), self._door.base_url(request))
        code, allowed = form.get("user_code", "")[:20], form.get("answer") == "allow"
        try:
            await asyncio.to_thread(self._devices.answer, code, caller.user, allow=allowed)
        except Absent as error:
            return self._device_form(exchange, code, error.message)
        await self._note(exchange, "session.lend", caller.user, allowed=allowed)
        if not allowed:
            return self._message(exchange, "Device denied", MessageView("It gets nothing.", "stop"))
        words = "It has a token of yours now. You may close this page, and go back to the command line."
        tokens = ("/-/tokens", "Your tokens")
        return self._message(exchange, "Device allowed", MessageView(words, "check", tokens))

    def _to_sign_in(self, exchange: Exchange, after: str) -> Reply:
        self._at_issuer()
        if not exchange.is_read:
            raise AuthRequired("Sign in first.")
        return _redirect(exchange, f"/login?next={quote(after, safe='')}")

    def _at_issuer(self) -> SignIns:
        if self._sign_ins is None:
            raise Absent("Nobody signs in here in a browser: oidc_issuer is not set.")
        return self._sign_ins

    def _redirect_uri(self, exchange: Exchange) -> str:
        address = self._door.audience(exchange.request)
        if not address:
            raise BadRequest("This gateway does not know its own address; set public_url to it.")
        return f"{address}/login/callback"

    def _is_secure(self, exchange: Exchange) -> bool:
        return self._door.base_url(exchange.request).startswith("https:")

    def _cookie(self, exchange: Exchange, value: str, age_seconds: int) -> tuple[str, str]:
        secure = self._is_secure(exchange)
        return set_cookie(f"__Host-{_COOKIE}" if secure else _COOKIE, value, age_seconds, secure=secure)

    def _wrong(self, exchange: Exchange, error: MoongateError, *cookies: tuple[str, str]) -> Reply:
        exchange.error = f"{type(error).__name__}: {error.message}"
        view = MessageView(reason_of(error), "alert", ("/-/sign-in", "Try again"))
        shown = Shown("message", "Not signed in", {"view": view}, status=403)
        return self._frame(exchange, shown, *error_answer(NotAllowed(error.message)).headers, *cookies)

    def _device_form(self, exchange: Exchange, code: str, wrong: str = "") -> Reply:
        view = DeviceView(exchange.caller.user, csrf_word(exchange.request), _as_shown(code), wrong)
        return self._frame(
            exchange, Shown("device", "Allow a device", {"view": view}, status=404 if wrong else 200)
        )

    def _message(self, exchange: Exchange, title: str, view: MessageView) -> Reply:
        return self._frame(exchange, Shown("message", title, {"view": view}))

    async def _note(
        self, exchange: Exchange, kind: str, user: str, *, reason: str = "", **details: object
    ) -> None:
        address = self._door.address_of(exchange.peer, exchange.forwarded)
        who: ActorKind = "anonymous" if user == "anonymous" else "person"
        actor = Actor(user, who, "", address, exchange.agent[:256])
        event = AuditEvent(
            kind, actor, reason=reason, request_id=exchange.request_id, details=details, subject=user
        )
        await self._audit.recorded(event)

    # What a browser brings back

    def _seal(self, pending: Pending) -> str:
        text = urlsafe_b64encode(orjson.dumps(astuple(pending))).rstrip(b"=").decode()
        return f"{text}.{self._tag(text)}"

    def _unseal(self, exchange: Exchange) -> Pending:
        cookies = exchange.request.cookies
        sealed = cookies.get(f"__Host-{_COOKIE}") or cookies.get(_COOKIE) or ""
        text, _, tag = sealed[:_MAX_COOKIE_CHARS].partition(".")
        if not text.isascii() or not hmac.compare_digest(self._tag(text).encode(), tag.encode()):
            raise NotSignedIn("this browser began no sign-in; begin here")
        try:
            return Pending(*orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4))))
        except (binascii.Error, TypeError, ValueError):
            raise NotSignedIn("this browser began no sign-in; begin here") from None

    def _tag(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hex()


def own_path(text: str) -> str:
    """A path of ours to go on to; the first page where it is anything else."""
    bad = (
        not text.startswith("/")
        or text[1:2] in ("/", "\\")
        or len(text) > _MAX_PATH_CHARS
        or any(char <= " " or char in "\\\x7f" or char > "~" for char in text)
    )
    return "/" if bad else text


def _as_shown(text: str) -> str:
    code = plain_code(text)
    return shown_code(code) if code else ""


def _query(exchange: Exchange) -> dict[str, str]:
    try:
        return dict(parse_qsl(exchange.query, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise BadRequest("This address has too many fields.") from None


async def _form(exchange: Exchange) -> dict[str, str]:
    if exchange.request.content_type != "application/x-www-form-urlencoded":
        raise BadRequest("This is no form.")
    raw = await read_body(exchange, _MAX_FORM_BYTES)
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise BadRequest("This is no form.") from None


def _redirect(exchange: Exchange, where: str, *cookies: tuple[str, str]) -> Reply:
    headers = (
        ("Location", where),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        *cookies,
    )
    return Reply(303, headers, b"", request_id=exchange.request_id, shared=False)
