"""Who is known here, what they were given, and how they are let in: the records of identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from moongate.core.callers import GatewayRole, Scope

AccountKind = Literal["user", "service"]
DeviceState = Literal["waiting", "allowed", "denied"]

EVERYWHERE: Final = "*"
"""The place of roles in the whole gateway."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account. `name` is in lower case. issuer, subject: who vouches for a person, and for whom."""

    name: str
    kind: AccountKind
    issuer: str | None
    subject: str | None
    created_at: float
    seen_at: float | None = None
    disabled_at: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class StandingRow:
    """Who has which role. place: a namespace in lower case, or `*` for the whole gateway.

    subject: `user:alice`, `team:research` or `group:staff`.
    """

    place: str
    subject: str
    role: GatewayRole


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser's session. sha256: of what its cookie holds. account: a name in lower case.

    token_sha256: of the token of ours that was signed in with; None when an issuer vouched.
    """

    sha256: str
    account: str
    token_sha256: str | None
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device that waits until a person allows it. account: who did; empty before."""

    sha256: str
    user_code: str
    expires_at: float
    state: DeviceState = "waiting"
    account: str = ""


@dataclass(frozen=True, slots=True)
class TrustRow:
    """One trust.

    claims: what a token must say of itself, by claim; a value may hold `*`. audience: what it must be made
    for; empty: our own address. algorithm: what it must be signed with.
    user, scope, places: what it gives. ttl_seconds: for how long at most, when exchanged. direct: it is taken
    as it is, too, without an exchange.
    """

    id: str
    issuer: str
    claims: Mapping[str, str] = field(hash=False)
    user: str
    scope: Scope
    places: tuple[str, ...]
    audience: str
    algorithm: str
    ttl_seconds: float
    direct: bool
    created_at: float
    note: str = ""
