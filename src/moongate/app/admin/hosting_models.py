"""What the admin API says and takes about namespaces, teams and access."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from moongate.app.admin.models import Model

Role = Literal["read", "write", "admin"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"


class NewNamespace(Model):
    name: str = Field(min_length=1, max_length=96)


class NewLimits(Model):
    """New limits of a namespace: 0 takes one away, and what is not named stays as it is."""

    name: str = Field(min_length=1, max_length=96)
    quota_bytes: int | None = Field(None, ge=0, lt=1 << 62, description="what its repositories may take up")
    quota_repos: int | None = Field(None, ge=0, lt=1 << 31, description="how many repositories it may have")
    keep_revisions: int | None = Field(
        None, ge=0, lt=1 << 31, description="of how many commits of a branch large files are kept"
    )
    private_by_default: int | None = Field(
        None, ge=0, le=1, description="1: new repositories are private unless told otherwise"
    )


class Limits(Model):
    """The limits of a namespace; null where there is none."""

    quota_bytes: int | None
    quota_repos: int | None
    keep_revisions: int | None
    private_by_default: int | None


class Namespace(Limits):
    """A namespace whose repositories live here, and its limits."""

    name: str
    repos: int = Field(description="how many repositories it has")
    used_bytes: int = Field(description="what they take up in all revisions, each content once")
    declared: bool = Field(description="by the setting hosted_namespaces, not by the admin API")
    open: bool = Field(description="nobody has a role there, so whoever may write may create there")


class Namespaces(Model):
    namespaces: list[Namespace]


class Added(Model):
    added: bool = Field(description="false: it was so already")


class Member(Model):
    """A user in a team."""

    team: str = Field(min_length=1, max_length=96, pattern=_NAME)
    user: str = Field(min_length=1, max_length=96, pattern=_NAME)


class Team(Model):
    team: str
    members: list[str]


class Teams(Model):
    teams: list[Team]


class Access(Model):
    """What a user or a team may do at a namespace or with a repository."""

    place: str = Field(
        description="`acme`, `acme/tiny` or `datasets/acme/squad`", min_length=1, max_length=200
    )
    subject: str = Field(
        description="`user:alice`, `team:research` or `group:staff`",
        pattern=r"^(user:|team:|group:/?)[A-Za-z0-9][A-Za-z0-9._@+/ -]*$",
        max_length=220,
    )
    role: Role = "read"


class Accesses(Model):
    access: list[Access]
