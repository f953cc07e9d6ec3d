"""Who asks: a secret that cannot be printed, and a caller."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from moongate.core.names import RepoId

Scope = Literal["read", "write", "admin"]

GatewayRole = Literal["reader", "publisher", "approver", "admin"]
"""What somebody may do in the gateway as a whole; see `hub.standing`."""

Method = Literal["nothing", "token", "session", "id-token", "hub-token"]
"""How somebody showed who they are: a token of ours, a browser's session, a signed token of a trusted issuer
(brought along as it is), or a Hub token, which upstream judges."""

TokenOrigin = Literal["", "sign-in", "exchange"]
"""Where a token of ours comes from: an administrator made it; whom it is of made it after signing in; an
issuer's signed token was exchanged for it."""


class Secret:
    """A token that shows itself only to those who call `reveal`; every printed form is redacted."""

    __slots__ = ("_fingerprint", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._fingerprint = hashlib.sha256(value.encode()).hexdigest()[:32]

    def reveal(self) -> str:
        return self._value

    @property
    def fingerprint(self) -> str:
        """128 bits of sha256, hex: fit for keys and rows, useless for logging in."""
        return self._fingerprint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._fingerprint)

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the door found out.

    kind: `anonymous` (`scope` says whether as the user of this very machine);
    `token` (one of ours; `user` and `scope` say whose and for what);
    `upstream` (a Hub token passed through; `credential` holds it, `user` is its fingerprint until
    upstream told the name).
    places: the namespaces and repositories (`acme`, `acme/tiny`, `datasets/acme/rows`) that a token is bound
    to; empty: to none. Elsewhere it only reads, and only what everybody may.
    teams, roles: of the user. Roles of the whole gateway are one word, those at a namespace `approver@acme`.
    by_roles: nothing but roles lets them write: they signed in, and no administrator made them a token.
    service: they are no person. token_id: of the token of ours they came with. method: how they came.
    """

    kind: Literal["anonymous", "token", "upstream"]
    user: str = "anonymous"
    scope: Scope = "read"
    credential: Secret | None = None
    places: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    by_roles: bool = False
    service: bool = False
    method: Method = field(default="nothing", compare=False)
    token_id: str = field(default="", compare=False)

    @property
    def is_operator(self) -> bool:
        """Whether they may do everything with what is hosted here."""
        return self.scope == "admin"

    def reaches(self, repo: RepoId) -> bool:
        """Whether this repository is within what their token is bound to."""
        return not self.places or any(place_holds(place, repo) for place in self.places)

    def reaches_namespace(self, name: str) -> bool:
        """Whether a whole namespace is within what their token is bound to."""
        return not self.places or name.lower() in self.places

    @property
    def may_approve(self) -> bool:
        """Whether they may decide about anything that was held."""
        named = any(role.partition("@")[0] == "approver" for role in self.roles)
        return self.is_operator or (named and self.scope != "read")

    def approves(self, namespace: str) -> bool:
        """Whether they may decide about what was held of this namespace."""
        if self.is_operator:
            return True
        named = "approver" in self.roles or f"approver@{namespace.lower()}" in self.roles
        return named and self.scope != "read" and self.reaches_namespace(namespace)

    @property
    def key(self) -> str:
        """What access and per-caller answers are remembered under."""
        if self.credential is not None:
            return f"upstream:{self.credential.fingerprint}"
        if self.kind != "token":
            return "anonymous"
        return f"token:{self.user}" if not self.places else f"token:{self.user}@{' '.join(self.places)}"


ANONYMOUS = Caller("anonymous")

LOCAL_USER = Caller("anonymous", scope="admin")
"""Whoever sits at this machine, while only this machine can reach us."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One of this gateway's tokens. Only its sha256 is kept.

    service, disabled: what is known of whom it is of; the token of who is disabled is worth nothing.
    last_used_at: about when; within a minute or so.
    """

    id: str
    sha256: str
    user: str
    scope: Scope
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    note: str = ""
    origin: TokenOrigin = ""
    places: tuple[str, ...] = ()
    last_used_at: float | None = None
    service: bool = False
    disabled: bool = False


def place_holds(place: str, repo: RepoId) -> bool:
    """Whether a repository is in a namespace, or is the repository, that a place names; in any case."""
    if "/" not in place:
        return repo.namespace.lower() == place.lower()
    return str(repo).lower() == place.lower()
