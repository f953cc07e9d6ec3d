"""Who is at the door, and whether they may come in.

A token is either ours (`hf_` and 48 alphanumerics: known to the index, or refused everywhere) or a Hub token
passed through, which upstream judges. On loopback the door is open: callers without a token are anonymous,
and whoever asks from this machine itself, by no page of another site, may do with hosted repositories what
they like. On any other address it is closed, unless `allow_anonymous`: only our tokens, and Hub tokens of
members of `upstream_orgs`, come in.

Who signed in in a browser brings a session's cookie, which counts on our own pages and in the admin API, and
never for what Hub clients ask. Signed tokens of issuers that an administrator trusts are for `IdTokens`.

What somebody may is said by `require`, in the words of `permissions`.

The Host header is checked while the door is open on loopback, so that a web page whose name was pointed at
127.0.0.1 cannot read through a visitor's browser.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import urlsplit

import orjson
from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from moongate.app.last_used import LastUsed
from moongate.app.permissions import Permission
from moongate.core.callers import ANONYMOUS, LOCAL_USER, Caller, Method, Scope, Secret, TokenRow
from moongate.core.errors import (
    AuthRequired,
    BadRequest,
    BadToken,
    MoongateError,
    NotAllowed,
    ScopeMissing,
    UpstreamBroken,
    UpstreamError,
)
from moongate.hub.standing import Stand, least
from moongate.wire.bearer import looks_like_id_token, looks_like_ours, token_of

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_FOREIGN_SITES = ("cross-site", "same-site")
_KEPT = 10_000


class TokenBook(Protocol):
    """Our own tokens, by hash."""

    def token_by_sha256(self, sha256: str) -> TokenRow | None: ...


class Stands(Protocol):
    """What users are; `hub.standing.Standing`."""

    def of(self, user: str, /) -> Stand: ...
    def signed_in(self, user: str, /) -> Stand: ...


class SessionBook(Protocol):
    """Whose session a browser's cookie is; `app.sessions.Sessions`."""

    def caller(self, request: web.BaseRequest, door: Door, /) -> Caller | None: ...


class IdTokens(Protocol):
    """For whom a signed token of a trusted issuer stands; `app.id_token_callers.IdTokenCallers`."""

    async def caller(self, token: str, base_url: str, /) -> Caller: ...


class UpstreamIdentity(Protocol):
    """Asks upstream whose token this is; the body of `/api/whoami-v2`."""

    async def __call__(self, credential: Secret, /) -> bytes: ...


