"""`/oauth/token` and `/oauth/device`, as the Hub's own clients speak them.

    token exchange   (RFC 8693) a signed token of a trusted issuer becomes one of ours, short-lived, for what
                     `resource` names: a repository, or a user's name to read. JSON or a form.
    device code      (RFC 8628) `hf auth login` shows a code, a person who signed in types it at `/device`,
                     and the command line gets a token of theirs.

Refusals are OAuth's (`{"error": "invalid_grant", …}`), with our headers beside. Nothing that is sent here is
ever repeated in an answer or in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

import orjson
from aiohttp import web

from moongate.app.dispatch import allow
from moongate.app.door import Door
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.replies import JSON_TYPE, Reply
from moongate.app.tokens import Bounds, TokenShelf, mint
from moongate.core.callers import Scope, TokenRow
from moongate.core.errors import BadRequest, UpstreamError
from moongate.hub.audit import Actor, ActorKind, Audit, AuditEvent
from moongate.hub.devices import INTERVAL_SECONDS, WAIT_SECONDS, Allowed, Devices
from moongate.hub.trusts import Given, TargetRefused, Trusts
from moongate.wire.headers import header_text
from moongate.wire.id_tokens import BadIdToken

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"

_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a word of RFC 8693
_SIGNED = ("urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt")
_MAX_BODY_BYTES = 64 << 10
_MAX_FIELDS = 32
_NO_STORE = ("Cache-Control", "no-store")
_CODES = {
    "invalid_request": "BadRequest",
    "invalid_grant": "BadToken",
    "invalid_target": "ScopeMissing",
    "unsupported_grant_type": "BadRequest",
    "authorization_pending": "AuthRequired",
    "access_denied": "Forbidden",
    "expired_token": "BadToken",
    "temporarily_unavailable": "UpstreamUnreachable",
}


class _Refused(Exception):
    """Why there is no token, in OAuth's words."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class DeviceRules:
    """Whether people can sign in at all, and how long the token is good for that a device gets."""

    enabled: bool
    token_seconds: float


