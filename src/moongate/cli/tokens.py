"""`moongate token`: our own tokens, made, listed and revoked.

On a home of this machine straight in its index (a running gateway sees it at once); with MOONGATE_URL
through that gateway's admin API. A token is shown once, when it is made; the index keeps its hash.
"""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import Gateway, chosen_gateway, rows
from moongate.cli.recording import written
from moongate.cli.terminal import Column, count, put, put_json, put_table, say
from moongate.cli.times import ago, duration, moment, parse_duration

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,95}")

group = typer.Typer(help="Make, list and revoke the gateway's own tokens.", rich_markup_mode=None)


class ScopeWord(StrEnum):
    """What a token is good for; each includes the one before."""

    read = "read"
    write = "write"
    admin = "admin"


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="token")


@group.command("create")
def create(
    user: Annotated[
        str | None, typer.Option(help="Whose token it is [the name you are logged in as].")
    ] = None,
    scope: Annotated[ScopeWord, typer.Option(help="What it is good for.")] = ScopeWord.read,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 12h, 30d, 1y, 2027-06-30 or never [never].")
    ] = None,
    namespace: Annotated[
        list[str] | None, typer.Option(help="Bind it to a namespace; elsewhere it reads what is public.")
    ] = None,
    repo: Annotated[list[str] | None, typer.Option(help="Bind it to a repository.")] = None,
    note: Annotated[str, typer.Option(help="A word for those who list tokens.")] = "",
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Make a token and print it: to stdout, once, and nowhere else.

    Clients take it as HF_TOKEN. With MOONGATE_URL it is made by that gateway, for which MOONGATE_TOKEN
    must hold an admin token.

    \b
    Examples:
      moongate token create --user alice
      moongate token create --user ci --scope write --expires 90d
      moongate token create --user ci --scope write --namespace acme
      export MOONGATE_TOKEN=$(moongate token create --scope admin)
      moongate token create --user bob --json | jq -r .token
    """
    now = time.time()
    name = user if user is not None else _login_name()
    if not _USER.fullmatch(name):
        raise wrong_usage("a user's name is 1 to 96 letters, digits and . _ @ + -, a letter or digit first")
    expires_seconds = parse_expiry(expires, now)
    places = places_of(namespace, repo)
    gateway = chosen_gateway(home)
    if gateway is not None:
        document: dict[str, object] = {
            "user": name,
            "scope": scope.value,
            "expires_seconds": expires_seconds,
            "note": note,
        }
        made = gateway.ask("POST", "/tokens", {**document, "places": list(places)} if places else document)
    else:
        made = _create_here(home, name, scope, expires_seconds, note, now, places)
    expires_seconds = _life(made)
    if as_json:
        put_json(_with_moments(made))
        return
    put(str(made["token"]))
    ends = f"ends in {duration(expires_seconds)}" if expires_seconds is not None else "never ends"
    bound = f", bound to {' '.join(places)}" if places else ""
    say(f"token {made['id']} for {name}: {scope.value}{bound}, {ends}. It is not shown again.")


@group.command("list")
def list_tokens(
    all_tokens: Annotated[bool, typer.Option("--all", help="Revoked and expired ones, too.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List tokens: who has one, for what, until when. The tokens themselves are not kept.

    \b
    Examples:
      moongate token list
      moongate token list --all --json
    """
    now = time.time()
    gateway = chosen_gateway(home)
    known = _list_there(gateway) if gateway is not None else _list_here(home)
    shown = [row for row in known if all_tokens or _state(row, now) == "good"]
    if as_json:
        put_json({"tokens": [{**_with_moments(row), "state": _state(row, now)} for row in shown]})
        return
    words = ("id", "user", "scope", "places", "state", "created", "used", "expires", "note")
    columns = [Column(word) for word in words]
    put_table(
        columns,
        [
            [
                str(row["id"]),
                str(row["user"]),
                str(row["scope"]),
                _bound(row),
                _state(row, now),
                ago(_time(row, "created_at"), now=now),
                ago(_time(row, "last_used_at"), now=now),
                (moment(_time(row, "expires_at")) or "never")[:10],
                str(row.get("note") or ""),
            ]
            for row in shown
        ],
    )
    if not shown:
        say("no tokens" if not known else "no good tokens; --all shows the others")


