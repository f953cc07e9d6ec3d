"""Whose signed tokens stand for whom here: workloads that need no secret of ours.

A trust names an issuer, what its tokens must say of themselves, and what that is worth: a user's name, a
scope, places. A claim is compared as a text; `*` in what is wanted stands for anything. Where a condition is
on `email`, the issuer has to say that it verified the address.

A token is exchanged for one of ours (RFC 8693), for what it asks to be good for, within what the trust gives;
where a trust is `direct`, the token itself comes in, too.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from moongate.core.accounts import AccountRow, TrustRow
from moongate.core.callers import Scope, place_holds
from moongate.core.errors import BadName, BadRequest, NotAllowed
from moongate.core.names import RepoId, is_repo_segment, parse_repo
from moongate.hub.issuers import Issuers
from moongate.wire.id_tokens import KEY_TYPES, BadIdToken, Claims, Expected, issuer_of
from moongate.wire.oidc import check_issuer

MAX_TTL_SECONDS: Final = 86_400.0
USUAL_TTL_SECONDS: Final = 3600.0

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,95}")
_HOLD_SECONDS = 2.0


class TrustIndex(Protocol):
    """What this room needs of the index."""

    def trusts(self) -> list[TrustRow]: ...
    def put_trust(self, row: TrustRow) -> None: ...
    def drop_trust(self, trust_id: str) -> bool: ...
    def account(self, name: str) -> AccountRow | None: ...


class TargetRefused(NotAllowed):
    """The token is good, and no trust of it gives what it asks to be good for."""


@dataclass(frozen=True, slots=True)
class NewTrust:
    """A trust to be made; see `core.accounts.TrustRow`."""

    issuer: str
    claims: Mapping[str, str]
    user: str
    scope: Scope = "read"
    places: tuple[str, ...] = ()
    audience: str = ""
    algorithm: str = "RS256"
    ttl_seconds: float = USUAL_TTL_SECONDS
    direct: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """What a token is worth. trust_id: by which trust. subject: whom the issuer says it is about."""

    trust_id: str
    issuer: str
    subject: str
    user: str
    scope: Scope
    places: tuple[str, ...]
    ttl_seconds: float
    expires_at: float


class Trusts:
    """Makes, keeps and applies trusts."""

    def __init__(self, index: TrustIndex, issuers: Issuers, clock: Callable[[], float]) -> None:
        self._index = index
        self._issuers = issuers
        self._clock = clock
        self._rows: list[TrustRow] = []
        self._until = float("-inf")

    def rows(self) -> list[TrustRow]:
        """Every trust."""
        return self._index.trusts()

    def add(self, wanted: NewTrust) -> TrustRow:
        """Trust an issuer's tokens that say such things.

        Raises:
            BadRequest: it makes no sense, or would trust everybody whom the issuer knows.
        """
        row = new_trust(wanted, self._clock())
        self._index.put_trust(row)
        self._until = float("-inf")
        return row

    def remove(self, trust_id: str) -> bool:
        """Trust no more; whether there was such a trust. Tokens that were exchanged stay until they end."""
        removed = self._index.drop_trust(trust_id)
        self._until = float("-inf")
        return removed

    def comes_in(self, user: str) -> bool:
        """Whether nobody disabled the account of this name, if there is one. A point read."""
        account = self._index.account(user)
        return account is None or account.disabled_at is None

    async def direct(self, token: str, own_address: str) -> Given:
        """What a token is worth that comes in as it is.

        Raises:
            BadIdToken: nothing: it is not right, or nobody trusts it.
            UpstreamError: its issuer cannot be asked.
        """
        found = await self._worth(token, own_address, direct=True)
        return found[0]

    async def exchanged(self, token: str, own_address: str, resource: str | None) -> Given:
        """What a token is worth in exchange, for a repository, a user's name, or for all that it may.

        Raises:
            BadIdToken: nothing: it is not right, or nobody trusts it.
            TargetRefused: it is right, and not for this.
            UpstreamError: its issuer cannot be asked.
        """
        found = await self._worth(token, own_address)
        if resource is None:
            return found[0]
        for given in found:
            bound = _bound_to(given, resource)
            if bound is not None:
                return bound
        raise TargetRefused("no trust of this token gives what it asks to be good for")

    async def _worth(self, token: str, own_address: str, *, direct: bool = False) -> list[Given]:
        """By every trust that fits, the oldest first; never empty."""
        issuer = issuer_of(token)
        rows = [
            row
            for row in self._lately()
            if row.issuer == issuer and (row.direct or not direct) and self.comes_in(row.user)
        ]
        if not rows:
            raise BadIdToken("nobody here trusts the issuer of this token")
        found: list[Given] = []
        wrong: BadIdToken | None = None
        checked: dict[tuple[str, str], Claims | BadIdToken] = {}
        for row in rows:
            how = (row.audience or own_address, row.algorithm)
            if how not in checked:
                checked[how] = await self._claims(token, Expected(issuer, *how))
            claims = checked[how]
            if isinstance(claims, BadIdToken):
                wrong = claims
            elif all(_says(claims, name, wanted) for name, wanted in row.claims.items()):
                found.append(_given(row, claims))
        if not found:
            raise wrong or BadIdToken("the token is right, and no trust is for what it says of itself")
        return found

    async def _claims(self, token: str, expected: Expected) -> Claims | BadIdToken:
        if not expected.audience:
            return BadIdToken("this gateway does not know its own address; set public_url to it")
        try:
            return await self._issuers.claims(token, expected)
        except BadIdToken as error:
            return error

    def _lately(self) -> list[TrustRow]:
        now = self._clock()
        if now >= self._until:
            self._rows, self._until = self._index.trusts(), now + _HOLD_SECONDS
        return self._rows


def new_trust(wanted: NewTrust, now: float) -> TrustRow:
    """A trust as it is kept.

    Raises:
        BadRequest: it makes no sense, or would trust everybody whom the issuer knows.
    """
    if not wanted.claims or all(set(value) <= {"*"} for value in wanted.claims.values()):
        raise BadRequest("a trust without a claim is for everybody whom the issuer knows; name one")
    if not _USER.fullmatch(wanted.user):
        raise BadRequest("a user's name is 1 to 96 letters, digits and . _ @ + -, a letter or digit first")
    if wanted.algorithm not in KEY_TYPES:
        raise BadRequest(f"not an algorithm: {wanted.algorithm[:20]} (one of {', '.join(KEY_TYPES)})")
    if wanted.scope == "admin" and wanted.places:
        raise BadRequest("an administrator is bound to no place")
    if not 0 < wanted.ttl_seconds <= MAX_TTL_SECONDS:
        raise BadRequest("an exchanged token is good for a day at most")
    return TrustRow(
        secrets.token_hex(4),
        check_issuer(wanted.issuer),
        dict(wanted.claims),
        wanted.user,
        wanted.scope,
        tuple(check_place(place) for place in wanted.places),
        wanted.audience,
        wanted.algorithm,
        wanted.ttl_seconds,
        wanted.direct,
        now,
        wanted.note,
    )


def check_place(text: str) -> str:
    """A namespace or a repository that a token may be bound to, in lower case.

    Raises:
        BadName: it is none.
    """
    if "/" not in text:
        if not is_repo_segment(text):
            raise BadName(f"not a namespace: {text[:60]!r}")
        return text.lower()
    return str(parse_repo(text)).lower()


def _given(row: TrustRow, claims: Claims) -> Given:
    return Given(
        row.id,
        row.issuer,
        str(claims["sub"]),
        row.user,
        row.scope,
        row.places,
        row.ttl_seconds,
        float(claims["exp"]),
    )


def _bound_to(given: Given, resource: str) -> Given | None:
    """The same for one repository, or to read as a user; None: it is not for that."""
    if "/" not in resource:
        if resource.lower() != given.user.lower():
            return None
        return _with(given, "read", given.places)
    try:
        repo = parse_repo(resource)
    except BadName:
        return None
    if given.places and not any(place_holds(place, repo) for place in given.places):
        return None
    scope: Scope = "write" if given.scope == "admin" else given.scope
    return _with(given, scope, (_place_of(repo),))


def _place_of(repo: RepoId) -> str:
    return str(repo).lower()


def _with(given: Given, scope: Scope, places: tuple[str, ...]) -> Given:
    return Given(
        given.trust_id,
        given.issuer,
        given.subject,
        given.user,
        scope,
        places,
        given.ttl_seconds,
        given.expires_at,
    )


def _says(claims: Claims, name: str, wanted: str) -> bool:
    """Whether a token says this of itself."""
    if name == "email" and claims.get("email_verified") not in (True, "true"):
        return False
    value: Any = claims.get(name)
    values = value if isinstance(value, list) else [value]
    pattern = re.compile(".*".join(re.escape(piece) for piece in wanted.split("*")), re.DOTALL)
    return any(pattern.fullmatch(text) for one in values if (text := _text_of(one)) is not None)


def _text_of(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None
