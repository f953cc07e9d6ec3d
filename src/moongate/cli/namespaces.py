"""`moongate namespace`: which namespaces live here rather than upstream.

On a home of this machine straight in its index, where a running gateway sees it at once; with MOONGATE_URL
through that gateway's admin API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.terminal import Column, put_json, put_table, say

group = typer.Typer(help="Host namespaces: repositories that live here.", rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The part of acme/tiny before the slash.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="namespace")


@group.command("add")
def add(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Have a namespace live here: its repositories are made here, and upstream is never asked about them.

    Whoever has a token with scope write may create repositories in it, until `moongate access add` gives
    somebody a role there; then only those may who have one.

    \b
    Examples:
      moongate namespace add acme
      moongate token create --user alice --scope write
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        added = bool(gateway.ask("POST", "/namespaces", {"name": name}).get("added"))
    else:
        from moongate.app.wiring import open_hosted
        from moongate.cli.house import load_settings, open_house

        with open_house(load_settings(home=home)) as house:
            added = open_hosted(house).places.add_namespace(name)
    if as_json:
        put_json({"name": name, "added": added})
    else:
        say(f"{name} lives here" + ("" if added else " already"))


@group.command("list")
def list_namespaces(home: options.Home = None, as_json: options.Json = False) -> None:
    """List the namespaces that live here.

    \b
    Examples:
      moongate namespace list
    """
    gateway = chosen_gateway(home)
    known: list[Mapping[str, object]]
    if gateway is not None:
        known = rows(gateway.ask("GET", "/namespaces"), "namespaces")
    else:
        from moongate.app.wiring import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            known = [
                {"name": one.name, "repos": one.repos, "declared": one.declared, "open": one.is_open}
                for one in open_hosted(house).places.overview()
            ]
    if as_json:
        put_json({"namespaces": known})
        return
    put_table(
        [Column("namespace"), Column("repos", "right"), Column("who may create"), Column("declared by")],
        [
            [
                str(row["name"]),
                str(row["repos"]),
                "whoever may write" if row["open"] else "who has a role",
                "the settings" if row["declared"] else "namespace add",
            ]
            for row in known
        ],
    )
    if not known:
        say("no namespaces; `moongate namespace add` makes one")


@group.command("remove")
def remove(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Give up a namespace that has no repositories; from then on the name is upstream's again.

    \b
    Examples:
      moongate namespace remove acme
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        removed = bool(gateway.ask("DELETE", f"/namespaces?{urlencode({'name': name})}").get("removed"))
    else:
        from moongate.app.wiring import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            removed = open_hosted(house).places.remove_namespace(name)
    if not removed:
        raise CommandFailed(f"{name} does not live here", hint="`moongate namespace list` shows what does")
    if as_json:
        put_json({"name": name, "removed": True})
    else:
        say(f"{name} no longer lives here")
