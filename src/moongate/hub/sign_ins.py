"""People who sign in with an OpenID Connect issuer: the code flow with PKCE.

    begin   where to send the browser, and what it has to bring back (`Pending`; it goes into a sealed cookie)
    finish  who came back: the state is ours and unused, the code is exchanged, the ID token checked (issuer,
            audience, nonce, algorithm), the user named, their groups written down

A user is whom the issuer calls `sub`; the name that the ID token tells is taken at their first sign-in, when
it is nobody's yet and no namespace that lives here, and stays. An address counts when the issuer verified it.
What the ID token does not say, its userinfo endpoint is asked.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from moongate.core.accounts import AccountRow
from moongate.core.callers import Secret
from moongate.core.errors import BadRequest, Conflict, MoongateError, NotAllowed, UpstreamBroken
from moongate.hub.issuers import Issuers
from moongate.wire.id_tokens import KEY_TYPES, Claims, Expected
from moongate.wire.oidc import Metadata, authorization_url

PENDING_SECONDS: Final = 600.0

_USER = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,95}")
_MAX_GROUPS = 500
_MAX_GROUP_CHARS = 200


class PeopleIndex(Protocol):
    """What this room needs of the index."""

    def sign_in(self, issuer: str, subject: str, name: str, groups: Collection[str], now: float) -> str: ...
    def account(self, name: str) -> AccountRow | None: ...
    def spend(self, word: str, expires_at: float) -> bool: ...


class NotSignedIn(NotAllowed):
    """Somebody could not sign in; the message says why."""


@dataclass(frozen=True, slots=True)
class SignInRules:
    """Which issuer, what it calls us, and what of its tokens is a user's name and groups."""

    issuer: str
    client_id: str
    client_secret: Secret | None = None
    user_claim: str = "email"
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in that was begun. after: where to go then, a path of ours."""

    state: str
    nonce: str
    verifier: str
    after: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in."""

    account: str
    subject: str
    groups: tuple[str, ...]


