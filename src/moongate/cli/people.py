"""`moongate role`, `service-account`, `user` and `group`: who is who, and what they may in the gateway.

On a home of this machine straight in its index; with MOONGATE_URL through that gateway's admin API.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.recording import written
from moongate.cli.terminal import Column, put_json, put_table, say
from moongate.cli.times import ago

if TYPE_CHECKING:
    from moongate.app.wiring.stock import Stock
    from moongate.hub.people import People, RoleGiven

role_group = typer.Typer(help="Roles in the gateway, or at one namespace.", rich_markup_mode=None)
service_group = typer.Typer(help="Names for tokens that no person has.", rich_markup_mode=None)
user_group = typer.Typer(help="People who signed in.", rich_markup_mode=None)
group_group = typer.Typer(help="Have groups of an issuer be in teams.", rich_markup_mode=None)

_SUBJECT = re.compile(r"(user:|team:|group:/?)[A-Za-z0-9][A-Za-z0-9._@+/ -]{0,199}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,95}")

_Subject = Annotated[str, typer.Argument(metavar="WHO", help="user:alice, team:research or group:staff.")]
_Namespace = Annotated[str | None, typer.Option(help="Only there, instead of the whole gateway.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]


class GatewayRoleWord(StrEnum):
    """What somebody may do."""

    reader = "reader"
    publisher = "publisher"
    approver = "approver"
    admin = "admin"


_Role = Annotated[
    GatewayRoleWord, typer.Argument(metavar="ROLE", help="reader, publisher, approver or admin.")
]


def register(app: typer.Typer) -> None:
    app.add_typer(role_group, name="role")
    app.add_typer(service_group, name="service-account")
    app.add_typer(user_group, name="user")
    app.add_typer(group_group, name="group")


@role_group.command("add")
def add_role(
    role: _Role,
    who: _Subject,
    namespace: _Namespace = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Give a user, a team or a group a role, beside others they have.

    reader comes in; publisher also writes wherever nobody was given a role; approver decides about what
    policy held; admin does everything. At a namespace, reader, publisher and admin are `moongate access`
    to it.

    \b
    Examples:
      moongate role add approver team:security
      moongate role add publisher group:ml-engineers
      moongate role add approver user:alice --namespace acme
    """
    given = _given(role, who, namespace)
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("POST", "/roles", {"subject": who, "role": role.value, "namespace": namespace})
    else:
        with _people(home) as (people, house):
            people.give(given)
            written(house, "access.grant", subject=who, details=_role_told(given))
    if as_json:
        put_json({"subject": who, "role": role.value, "namespace": namespace})
    else:
        say(f"{who} is {role.value} {_where(namespace)}")


@role_group.command("list")
def list_roles(home: options.Home = None, as_json: options.Json = False) -> None:
    """List who has which role.

    \b
    Examples:
      moongate role list
    """
    gateway = chosen_gateway(home)
    found: list[tuple[str, str, str | None]]
    if gateway is not None:
        found = [
            (str(row["subject"]), str(row["role"]), str(row["namespace"]) if row["namespace"] else None)
            for row in rows(gateway.ask("GET", "/roles"), "roles")
        ]
    else:
        with _people(home) as (people, _):
            found = [(one.subject, one.role, one.namespace) for one in people.roles()]
    if as_json:
        put_json(
            {"roles": [{"subject": who, "role": role, "namespace": where} for who, role, where in found]}
        )
        return
    put_table(
        [Column("who"), Column("role"), Column("where")],
        [[who, role, where or "everywhere"] for who, role, where in found],
    )
    if not found:
        say("nobody has a role")