class OAuthRoutes:
    """Answers both."""

    def __init__(
        self,
        trusts: Trusts,
        devices: Devices,
        shelf: TokenShelf,
        door: Door,
        audit: Audit,
        rules: DeviceRules,
    ) -> None:
        self._trusts = trusts
        self._devices = devices
        self._shelf = shelf
        self._door = door
        self._audit = audit
        self._rules = rules

    async def token(self, exchange: Exchange) -> web.StreamResponse:
        """Gives a token for something else."""
        allow(exchange, "POST")
        try:
            asked = await _fields(exchange)
            match asked.get("grant_type"):
                case "urn:ietf:params:oauth:grant-type:token-exchange":
                    told = await self._exchanged(exchange, asked)
                case "urn:ietf:params:oauth:grant-type:device_code":
                    told = await self._for_device(exchange, asked)
                case _:
                    raise _Refused("unsupported_grant_type", "this gateway exchanges tokens and device codes")
        except _Refused as refused:
            return _refusal(exchange, refused)
        return _answer(exchange, 200, told)

    async def device(self, exchange: Exchange) -> web.StreamResponse:
        """Has a device wait for a person."""
        allow(exchange, "POST")
        await read_body(exchange, _MAX_BODY_BYTES)
        if not self._rules.enabled:
            refused = _Refused(
                "unsupported_grant_type",
                "nobody can sign in here in a browser; paste a token made by `moongate token create`",
            )
            return _refusal(exchange, refused)
        word, code = await asyncio.to_thread(self._devices.begin)
        page = f"{self._door.base_url(exchange.request)}/device"
        told = {
            "device_code": word,
            "user_code": code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?{urlencode({'user_code': code})}",
            "expires_in": int(WAIT_SECONDS),
            "interval": INTERVAL_SECONDS,
        }
        return _answer(exchange, 200, told)

    async def _exchanged(self, exchange: Exchange, asked: Mapping[str, str]) -> Mapping[str, object]:
        token, resource = asked.get("subject_token", ""), asked.get("resource") or None
        if asked.get("subject_token_type", _SIGNED[0]) not in _SIGNED or not token:
            raise _Refused("invalid_request", "subject_token has to be an ID token")
        try:
            given = await self._trusts.exchanged(token, self._door.audience(exchange.request), resource)
        except BadIdToken as error:
            await self._note_refusal(exchange, error.message)
            raise _Refused("invalid_grant", error.message) from error
        except TargetRefused as error:
            await self._note_refusal(exchange, error.message)
            raise _Refused("invalid_target", error.message) from error
        except UpstreamError as error:
            raise _Refused(
                "temporarily_unavailable", f"the issuer cannot be asked: {error.message}", 503
            ) from error
        row, told = await self._mint(
            given.user, given.scope, given.ttl_seconds, Bounds(given.places, "exchange"), _note_of(given)
        )
        event = AuditEvent(
            "token.exchange",
            self._actor(exchange, given.user, row.id),
            subject=row.id,
            request_id=exchange.request_id,
            details={
                "issuer": given.issuer,
                "sub": given.subject,
                "trust": given.trust_id,
                "scope": given.scope,
                "places": list(given.places),
            },
        )
        await self._audit.recorded(event)
        return {**told, "issued_token_type": _ACCESS_TOKEN}

    async def _for_device(self, exchange: Exchange, asked: Mapping[str, str]) -> Mapping[str, object]:
        found = await asyncio.to_thread(self._devices.take, asked.get("device_code", ""))
        match found:
            case "waiting":
                raise _Refused("authorization_pending", "nobody typed the code yet")
            case "denied":
                raise _Refused("access_denied", "the code was denied")
            case Allowed(account):
                row, told = await self._mint(
                    account,
                    "write",
                    self._rules.token_seconds,
                    Bounds((), "sign-in"),
                    "signed in by a device",
                )
            case _:
                raise _Refused("expired_token", "the code took too long, or was used already")
        event = AuditEvent(
            "token.create",
            self._actor(exchange, account, row.id),
            subject=row.id,
            request_id=exchange.request_id,
            details={"scope": row.scope, "by": "device code"},
        )
        await self._audit.recorded(event)
        return told

    async def _mint(
        self, user: str, scope: Scope, seconds: float, bounds: Bounds, note: str
    ) -> tuple[TokenRow, Mapping[str, object]]:
        now = time.time()
        secret, row = await asyncio.to_thread(mint, self._shelf, user, scope, seconds, note, now, bounds)
        return row, {
            "access_token": secret.reveal(),
            "token_type": "bearer",
            "expires_in": int(seconds),
            "scope": scope,
        }

    async def _note_refusal(self, exchange: Exchange, reason: str) -> None:
        event = AuditEvent(
            "token.refuse",
            self._actor(exchange, "anonymous", ""),
            reason=reason,
            request_id=exchange.request_id,
            details={"by": "token exchange"},
        )
        await self._audit.recorded(event)

    def _actor(self, exchange: Exchange, user: str, token_id: str) -> Actor:
        address = self._door.address_of(exchange.peer, exchange.forwarded)
        kind: ActorKind = "anonymous" if user == "anonymous" else "token"
        return Actor(user, kind, token_id, address, exchange.agent[:256])


def _note_of(given: Given) -> str:
    return f"exchanged by {given.trust_id} for {given.subject}"[:500]


async def _fields(exchange: Exchange) -> dict[str, str]:
    """What was sent, as JSON or as a form."""
    try:
        raw = await read_body(exchange, _MAX_BODY_BYTES)
    except BadRequest as error:
        raise _Refused("invalid_request", error.message) from error
    try:
        if exchange.request.content_type == "application/json":
            told = orjson.loads(raw)
        else:
            told = dict(parse_qsl(raw.decode("ascii"), max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise _Refused("invalid_request", "the body is neither JSON nor a form") from None
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise _Refused("invalid_request", "the body has to be an object of texts")
    return told


def _refusal(exchange: Exchange, refused: _Refused) -> Reply:
    exchange.error = refused.error
    headers = (
        ("X-Error-Code", _CODES[refused.error]),
        ("X-Error-Message", header_text(refused.description)),
    )
    told = {"error": refused.error, "error_description": refused.description}
    return _answer(exchange, refused.status, told, headers)


def _answer(
    exchange: Exchange, status: int, told: Mapping[str, object], headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    return Reply(
        status,
        (JSON_TYPE, _NO_STORE, *headers),
        orjson.dumps(told),
        request_id=exchange.request_id,
        shared=False,
    )
