"""`moongate waiver`: dated exceptions from the policy."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from moongate.cli import options
from moongate.cli.approve import Comment, ScopeWord
from moongate.cli.desks import here, who
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.terminal import Column, put_json, put_table, say
from moongate.cli.times import moment, parse_duration

group = typer.Typer(help="Dated exceptions from the policy.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="waiver")


@group.command("list")
def list_waivers(
    ended: Annotated[bool, typer.Option("--ended", help="Those that ended or were revoked, too.")] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List the exceptions that hold now.

    \b
    Examples:
      moongate waiver list
      moongate waiver list --ended --json
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        found = rows(gateway.ask("GET", f"/waivers?ended={str(ended).lower()}"), "waivers")
    else:
        with here(home) as desk:
            found = [_told(waiver) for waiver in desk.waivers(ended=ended)]
    if as_json:
        put_json({"waivers": found})
        return
    columns = [Column(name) for name in ("id", "covers", "for", "lifts", "until", "by", "why")]
    put_table(columns, [_cells(row) for row in found])
    if not found:
        say("no exceptions")


@group.command("add")
def add(  # noqa: PLR0913  (a flag is an argument)
    comment: Comment,
    scope: Annotated[ScopeWord, typer.Option(help="What it covers; see `moongate approve grant`.")],
    repo: Annotated[str, typer.Option(help="acme/tiny or datasets/acme/squad.")] = "",
    path: Annotated[str, typer.Option(help="A file, for the scope file.")] = "",
    commit: Annotated[str, typer.Option(help="Its commit, for the scope file.")] = "",
    digest: Annotated[str, typer.Option(help="An etag or sha256, for the scope digest.")] = "",
    finding: Annotated[str, typer.Option(help="A rule of the scan, for the scope finding.")] = "",
    subject: Annotated[str, typer.Option("--for", help="all, user:NAME or team:NAME.")] = "all",
    duration: Annotated[str, typer.Option("--until", help="How long: 12h, 30d, 1y.")] = "30d",
    deny: Annotated[bool, typer.Option("--deny", help="Lift what is denied, too, not only holds.")] = False,
    action: Annotated[str, typer.Option(help="read, commit, deploy or admin.")] = "read",
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Make an exception that nobody asked for. Refused where two approvers are needed.

    \b
    Examples:
      moongate waiver add --scope repo --repo acme/tiny -m 'our own, checked by hand' --until 90d
      moongate waiver add --scope digest --digest 9f86d081... --deny --for team:malware -m 'a sample'
    """
    seconds = parse_duration(duration, "--until")
    body = {
        "terms": {
            "scope": scope.value, "subject": subject, "expires_seconds": seconds, "comment": comment,
            "finding": finding,
        },
        "lifts": "deny" if deny else "hold", "repo": repo, "commit_hash": commit, "path": path,
        "digest": digest, "action": action,
    }  # fmt: skip
    gateway = chosen_gateway(home)
    told: dict[str, Any] = (
        dict(gateway.ask("POST", "/waivers", body)) if gateway is not None else _made(body, home)
    )
    if as_json:
        put_json(told)
    else:
        say(f"waiver {told['id']} holds until {moment(told['expires_at'])}")


@group.command("revoke")
def revoke(
    waiver_id: Annotated[str, typer.Argument(metavar="ID", help="As `moongate waiver list` shows it.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Take an exception back, at once.

    \b
    Examples:
      moongate waiver revoke w-0123456789
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        told = dict(gateway.ask("DELETE", f"/waivers/{quote(waiver_id, safe='')}"))
    else:
        with here(home) as desk:
            told = _told(desk.revoke_waiver(waiver_id, who()))
    if as_json:
        put_json(told)
    else:
        say(f"{waiver_id} is revoked")


def _made(body: dict[str, Any], home: Any) -> dict[str, Any]:
    from moongate.core.approvals import Terms
    from moongate.policy.desk import NewWaiver

    asked = dict(body)
    terms = dict(asked.pop("terms"))
    expires_at = time.time() + terms.pop("expires_seconds")
    with here(home) as desk:
        return _told(desk.add_waiver(NewWaiver(Terms(expires_at=expires_at, **terms), **asked), who()))


def _told(waiver: Any) -> dict[str, Any]:  # a Waiver; the model is slow to import
    from moongate.app.admin.approvals import waiver_model

    return waiver_model(waiver).model_dump()


def _cells(row: Any) -> list[str]:
    about = (
        " ".join(str(row[name]) for name in ("repo", "path", "finding") if row[name]) or row["digest"][:16]
    )
    until = f"revoked by {row['revoked_by']}" if row["revoked_at"] else str(moment(row["expires_at"]))
    return [
        row["id"], f"{row['scope']}: {about}", row["subject"], row["lifts"], until, row["created_by"],
        row["comment"][:60],
    ]  # fmt: skip
