"""`moongate grant`: users whom the gateway's own upstream token serves.

A user who comes with one of our tokens has no account upstream, so gated and private repositories are
closed to them, unless a grant says that the gateway may fetch these for them with its own token.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.recording import written
from moongate.cli.repos import parse_wanted
from moongate.cli.terminal import Column, put_json, put_table, say

group = typer.Typer(
    help="Let users of our tokens reach gated and private repositories.",
    rich_markup_mode=None,
)

_User = Annotated[str, typer.Argument(metavar="USER", help="A user's name, as `token create --user` had it.")]
_Pattern = Annotated[str, typer.Argument(metavar="PATTERN", help="acme/tiny or 'acme/*'.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="grant")


@group.command("add")
def add(user: _User, pattern: _Pattern, home: options.Home = None, as_json: options.Json = False) -> None:
    """Let a user read what matches, with the gateway's own upstream token.

    That token (MOONGATE_UPSTREAM_TOKEN) must itself have access upstream.

    \b
    Examples:
      moongate grant add alice 'meta-llama/*'
      moongate grant add ci datasets/acme/private
    """
    wanted = str(parse_wanted(pattern))
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("POST", "/grants", {"user": user, "pattern": wanted})
    else:
        from moongate.cli.house import load_settings, open_house

        settings = load_settings(home=home)
        with open_house(settings) as house:
            house.index.grant(user, wanted)
            written(house, "access.grant", subject=user, details={"pattern": wanted})
        if settings.own_token is None:
            say("warning: MOONGATE_UPSTREAM_TOKEN is not set here; without it a grant opens nothing")
    if as_json:
        put_json({"user": user, "pattern": wanted})
    else:
        say(f"{user} may read {wanted}")


@group.command("list")
def list_grants(home: options.Home = None, as_json: options.Json = False) -> None:
    """List who was granted what.

    \b
    Examples:
      moongate grant list
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        answer = gateway.ask("GET", "/grants")
        pairs = [(str(row["user"]), str(row["pattern"])) for row in rows(answer, "grants")]
    else:
        from moongate.cli.house import open_home

        with open_home(home) as house:
            pairs = [(grant.user, grant.repo_pattern) for grant in house.index.grants()]
    if as_json:
        put_json({"grants": [{"user": user, "pattern": pattern} for user, pattern in pairs]})
        return
    put_table([Column("user"), Column("may read")], [list(pair) for pair in pairs])
    if not pairs:
        say("no grants")


@group.command("remove")
def remove(user: _User, pattern: _Pattern, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take a grant back; from the next request on it no longer counts.

    \b
    Examples:
      moongate grant remove alice 'meta-llama/*'
    """
    wanted = str(parse_wanted(pattern))
    gateway = chosen_gateway(home)
    if gateway is not None:
        query = urlencode({"user": user, "pattern": wanted})
        removed = bool(gateway.ask("DELETE", f"/grants?{query}").get("removed"))
    else:
        from moongate.cli.house import open_home

        with open_home(home) as house:
            removed = bool(house.index.revoke_grant(user, wanted))
            if removed:
                written(house, "access.revoke", subject=user, details={"pattern": wanted})
    if not removed:
        raise CommandFailed(f"{user} has no grant for {wanted}", hint="`moongate grant list` shows all")
    if as_json:
        put_json({"user": user, "pattern": wanted, "removed": True})
    else:
        say(f"{user} may no longer read {wanted}")