@group.command("revoke")
def revoke(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="As `moongate token list` shows them.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Revoke tokens at once, by id.

    \b
    Examples:
      moongate token revoke 3f9a1c
      moongate token list --json | jq -r '.tokens[] | select(.user == "ci") | .id' \\
        | xargs moongate token revoke
    """
    gateway = chosen_gateway(home)
    revoked: list[str] = []
    unknown: list[str] = []
    if gateway is not None:
        for token_id in ids:
            found = bool(gateway.ask("DELETE", f"/tokens/{_path_segment(token_id)}").get("revoked"))
            (revoked if found else unknown).append(token_id)
    else:
        from moongate.cli.house import open_home

        with open_home(home) as house:
            for token_id in ids:
                found = house.index.revoke_token(token_id, time.time())
                if found:
                    written(house, "token.revoke", subject=token_id)
                (revoked if found else unknown).append(token_id)
    if as_json:
        put_json({"revoked": revoked, "unknown": unknown})
    elif revoked:
        say(f"revoked {count(len(revoked), 'token')}")
    if unknown:
        raise CommandFailed(
            f"no good token has the id {', '.join(unknown)}", hint="`moongate token list` shows the ids"
        )


def parse_expiry(text: str | None, now: float) -> float | None:
    """Seconds until a token ends, from `90d`, `12h`, `2027-06-30` or `never`; None for never.

    Raises:
        CommandFailed: it is none of these, or it lies in the past (wrong usage).
    """
    if text is None or text == "never":
        return None
    try:
        when = datetime.fromisoformat(text)
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now
    except ValueError:
        seconds = parse_duration(text, "--expires")
    if seconds <= 0:
        raise wrong_usage(f"--expires {text} lies in the past")
    return seconds


def places_of(namespaces: Sequence[str] | None, repos: Sequence[str] | None) -> tuple[str, ...]:
    """What `--namespace` and `--repo` bind something to.

    Raises:
        CommandFailed: a namespace has a slash, or a repository none (wrong usage).
        BadName: one cannot be.
    """
    from moongate.hub.trusts import check_place

    for name in namespaces or ():
        if "/" in name:
            raise wrong_usage(f"--namespace {name!r} is a repository", hint="say --repo")
    for name in repos or ():
        if "/" not in name:
            raise wrong_usage(f"--repo {name!r} is a namespace", hint="say --namespace")
    return tuple(check_place(name) for name in (*(namespaces or ()), *(repos or ())))


def _life(made: Mapping[str, object]) -> float | None:
    ends, began = _time(made, "expires_at"), _time(made, "created_at")
    return None if ends is None or began is None else ends - began


def _create_here(
    home: Path | None,
    user: str,
    scope: ScopeWord,
    expires_seconds: float | None,
    note: str,
    now: float,
    places: tuple[str, ...],
) -> Mapping[str, object]:
    from moongate.app.tokens import Bounds, mint
    from moongate.cli.house import load_settings, open_house

    settings = load_settings(home=home)
    bounds = Bounds(places, max_seconds=settings.token_max_seconds)
    with open_house(settings) as house:
        secret, row = mint(house.index, user, scope.value, expires_seconds, note, now, bounds)
        details: dict[str, object] = {"user": row.user, "scope": row.scope, "places": list(row.places)}
        if row.note:
            details["note"] = row.note
        if expires_seconds is not None:
            details["expires_seconds"] = int(expires_seconds)
        written(house, "token.create", subject=row.id, details=details)
    return {
        "token": secret.reveal(),
        "id": row.id,
        "user": row.user,
        "scope": row.scope,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "note": row.note,
        "places": list(row.places),
    }


def _list_here(home: Path | None) -> list[Mapping[str, object]]:
    from moongate.cli.house import open_home

    with open_home(home) as house:
        return [
            {
                "id": row.id,
                "user": row.user,
                "scope": row.scope,
                "created_at": row.created_at,
                "expires_at": row.expires_at,
                "revoked_at": row.revoked_at,
                "note": row.note,
                "origin": row.origin,
                "places": list(row.places),
                "last_used_at": row.last_used_at,
                "service": row.service,
            }
            for row in house.index.tokens()
        ]


def _list_there(gateway: Gateway) -> list[Mapping[str, object]]:
    return rows(gateway.ask("GET", "/tokens"), "tokens")


def _state(row: Mapping[str, object], now: float) -> str:
    if row.get("revoked_at") is not None:
        return "revoked"
    ends = _time(row, "expires_at")
    return "expired" if ends is not None and ends <= now else "good"


def _bound(row: Mapping[str, object]) -> str:
    places = row.get("places")
    return " ".join(str(place) for place in places) if isinstance(places, list) and places else "all"


def _time(row: Mapping[str, object], name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else None


def _with_moments(row: Mapping[str, object]) -> dict[str, object]:
    """A row whose times are ISO 8601, as every `--json` here prints them."""
    return {name: moment(_time(row, name)) if name.endswith("_at") else value for name, value in row.items()}


def _path_segment(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise wrong_usage(f"not the id of a token: {text!r}", hint="`moongate token list` shows the ids")
    return text


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise wrong_usage("say whose token it is with --user") from None