class SignIns:
    """Begins and finishes sign-ins."""

    def __init__(
        self,
        rules: SignInRules,
        issuers: Issuers,
        index: PeopleIndex,
        clock: Callable[[], float],
        is_namespace: Callable[[str], bool],
    ) -> None:
        """is_namespace: whether a name is a namespace's that lives here, whose owner nobody may become so."""
        self.rules = rules
        self._issuers = issuers
        self._index = index
        self._clock = clock
        self._is_namespace = is_namespace

    async def begin(self, redirect_uri: str, after: str) -> tuple[str, Pending]:
        """Where to send the browser, and what it must bring back.

        Raises:
            UpstreamError: the issuer cannot be asked.
        """
        metadata = await self._issuers.metadata(self.rules.issuer)
        if not metadata.authorization_endpoint or not metadata.token_endpoint:
            raise UpstreamBroken("nobody can sign in at this issuer")
        pending = Pending(
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(48),
            after,
            self._clock() + PENDING_SECONDS,
        )
        url = authorization_url(
            metadata,
            client_id=self.rules.client_id,
            redirect_uri=redirect_uri,
            state=pending.state,
            nonce=pending.nonce,
            verifier=pending.verifier,
        )
        return url, pending

    async def finish(self, answer: Mapping[str, str], pending: Pending, redirect_uri: str) -> Person:
        """Who came back with this answer.

        Raises:
            NotSignedIn: nobody whom we let in.
            UpstreamError: the issuer cannot be asked.
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), pending.state.encode()):
            raise NotSignedIn("this sign-in was begun elsewhere; begin again")
        if pending.expires_at <= self._clock():
            raise NotSignedIn("this sign-in took too long; begin again")
        metadata = await self._issuers.metadata(self.rules.issuer)
        self._check_issuer(answer, metadata)
        if "error" in answer or not answer.get("code"):
            raise NotSignedIn(f"the issuer let nobody in ({_word(answer.get('error', 'no code'))})")
        if not await asyncio.to_thread(self._index.spend, f"state {pending.state}", pending.expires_at):
            raise NotSignedIn("this sign-in was used already; begin again")
        tokens = await self._exchange(metadata, answer["code"], pending.verifier, redirect_uri)
        claims = await self._claims(metadata, tokens, pending.nonce)
        return await self._known(await self._with_userinfo(metadata, tokens, claims))

    def _check_issuer(self, answer: Mapping[str, str], metadata: Metadata) -> None:
        named = answer.get("iss")
        if (named is None and metadata.names_itself) or (named is not None and named != self.rules.issuer):
            raise NotSignedIn("the answer is not of the issuer that was asked")

    async def _exchange(
        self, metadata: Metadata, code: str, verifier: str, redirect_uri: str
    ) -> Mapping[str, Any]:
        rules = self.rules
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": rules.client_id,
        }
        authorization = None
        if rules.client_secret is not None:
            ways = metadata.authentications
            if "client_secret_post" in ways and "client_secret_basic" not in ways:
                form["client_secret"] = rules.client_secret.reveal()
            else:
                pair = f"{quote(rules.client_id, safe='')}:{quote(rules.client_secret.reveal(), safe='')}"
                authorization = Secret("Basic " + b64encode(pair.encode()).decode())
        status, told = await self._issuers.ask(rules.issuer, metadata.token_endpoint, form, authorization)
        if not isinstance(told, dict):
            raise UpstreamBroken("the issuer's answer makes no sense")
        if status != 200:
            raise NotSignedIn(f"the issuer gave no token ({_word(told.get('error', status))})")
        return told

    async def _claims(self, metadata: Metadata, tokens: Mapping[str, Any], nonce: str) -> Claims:
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise NotSignedIn("the issuer told nobody's name")
        return await self._issuers.claims(
            id_token,
            Expected(
                self.rules.issuer,
                self.rules.client_id,
                _algorithm(metadata),
                nonce=nonce,
                azp=self.rules.client_id,
            ),
        )

    async def _with_userinfo(self, metadata: Metadata, tokens: Mapping[str, Any], claims: Claims) -> Claims:
        """What the ID token says, and what it does not as the userinfo endpoint tells it."""
        wanted = {self.rules.user_claim, self.rules.groups_claim}
        access_token = tokens.get("access_token")
        if wanted <= set(claims) or not metadata.userinfo_endpoint or not isinstance(access_token, str):
            return claims
        bearer = Secret(f"Bearer {access_token}")
        status, told = await self._issuers.ask(
            self.rules.issuer, metadata.userinfo_endpoint, authorization=bearer
        )
        if status != 200 or not isinstance(told, dict) or told.get("sub") != claims["sub"]:
            raise NotSignedIn("the issuer tells of somebody else than who signed in")
        return {**told, **claims}

    async def _known(self, claims: Claims) -> Person:
        name = self._name(claims)
        groups = _groups(claims.get(self.rules.groups_claim))
        subject = str(claims["sub"])
        known = await asyncio.to_thread(self._index.account, name)
        if known is None and self._is_namespace(name):
            raise NotSignedIn(f"{name} is a namespace here, so nobody can be called so")
        try:
            account = await asyncio.to_thread(
                self._index.sign_in, self.rules.issuer, subject, name, groups, self._clock()
            )
        except Conflict as error:
            raise NotSignedIn(error.message) from error
        row = await asyncio.to_thread(self._index.account, account)
        if row is None or row.disabled_at is not None or row.kind != "user":
            raise NotSignedIn(f"{account} may not sign in here")
        return Person(account, subject, groups)

    def _name(self, claims: Claims) -> str:
        claim = self.rules.user_claim
        value = claims.get(claim)
        if not isinstance(value, str) or not _USER.fullmatch(value.lower()):
            raise NotSignedIn(f"the issuer's token has no {_word(claim)} that could be a user's name")
        if claim == "email" and claims.get("email_verified") not in (True, "true"):
            raise NotSignedIn("the issuer did not verify this address")
        return value.lower()


def check_rules(rules: SignInRules) -> None:
    """Return when people can sign in with these.

    Raises:
        BadRequest: something is missing.
    """
    if not rules.client_id:
        raise BadRequest("oidc_issuer is set, and oidc_client_id is not")


def reason_of(error: MoongateError) -> str:
    """Why somebody could not sign in, for the page that says so."""
    return error.message[:1].upper() + error.message[1:] + "."


def _algorithm(metadata: Metadata) -> str:
    """What the issuer signs with: RS256 wherever it can, since everybody must."""
    known = [name for name in KEY_TYPES if name in metadata.algorithms]
    return known[0] if known else "RS256"


def _groups(value: object) -> tuple[str, ...]:
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list):
        return ()
    fit = {one for one in named if isinstance(one, str) and 0 < len(one) <= _MAX_GROUP_CHARS}
    return tuple(sorted(fit)[:_MAX_GROUPS])


def _word(value: object) -> str:
    """An issuer's word for what is wrong, harmless wherever it is shown."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", str(value))[:40] or "no reason"
