"""`moongate trust`: issuers whose signed tokens stand for users, so that CI and workloads need no secret.

On a home of this machine straight in its index; with MOONGATE_URL through that gateway's admin API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.recording import written
from moongate.cli.terminal import Column, put_json, put_table, say
from moongate.cli.times import moment, parse_duration
from moongate.cli.tokens import ScopeWord, places_of

group = typer.Typer(help="Trust issuers of signed tokens: CI, clouds, clusters.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="trust")


@group.command("add")
def add(  # noqa: PLR0913 - what a user may say of a trust
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="Its address, as its tokens name it.")],
    claim: Annotated[
        list[str], typer.Option(help="What a token must say: repository=acme/tiny; * stands for anything.")
    ],
    user: Annotated[str, typer.Option(help="For whom such a token stands.")],
    scope: Annotated[ScopeWord, typer.Option(help="What it is good for.")] = ScopeWord.read,
    namespace: Annotated[list[str] | None, typer.Option(help="Bind it to a namespace.")] = None,
    repo: Annotated[list[str] | None, typer.Option(help="Bind it to a repository.")] = None,
    audience: Annotated[str, typer.Option(help="For whom the token must be [this gateway's address].")] = "",
    algorithm: Annotated[str, typer.Option(help="What the issuer signs with.")] = "RS256",
    expires: Annotated[str, typer.Option(help="How long what it is exchanged for is good.")] = "1h",
    direct: Annotated[
        bool, typer.Option("--direct", help="Take it as a Bearer as it is, too, without an exchange.")
    ] = False,
    note: Annotated[str, typer.Option(help="A word for those who list trusts.")] = "",
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Let signed tokens of an issuer stand for a user, when they say such things of themselves.

    \b
    Examples:
      moongate trust add https://token.actions.githubusercontent.com --claim repository=acme/tiny \\
        --claim ref=refs/heads/main --user ci --scope write --namespace acme
      moongate trust add https://accounts.google.com --direct --user trainer \\
        --claim email=trainer@project.iam.gserviceaccount.com
    """
    from moongate.hub.trusts import NewTrust, new_trust

    wanted = NewTrust(
        issuer,
        _claims(claim),
        user,
        scope.value,
        places_of(namespace, repo),
        audience,
        algorithm,
        parse_duration(expires, "--expires"),
        direct,
        note,
    )
    now = time.time()
    row = new_trust(wanted, now)
    gateway = chosen_gateway(home)
    if gateway is not None:
        document = {
            "issuer": issuer,
            "claims": dict(wanted.claims),
            "user": user,
            "scope": scope.value,
            "places": list(wanted.places),
            "audience": audience,
            "algorithm": algorithm,
            "ttl_seconds": wanted.ttl_seconds,
            "direct": direct,
            "note": note,
        }
        made = str(gateway.ask("POST", "/trusts", document)["id"])
    else:
        from moongate.cli.house import load_settings, open_house

        with open_house(load_settings(home=home)) as house:
            house.index.put_trust(row)
            details = {
                "issuer": row.issuer,
                "claims": dict(row.claims),
                "user": row.user,
                "scope": row.scope,
                "places": list(row.places),
                "direct": row.direct,
            }
            written(house, "trust.create", subject=row.id, details=details)
        made = row.id
    if as_json:
        put_json({"id": made, "issuer": issuer, "user": user, "scope": scope.value})
    else:
        said = ", ".join(f"{name}={value}" for name, value in sorted(wanted.claims.items()))
        say(f"trust {made}: tokens of {issuer} with {said} stand for {user} ({scope.value})")


@group.command("list")
def list_trusts(home: options.Home = None, as_json: options.Json = False) -> None:
    """List which tokens stand for whom.

    \b
    Examples:
      moongate trust list
    """
    found = _trusts(home)
    if as_json:
        shown = [
            {name: moment(_number(value)) if name == "created_at" else value for name, value in row.items()}
            for row in found
        ]
        put_json({"trusts": shown})
        return
    put_table(
        [Column(word) for word in ("id", "issuer", "claims", "user", "scope", "places", "direct")],
        [
            [
                str(row["id"]),
                str(row["issuer"]),
                _said(row["claims"]),
                str(row["user"]),
                str(row["scope"]),
                _words(row["places"]) or "all",
                "yes" if row["direct"] else "no",
            ]
            for row in found
        ],
    )
    if not found:
        say("no trusts")


@group.command("remove")
def remove(
    trust: Annotated[str, typer.Argument(metavar="ID", help="As `moongate trust list` shows it.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Trust no more. What was exchanged already stays good until it ends; `token revoke` ends it.

    \b
    Examples:
      moongate trust remove 3f9a1c04
    """
    gateway = chosen_gateway(home)
    if not trust.isalnum():
        raise wrong_usage(f"not the id of a trust: {trust!r}", hint="`moongate trust list` shows the ids")
    if gateway is not None:
        removed = bool(gateway.ask("DELETE", f"/trusts/{trust}").get("removed"))
    else:
        from moongate.cli.house import open_home

        with open_home(home) as house:
            removed = house.index.drop_trust(trust)
            if removed:
                written(house, "trust.delete", subject=trust)
    if not removed:
        raise CommandFailed(f"there is no trust {trust}", hint="`moongate trust list` shows the ids")
    if as_json:
        put_json({"id": trust, "removed": True})
    else:
        say(f"trust {trust} is gone")


def _trusts(home: options.Home) -> list[Mapping[str, object]]:
    gateway = chosen_gateway(home)
    if gateway is not None:
        return rows(gateway.ask("GET", "/trusts"), "trusts")
    from dataclasses import asdict

    from moongate.cli.house import open_home

    with open_home(home) as house:
        return [{**asdict(row), "places": list(row.places)} for row in house.index.trusts()]


def _claims(texts: list[str]) -> dict[str, str]:
    claims = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise wrong_usage(f"--claim {text!r} is no NAME=VALUE", hint="such as repository=acme/tiny")
        claims[name] = value
    return claims


def _said(claims: object) -> str:
    named = claims.items() if isinstance(claims, Mapping) else ()
    return " ".join(f"{name}={value}" for name, value in sorted(named))


def _words(value: object) -> str:
    return " ".join(str(one) for one in value) if isinstance(value, list | tuple) else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