@role_group.command("remove")
def remove_role(
    role: _Role,
    who: _Subject,
    namespace: _Namespace = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Take a role back; within moments it no longer counts.

    \b
    Examples:
      moongate role remove approver team:security
    """
    given = _given(role, who, namespace)
    gateway = chosen_gateway(home)
    if gateway is not None:
        query = {"subject": who, "role": role.value, **({"namespace": namespace} if namespace else {})}
        removed = bool(gateway.ask("DELETE", f"/roles?{urlencode(query)}").get("removed"))
    else:
        with _people(home) as (people, house):
            removed = people.take(given)
            if removed:
                written(house, "access.revoke", subject=who, details=_role_told(given))
    if not removed:
        raise CommandFailed(f"{who} is no {role.value} {_where(namespace)}", hint="see `moongate role list`")
    if as_json:
        put_json({"subject": who, "role": role.value, "namespace": namespace, "removed": True})
    else:
        say(f"{who} is no {role.value} {_where(namespace)} any more")


@service_group.command("create")
def create_service(
    name: _Name,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Make a service account: a name that tokens can have, and no person who signs in.

    \b
    Examples:
      moongate service-account create trainer --note "the nightly training"
      moongate token create --user trainer --scope write --namespace acme --expires 90d
    """
    if not _NAME.fullmatch(name):
        raise wrong_usage("a name is 1 to 96 letters, digits and . _ @ + -, a letter or digit first")
    gateway = chosen_gateway(home)
    if gateway is not None:
        made = str(gateway.ask("POST", "/accounts", {"name": name, "note": note})["name"])
    else:
        with _people(home) as (people, house):
            made = people.add_service(name, note).name
            written(house, "account.create", subject=made, details={"note": note})
    if as_json:
        put_json({"name": made, "note": note})
    else:
        say(f"{made} is a service account; `moongate token create --user {made}` makes it a token")


@service_group.command("list")
def list_services(home: options.Home = None, as_json: options.Json = False) -> None:
    """List service accounts.

    \b
    Examples:
      moongate service-account list
    """
    _list_accounts("service", home, as_json=as_json)


@service_group.command("disable")
def disable_service(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Make every token of a service account worthless, at once.

    \b
    Examples:
      moongate service-account disable trainer
    """
    _set_disabled(name, home, disabled=True, as_json=as_json)


@service_group.command("enable")
def enable_service(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take a disabling back.

    \b
    Examples:
      moongate service-account enable trainer
    """
    _set_disabled(name, home, disabled=False, as_json=as_json)


@user_group.command("list")
def list_users(home: options.Home = None, as_json: options.Json = False) -> None:
    """List people who signed in, with their groups, teams and roles.

    \b
    Examples:
      moongate user list
      moongate user list --json | jq '.accounts[] | select(.groups == [])'
    """
    _list_accounts("user", home, as_json=as_json)


@user_group.command("disable")
def disable_user(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """End every session of somebody and make their tokens worthless, at once; they cannot sign in again.

    \b
    Examples:
      moongate user disable mallory@acme.example
    """
    _set_disabled(name, home, disabled=True, as_json=as_json)


@user_group.command("enable")
def enable_user(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take a disabling back; sessions that it ended stay ended.

    \b
    Examples:
      moongate user enable alice@acme.example
    """
    _set_disabled(name, home, disabled=False, as_json=as_json)


@group_group.command("map")
def map_group(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="As the issuer tells it.")],
    team: Annotated[str, typer.Argument(metavar="TEAM", help="The team's name.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Have everybody whom the issuer says to be in a group be in a team.

    \b
    Examples:
      moongate group map ml-engineers research
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("POST", "/groups", {"group": group, "team": team})
    else:
        with _people(home) as (people, house):
            people.map_group(group, team)
            written(house, "access.grant", subject=team, details={"group": group})
    if as_json:
        put_json({"group": group, "team": team})
    else:
        say(f"whoever is in the group {group} is in the team {team}")


@group_group.command("list")
def list_groups(home: options.Home = None, as_json: options.Json = False) -> None:
    """List which groups are in which teams.

    \b
    Examples:
      moongate group list
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        found = [
            (str(row["group"]), str(row["team"])) for row in rows(gateway.ask("GET", "/groups"), "groups")
        ]
    else:
        with _people(home) as (people, _):
            found = people.group_map()
    if as_json:
        put_json({"groups": [{"group": group, "team": team} for group, team in found]})
        return
    put_table([Column("group"), Column("team")], [[group, team] for group, team in found])
    if not found:
        say("no group is in a team")


@group_group.command("unmap")
def unmap_group(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="As the issuer tells it.")],
    team: Annotated[str, typer.Argument(metavar="TEAM", help="The team's name.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Take that back.

    \b
    Examples:
      moongate group unmap ml-engineers research
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        query = urlencode({"group": group, "team": team})
        removed = bool(gateway.ask("DELETE", f"/groups?{query}").get("removed"))
    else:
        with _people(home) as (people, house):
            removed = people.unmap_group(group, team)
            if removed:
                written(house, "access.revoke", subject=team, details={"group": group})
    if not removed:
        raise CommandFailed(f"the group {group} is not in {team}", hint="see `moongate group list`")
    if as_json:
        put_json({"group": group, "team": team, "removed": True})
    else:
        say(f"the group {group} is no longer in {team}")


def _list_accounts(kind: str, home: options.Home, *, as_json: bool) -> None:
    gateway = chosen_gateway(home)
    if gateway is not None:
        found = rows(gateway.ask("GET", "/accounts"), "accounts")
    else:
        from dataclasses import asdict

        with _people(home) as (people, _):
            found = [
                {**asdict(one.row), "groups": one.groups, "teams": one.teams, "roles": one.roles}
                for one in people.known()
            ]
    shown = [row for row in found if row["kind"] == kind]
    if as_json:
        put_json({"accounts": shown})
        return
    now = time.time()
    columns = ["name", "state", "roles", "teams", "created" if kind == "service" else "seen", "note"]
    put_table([Column(word) for word in columns], [_account_line(row, kind, now) for row in shown])
    if not shown:
        say("no service accounts" if kind == "service" else "nobody signed in yet")


def _account_line(row: Mapping[str, object], kind: str, now: float) -> list[str]:
    when = row["created_at"] if kind == "service" else row["seen_at"]
    return [
        str(row["name"]),
        "disabled" if row["disabled_at"] is not None else "good",
        _words(row["roles"]),
        _words(row["teams"]),
        ago(float(when) if isinstance(when, int | float) else None, now=now),
        str(row["note"]),
    ]


def _set_disabled(name: str, home: options.Home, *, disabled: bool, as_json: bool) -> None:
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("POST", "/accounts/state", {"name": name, "disabled": disabled})
    else:
        with _people(home) as (people, house):
            people.set_disabled(name, disabled=disabled)
            written(house, "account.change", subject=name, details={"disabled": disabled})
    if as_json:
        put_json({"name": name, "disabled": disabled})
    else:
        say(f"{name} may not come in any more" if disabled else f"{name} may come in again")


@contextmanager
def _people(home: options.Home) -> Iterator[tuple[People, Stock]]:
    from moongate.app.wiring.hosted import open_hosted
    from moongate.cli.house import load_settings, open_house
    from moongate.hub.people import People
    from moongate.hub.standing import Standing

    settings = load_settings(home=home)
    with open_house(settings) as house:
        standing = Standing(house.index, time.time, settings.sign_in_role)
        yield People(house.index, standing, open_hosted(house).places, time.time), house


def _given(role: GatewayRoleWord, who: str, namespace: str | None) -> RoleGiven:
    from moongate.hub.people import RoleGiven

    if not _SUBJECT.fullmatch(who):
        raise wrong_usage(
            f"not a user, a team or a group: {who!r}", hint="write user:alice, team:research or group:staff"
        )
    return RoleGiven(who, role.value, namespace)


def _role_told(given: RoleGiven) -> dict[str, str]:
    """What the record says of a role, besides whose it is."""
    told = {"role": str(given.role)}
    return {**told, "namespace": given.namespace} if given.namespace else told


def _where(namespace: str | None) -> str:
    return f"at {namespace}" if namespace else "of the gateway"


def _words(value: object) -> str:
    return " ".join(str(one) for one in value) if isinstance(value, list | tuple) else ""