class DoorHasNoKey(MoongateError):
    """The gateway would listen where others reach it, closed to everybody: no token was ever made."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"listening on {host} needs a token; make one with `moongate token create --user NAME`, "
            "or serve everybody with --allow-anonymous"
        )


class NobodyStands:
    """Without teams and roles."""

    def of(self, user: str) -> Stand:
        return Stand()

    signed_in = of


@dataclass(frozen=True, slots=True)
class DoorRules:
    """Which settings the door obeys; `loopback` says whether only this machine can reach us."""

    loopback: bool = True
    allow_anonymous: bool = False
    upstream_orgs: Sequence[str] = ()
    server_names: Sequence[str] = ()
    public_url: str | None = None
    trusted_proxies: Sequence[str] = ()
    access_ttl_seconds: float = 300.0
    access_grace_seconds: float = 3600.0


class Door:
    """Tells callers apart. One per process; cheap per request."""

    def __init__(
        self,
        tokens: TokenBook,
        rules: DoorRules,
        identity: UpstreamIdentity | None = None,
        now: Callable[[], float] = time.time,
        *,
        stands: Stands | None = None,
        sessions: SessionBook | None = None,
        id_tokens: IdTokens | None = None,
        last_used: LastUsed | None = None,
    ) -> None:
        self._tokens = tokens
        self._stands = stands or NobodyStands()
        self._sessions = sessions
        self._id_tokens = id_tokens
        self._last_used = last_used
        self._rules = rules
        self.is_open = rules.loopback or rules.allow_anonymous
        self._orgs = frozenset(org.lower() for org in rules.upstream_orgs)
        self._names = {name.lower() for name in rules.server_names}
        if rules.public_url is not None:
            self._names.add((urlsplit(rules.public_url).hostname or "").lower())
        self._proxies = [ipaddress.ip_network(text, strict=False) for text in rules.trusted_proxies]
        self._identity = identity
        self._now = now
        self._members: dict[str, tuple[bool, float]] = {}
        self._good_hosts: set[str] = set()

    async def caller_of(self, request: web.BaseRequest, *, cookies: bool = False) -> Caller:
        """Who asks, when they may ask anything at all. `cookies`: a browser's session counts, too.

        Raises:
            BadToken: a token of ours that is unknown, revoked or expired; or a malformed header.
            AuthRequired: nobody said who they are, and the door is closed.
            NotAllowed: a Hub token, and the door is closed to it.
        """
        header = request.headers.get(hdrs.AUTHORIZATION)
        if header is None:
            if cookies and self._sessions is not None:
                caller = self._sessions.caller(request, self)
                if caller is not None:
                    return caller
            if not self.is_open:
                raise AuthRequired(
                    "This gateway needs a token: set HF_TOKEN to one made by `moongate token create`."
                )
            return LOCAL_USER if self._is_local_user(request) else ANONYMOUS
        token = token_of(header)
        if token is None:
            raise BadToken("Invalid credentials in Authorization header")
        if looks_like_ours(token):
            return self._own(token)
        if looks_like_id_token(token):
            if self._id_tokens is None:
                raise BadToken("Signed tokens of other issuers are not taken here.")
            return await self._id_tokens.caller(token, self.audience(request))
        caller = _upstream_caller(token)
        if not self.is_open:
            await self._let_member_in(caller)
        return replace(caller, scope="admin") if self._is_local_user(request) else caller

    def caller_at_hand(self, headers: CIMultiDictProxy[str]) -> Caller | None:
        """As `caller_of`, when that needs no waiting and nobody is turned away; otherwise None."""
        return self.bearer_at_hand(headers.get(hdrs.AUTHORIZATION))

    def bearer_at_hand(self, header: str | None) -> Caller | None:
        """As `caller_at_hand`, of the value of `Authorization` alone."""
        if header is None:
            return ANONYMOUS if self.is_open else None
        token = token_of(header)
        if token is None:
            return None
        if looks_like_id_token(token):
            return None
        if not looks_like_ours(token):
            return _upstream_caller(token) if self.is_open else None
        try:
            return self._own(token)
        except NotAllowed:
            return None

    def _is_local_user(self, request: web.BaseRequest) -> bool:
        """Whether the user of this very machine asks, while only this machine can reach us.

        Not what a page of another site asks through a visitor's browser.
        """
        headers = request.headers
        origin, site = headers.get(hdrs.ORIGIN), headers.get("Sec-Fetch-Site")
        foreign = (origin is not None and origin != self.base_url(request)) or site in _FOREIGN_SITES
        return self._rules.loopback and not foreign and self.is_local(request)

    def knows_host(self, host: str | None) -> bool:
        """Whether `check_host` let this Host header pass before."""
        return host in self._good_hosts

    def check_host(self, request: web.BaseRequest) -> str:
        """The Host header, once it is one we answer to.

        Raises:
            BadRequest: it is missing, malformed, or not ours.
        """
        host = request.headers.get(hdrs.HOST, "")
        if host in self._good_hosts:
            return host
        if not host and request.version < (1, 1):
            return "localhost"
        match = _HOST.fullmatch(host)
        if match is None:
            raise BadRequest("The Host header is missing or malformed.")
        if self._rules.loopback and not self._is_ours(match[1]):
            raise BadRequest(
                f"This gateway does not answer to the name {match[1]}; name it in MOONGATE_SERVER_NAMES."
            )
        if len(self._good_hosts) < _KEPT:
            self._good_hosts.add(host)
        return host

    def is_local(self, request: web.BaseRequest) -> bool:
        """Whether somebody on this machine asks us directly, with no proxy between.

        A proxy in front makes every peer look local, so a forwarding header or a foreign Host says no.
        """
        remote = request.remote
        if remote is None or not _is_loopback(remote):
            return False
        headers = request.headers
        if any(name in headers for name in _FORWARDED):
            return False
        match = _HOST.fullmatch(headers.get(hdrs.HOST, ""))
        return match is not None and _is_local_name(match[1])

    def plain_base_url(self, host: str) -> str | None:
        """`base_url` for a checked Host header, when it depends on nothing else; otherwise None."""
        if self._rules.public_url is not None:
            return self._rules.public_url
        return None if self._proxies else f"http://{host}"

    def base_url(self, request: web.BaseRequest) -> str:
        """Our address as this client sees it: the public URL, or what the Host header (checked) says."""
        if self._rules.public_url is not None:
            return self._rules.public_url
        scheme, host = request.scheme, request.headers.get(hdrs.HOST) or "localhost"
        if self._proxies and self._is_trusted(request.remote):
            proto = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip().lower()
            scheme = proto if proto in ("http", "https") else scheme
            forwarded = request.headers.get("X-Forwarded-Host", "").split(",")[0].strip()
            host = forwarded if _HOST.fullmatch(forwarded) else host
        return f"{scheme}://{host}"

    def audience(self, request: web.BaseRequest) -> str:
        """Our address, as a signed token for us names it; empty where a caller could make us say any."""
        if self._rules.public_url is None and not self._rules.loopback:
            return ""
        return self.base_url(request)

    def require(self, permission: Permission | None, caller: Caller, request: web.BaseRequest) -> None:
        """Lets through who has what this needs; see `permissions`. None: nobody has.

        Raises:
            AuthRequired, ScopeMissing, NotAllowed: they have not.
        """
        match permission:
            case "public" | "read" | "sealed":
                return
            case "write":
                if caller.kind == "token" and caller.scope == "read":
                    raise ScopeMissing("This token only reads; this needs one with scope write.")
            case "watch":
                if not self.is_local(request) and caller.kind != "token":
                    self.require_admin(caller, local=False)
            case "user":
                if caller.kind != "token":
                    raise AuthRequired("This needs a token of this gateway, or somebody who signed in.")
            case "approve":
                if not caller.may_approve:
                    self.require_admin(caller, local=self.is_local(request))
            case "admin":
                self.require_admin(caller, local=self.is_local(request))
            case _:
                raise NotAllowed("Nobody was given permission for this.")

    def address_of(self, peer: str | None, forwarded: str | None) -> str:
        """A client's address: the peer's, or whom trusted proxies say they ask for.

        Of a chain of proxies the last address that is none of theirs counts: what stands before it is what
        the client made up.
        """
        if forwarded and self._proxies and self._is_trusted(peer):
            told = [word.strip() for word in forwarded.split(",")]
            return next((word for word in reversed(told) if not self._is_trusted(word)), told[0])[:64]
        return peer or ""

    def require_admin(self, caller: Caller, *, local: bool) -> None:
        """Lets administrators through: scope `admin`, or anybody on this machine while we listen on loopback.

        Raises:
            AuthRequired, ScopeMissing: not an administrator.
        """
        if caller.kind == "token":
            if caller.scope != "admin":
                raise ScopeMissing("This needs a token with scope admin.")
            return
        if not (self._rules.loopback and local and caller.kind == "anonymous"):
            raise AuthRequired("This needs a token with scope admin.")

    def pass_of(self, request: web.BaseRequest) -> str | None:
        """The sha256 of the token of ours that a request came with; None when it came with none of ours."""
        token = token_of(request.headers.get(hdrs.AUTHORIZATION))
        if token is None or not looks_like_ours(token):
            return None
        return hashlib.sha256(token.encode()).hexdigest()

    def still_good(self, sha256: str) -> None:
        """Return when the token of ours with this sha256 may still come in.

        Raises:
            BadToken: it was revoked, or has expired.
        """
        self.caller_by(sha256)

    def signed_in(self, user: str, method: Method = "session", scope: Scope = "admin") -> Caller:
        """Somebody who signed in: their roles say what they may, at most `scope`.

        Raises:
            NotAllowed: they have no role here.
        """
        stand = self._stands.signed_in(user)
        if not stand.is_known:
            raise NotAllowed(f"{user} is known, and has no role in this gateway.")
        return Caller(
            "token",
            user,
            least(stand.scope, scope),
            teams=stand.teams,
            roles=stand.roles,
            by_roles=True,
            method=method,
        )

    def _own(self, token: str) -> Caller:
        return self.caller_by(hashlib.sha256(token.encode()).hexdigest())

    def caller_by(self, sha256: str) -> Caller:
        """Whoever has the token of ours with this sha256.

        Raises:
            BadToken: it is unknown, revoked or expired, or is of somebody who is disabled.
            NotAllowed: it is of somebody who signed in, and has no role any more.
        """
        row = self._tokens.token_by_sha256(sha256)
        now = self._now()
        if (
            row is None
            or row.revoked_at is not None
            or row.disabled
            or (row.expires_at is not None and row.expires_at <= now)
        ):
            raise BadToken("This token is unknown, revoked or expired.")
        if self._last_used is not None:
            self._last_used.note(row.id, now)
        if row.origin == "sign-in":
            return replace(self.signed_in(row.user, "token", row.scope), token_id=row.id, places=row.places)
        stand = self._stands.of(row.user)
        return Caller(
            "token",
            row.user,
            row.scope,
            places=row.places,
            teams=stand.teams,
            roles=stand.roles,
            service=row.service,
            method="token",
            token_id=row.id,
        )

    async def _let_member_in(self, caller: Caller) -> None:
        refusal = NotAllowed(
            "This gateway takes its own tokens only; ask for one made by `moongate token create`."
        )
        if not self._orgs or self._identity is None or caller.credential is None:
            raise refusal
        now = self._now()
        key = caller.credential.fingerprint
        known = self._members.get(key)
        if known is None or now - known[1] >= self._rules.access_ttl_seconds:
            try:
                member = bool(_orgs_in(await self._identity(caller.credential)) & self._orgs)
            except UpstreamError:
                if known is None or now - known[1] >= self._rules.access_grace_seconds:
                    raise
            else:
                if len(self._members) >= _KEPT:
                    self._members.clear()
                known = self._members[key] = (member, now)
        if not known[0]:
            raise refusal

    def _is_ours(self, name: str) -> bool:
        return _is_local_name(name) or name.lower() in self._names

    def _is_trusted(self, remote: str | None) -> bool:
        try:
            address = ipaddress.ip_address(remote or "")
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def _upstream_caller(token: str) -> Caller:
    try:
        secret = Secret(token)
    except UnicodeEncodeError:
        raise BadToken("Invalid credentials in Authorization header") from None
    return Caller("upstream", user=secret.fingerprint[:12], credential=secret, method="hub-token")


def _orgs_in(body: bytes) -> frozenset[str]:
    try:
        answer = orjson.loads(body)
        return frozenset(str(org["name"]).lower() for org in answer.get("orgs", ()))
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise UpstreamBroken("upstream did not say who this token belongs to") from None


def _is_local_name(name: str) -> bool:
    bare = name.strip("[]").lower()
    return bare == "localhost" or bare.endswith(".localhost") or _is_loopback(bare)


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(mapped.is_loopback if mapped else address.is_loopback)
