"""What the admin API says and takes about trusts, roles, accounts and groups."""

from __future__ import annotations

from pydantic import Field

from moongate.app.admin.models import Model
from moongate.core.accounts import AccountKind
from moongate.core.callers import GatewayRole, Scope

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"
_SUBJECT = r"^(user:|team:|group:/?)[A-Za-z0-9][A-Za-z0-9._@+/ -]*$"


class NewTrust(Model):
    """An issuer whose signed tokens stand for a user here, when they say such things of themselves."""

    issuer: str = Field(min_length=1, max_length=2000, description="as its tokens name it")
    claims: dict[str, str] = Field(description="what a token must say; `*` in a value stands for anything")
    user: str = Field(max_length=96, description="for whom such a token stands")
    scope: Scope = "read"
    places: list[str] = Field(
        default=[], max_length=100, description="what it is bound to: `acme`, `acme/tiny`"
    )
    audience: str = Field(
        default="", max_length=2000, description="whom it must be for; our address when empty"
    )
    algorithm: str = Field(default="RS256", max_length=20)
    ttl_seconds: float = Field(default=3600.0, gt=0, description="how long what it is exchanged for is good")
    direct: bool = Field(default=False, description="it comes in as it is, too, without an exchange")
    note: str = Field(default="", max_length=500)


class Trust(NewTrust):
    id: str
    created_at: float


class Trusts(Model):
    trusts: list[Trust]


class Role(Model):
    """A role of the gateway, or at one namespace."""

    subject: str = Field(
        pattern=_SUBJECT, max_length=220, description="`user:alice`, `team:research` or `group:staff`"
    )
    role: GatewayRole
    namespace: str | None = Field(default=None, max_length=96, description="the whole gateway when null")


class Roles(Model):
    roles: list[Role]


class NewAccount(Model):
    """A service account: a name for tokens that no person has."""

    name: str = Field(min_length=1, max_length=96, pattern=_NAME)
    note: str = Field(default="", max_length=500)


class AccountState(Model):
    """Whether an account may come in at all."""

    name: str = Field(min_length=1, max_length=96)
    disabled: bool


class Account(Model):
    """Somebody who signed in, or a service account."""

    name: str
    kind: AccountKind
    issuer: str | None
    subject: str | None
    created_at: float
    seen_at: float | None
    disabled_at: float | None
    note: str
    groups: list[str] = Field(description="as the issuer told at the last sign-in")
    teams: list[str]
    roles: list[str]


class Accounts(Model):
    accounts: list[Account]


class GroupTeam(Model):
    """A group of an issuer, and a team that everybody in it is in."""

    group: str = Field(min_length=1, max_length=200)
    team: str = Field(min_length=1, max_length=96, pattern=_NAME)


class GroupTeams(Model):
    groups: list[GroupTeam]
