"""`moongate namespace`: which namespaces live here rather than upstream.

On a home of this machine straight in its index, where a running gateway sees it at once; with MOONGATE_URL
through that gateway's admin API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import chosen_gateway, number, rows
from moongate.cli.recording import written
from moongate.cli.sizes import parse_size
from moongate.cli.terminal import Column, count, put_json, put_table, say, size

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
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import load_settings, open_house

        with open_house(load_settings(home=home)) as house:
            added = open_hosted(house).places.add_namespace(name)
            if added:
                written(house, "namespace.create", subject=name)
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
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            known = [
                {
                    "name": one.name,
                    "repos": one.repos,
                    "used_bytes": one.used_bytes,
                    "declared": one.declared,
                    "open": one.is_open,
                    **asdict(one.limits),
                }
                for one in open_hosted(house).places.overview()
            ]
    if as_json:
        put_json({"namespaces": known})
        return
    put_table(
        [
            Column("namespace"),
            Column("repos", "right"),
            Column("used", "right"),
            Column("limits"),
            Column("who may create"),
            Column("declared by"),
        ],
        [
            [
                str(row["name"]),
                str(row["repos"]),
                size(number(row, "used_bytes")),
                _limits_in_words(row),
                "whoever may write" if row["open"] else "who has a role",
                "the settings" if row["declared"] else "namespace add",
            ]
            for row in known
        ],
    )
    if not known:
        say("no namespaces; `moongate namespace add` makes one")


@group.command("set")
def set_limits(
    name: _Name,
    quota: Annotated[
        str | None, typer.Option(help="What its repositories may take up: 500GB, 2TiB; 0 for no limit.")
    ] = None,
    max_repos: Annotated[
        int | None, typer.Option(min=0, help="How many repositories it may have; 0 for no limit.")
    ] = None,
    keep_revisions: Annotated[
        int | None,
        typer.Option(min=0, help="Of how many commits of a branch large files are kept; 0 for all."),
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="What new repositories are unless told otherwise."),
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Limit a hosted namespace: bytes, repositories, old revisions, who sees new repositories.

    Bytes count once for each content, whatever revisions and repositories list it. Of every branch and
    pull request the newest commits keep their large files, and so does every commit with a tag; what only
    older ones list is let go within an hour, or by `moongate gc`. What is not named stays as it is.

    \b
    Examples:
      moongate namespace set acme --quota 2TB --max-repos 500
      moongate namespace set acme --keep-revisions 20
      moongate namespace set acme --quota 0
      moongate namespace set acme --private
    """
    changes: dict[str, int | None] = {
        "quota_bytes": None if quota is None else parse_size(quota, "--quota"),
        "quota_repos": max_repos,
        "keep_revisions": keep_revisions,
        "private_by_default": None if private is None else int(private),
    }
    if all(value is None for value in changes.values()):
        raise wrong_usage("nothing to set", hint="name --quota, --max-repos, --keep-revisions or --private")
    gateway = chosen_gateway(home)
    limits: Mapping[str, object]
    if gateway is not None:
        limits = gateway.ask("POST", "/limits", {"name": name, **changes})
    else:
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            limits = asdict(open_hosted(house).places.limit(name, changes))
            told = {word: value for word, value in changes.items() if value is not None}
            written(house, "namespace.change", subject=name, details=told)
    if as_json:
        put_json({"name": name, **limits})
    else:
        say(f"{name}: {_limits_in_words(limits)}")


def _limits_in_words(limits: Mapping[str, object]) -> str:
    words = []
    if limits.get("quota_bytes"):
        words.append(size(number(limits, "quota_bytes")))
    if limits.get("quota_repos"):
        words.append(count(number(limits, "quota_repos"), "repo"))
    if limits.get("keep_revisions"):
        words.append(count(number(limits, "keep_revisions"), "revision"))
    if limits.get("private_by_default"):
        words.append("new ones private")
    return ", ".join(words) or "none"


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
        from moongate.app.wiring.hosted import open_hosted
        from moongate.cli.house import open_home

        with open_home(home) as house:
            removed = open_hosted(house).places.remove_namespace(name)
            if removed:
                written(house, "namespace.delete", subject=name)
    if not removed:
        raise CommandFailed(f"{name} does not live here", hint="`moongate namespace list` shows what does")
    if as_json:
        put_json({"name": name, "removed": True})
    else:
        say(f"{name} no longer lives here")
