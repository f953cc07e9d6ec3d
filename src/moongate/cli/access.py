"""`moongate access` and `moongate team`: who may do what with what is hosted here."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.recording import written
from moongate.cli.terminal import Column, put_json, put_table, say

access_group = typer.Typer(
    help="Give users and teams roles at hosted namespaces and repositories.", rich_markup_mode=None
)
team_group = typer.Typer(help="Teams of users, for roles.", rich_markup_mode=None)

_SUBJECT = re.compile(r"(user:|team:|group:/?)[A-Za-z0-9][A-Za-z0-9._@+/ -]{0,199}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,95}")

_Place = Annotated[
    str,
    typer.Argument(
        metavar="PLACE", help="A namespace or a repository: acme, acme/tiny, datasets/acme/squad."
    ),
]
_Subject = Annotated[str, typer.Argument(metavar="WHO", help="user:alice, team:research or group:staff.")]
_Team = Annotated[str, typer.Argument(metavar="TEAM", help="The team's name.")]
_User = Annotated[str, typer.Argument(metavar="USER", help="A user's name, as `token create --user` had it.")]


class RoleWord(StrEnum):
    """What somebody may do; each includes the one before."""

    read = "read"
    write = "write"
    admin = "admin"


def register(app: typer.Typer) -> None:
    app.add_typer(access_group, name="access")
    app.add_typer(team_group, name="team")


@access_group.command("add")
def add(
    place: _Place,
    who: _Subject,
    role: Annotated[
        RoleWord, typer.Option(help="read, write, or admin: also delete and move.")
    ] = RoleWord.read,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Give a user or a team a role at a namespace or with a repository, in place of another one.

    A private repository is for its creator and for those with a role. A namespace in which anybody has a
    role belongs to those who have one.

    \b
    Examples:
      moongate access add acme/secret team:research
      moongate access add acme user:alice --role write
    """
    subject = _subject(who)
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("POST", "/access", {"place": place, "subject": subject, "role": role.value})
    else:
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            open_hosted(house).places.allow(place, subject, role.value)
            written(house, "access.grant", subject=place, details={"who": subject, "role": role.value})
    if as_json:
        put_json({"place": place, "subject": subject, "role": role.value})
    else:
        say(f"{subject} has the role {role.value} at {place}")


@access_group.command("list")
def list_access(
    place: Annotated[str | None, typer.Argument(metavar="[PLACE]", help="Only there.")] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List who has which role where.

    \b
    Examples:
      moongate access list
      moongate access list acme/secret
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        query = f"?{urlencode({'place': place})}" if place else ""
        found = [
            (str(row["place"]), str(row["subject"]), str(row["role"]))
            for row in rows(gateway.ask("GET", f"/access{query}"), "access")
        ]
    else:
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            found = [(where, who, str(role)) for where, who, role in open_hosted(house).places.access(place)]
    if as_json:
        put_json({"access": [{"place": where, "subject": who, "role": role} for where, who, role in found]})
        return
    put_table([Column("place"), Column("who"), Column("role")], [list(row) for row in found])
    if not found:
        say("nobody has a role")


@access_group.command("remove")
def remove(place: _Place, who: _Subject, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take a role back; from the next request on it no longer counts.

    \b
    Examples:
      moongate access remove acme/secret team:research
    """
    subject = _subject(who)
    gateway = chosen_gateway(home)
    if gateway is not None:
        query = urlencode({"place": place, "subject": subject})
        removed = bool(gateway.ask("DELETE", f"/access?{query}").get("removed"))
    else:
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            removed = open_hosted(house).places.disallow(place, subject)
            if removed:
                written(house, "access.revoke", subject=place, details={"who": subject})
    if not removed:
        raise CommandFailed(f"{subject} has no role at {place}", hint="`moongate access list` shows all")
    if as_json:
        put_json({"place": place, "subject": subject, "removed": True})
    else:
        say(f"{subject} has no role at {place} any more")


@team_group.command("add")
def add_member(team: _Team, user: _User, home: options.Home = None, as_json: options.Json = False) -> None:
    """Put a user into a team, which begins with its first member.

    \b
    Examples:
      moongate team add research alice
    """
    _check_names(team, user)
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("POST", "/teams", {"team": team, "user": user})
    else:
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import load_settings, open_house

        with open_house(load_settings(home=home)) as house:
            open_hosted(house).places.join(team, user)
            written(house, "access.grant", subject=team, details={"user": user})
    if as_json:
        put_json({"team": team, "user": user})
    else:
        say(f"{user} is in {team}")


@team_group.command("list")
def list_teams(home: options.Home = None, as_json: options.Json = False) -> None:
    """List teams and their members.

    \b
    Examples:
      moongate team list
    """
    teams = _teams(home)
    if as_json:
        put_json({"teams": [{"team": team, "members": members} for team, members in teams]})
        return
    put_table([Column("team"), Column("members")], [[team, " ".join(members)] for team, members in teams])
    if not teams:
        say("no teams")


@team_group.command("remove")
def remove_member(team: _Team, user: _User, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take a user out of a team; from the next request on its roles are not theirs.

    \b
    Examples:
      moongate team remove research alice
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        query = urlencode({"team": team, "user": user})
        removed = bool(gateway.ask("DELETE", f"/teams?{query}").get("removed"))
    else:
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            removed = open_hosted(house).places.leave(team, user)
            if removed:
                written(house, "access.revoke", subject=team, details={"user": user})
    if not removed:
        raise CommandFailed(f"{user} is not in {team}", hint="`moongate team list` shows who is")
    if as_json:
        put_json({"team": team, "user": user, "removed": True})
    else:
        say(f"{user} is no longer in {team}")


def _teams(home: Path | None) -> list[tuple[str, list[str]]]:
    gateway = chosen_gateway(home)
    if gateway is not None:
        found = []
        for row in rows(gateway.ask("GET", "/teams"), "teams"):
            members = row.get("members")
            found.append(
                (str(row["team"]), [str(one) for one in members] if isinstance(members, list) else [])
            )
        return found
    from moongate.app.wiring.hosted import open_hosted
    from moongate.cli.house import open_home

    with open_home(home) as house:
        return list(open_hosted(house).places.teams().items())


def _subject(text: str) -> str:
    if not _SUBJECT.fullmatch(text):
        raise wrong_usage(
            f"not a user, a team or a group: {text!r}", hint="write user:alice, team:research or group:staff"
        )
    return text


def _check_names(team: str, user: str) -> None:
    for name in (team, user):
        if not _NAME.fullmatch(name):
            raise wrong_usage(
                f"not a name: {name!r}; it has 1 to 96 letters, digits and . _ @ + -, a letter or digit first"
            )
