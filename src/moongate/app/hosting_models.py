"""What the admin API says and takes about namespaces, teams and access."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from moongate.app.admin_models import Model

Role = Literal["read", "write", "admin"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"


class NewNamespace(Model):
    name: str = Field(min_length=1, max_length=96)


class Namespace(Model):
    """A namespace whose repositories live here."""

    name: str
    repos: int = Field(description="how many repositories it has")
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
        description="`user:alice` or `team:research`",
        pattern=r"^(user|team):[A-Za-z0-9][A-Za-z0-9._@+-]*$",
        max_length=110,
    )
    role: Role = "read"


class Accesses(Model):
    access: list[Access]
