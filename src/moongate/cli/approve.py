"""`moongate approve`: what policy held and waits for somebody to decide."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moongate.cli import options
from moongate.cli.desks import here, who
from moongate.cli.gateway import chosen_gateway, rows
from moongate.cli.terminal import Column, put, put_json, put_pairs, put_table, say
from moongate.cli.times import ago, moment, parse_duration
from moongate.core.approvals import REQUEST_STATES

if TYPE_CHECKING:
    from moongate.core.approvals import Terms

group = typer.Typer(help="Decide about what policy held.", rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="A request's id, as `moongate approve list` shows it.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; whoever reads it later was not here.")]


class ScopeWord(StrEnum):
    """What an approval covers."""

    digest = "digest"
    file = "file"
    repo = "repo"
    finding = "finding"


class StateWord(StrEnum):
    """Which requests are listed."""

    open = "open"
    granted = "granted"
    refused = "refused"
    all = "all"


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="approve")


@group.command("list")
def list_requests(
    state: Annotated[StateWord, typer.Option(help="Which ones.")] = StateWord.open,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List what waits for a decision, the newest first.

    \b
    Examples:
      moongate approve list
      moongate approve list --state refused --json
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        found = rows(gateway.ask("GET", f"/approvals?state={state.value}"), "requests")
    else:
        with here(home) as desk:
            wanted = next((known for known in REQUEST_STATES if known == state.value), None)
            found = [_told(request) for request in desk.requests(wanted)]
    if as_json:
        put_json({"requests": found})
        return
    cells = [
        [
            str(row["id"]),
            str(row["state"]),
            _place(row),
            shorten(str(row["reason"]), 80, placeholder="…"),
            _asked(row),
        ]
        for row in found
    ]
    put_table(
        [Column("id"), Column("state"), Column("what"), Column("why"), Column("asked")],
        cells,
    )
    if not found:
        say("nothing waits")


@group.command("show")
def show(request_id: Id, home: options.Home = None, as_json: options.Json = False) -> None:
    """Show a request with its evidence: the facts it was held by.

    \b
    Examples:
      moongate approve show r-0123456789
      moongate approve show r-0123456789 --json | jq .evidence.facts
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        told: Mapping[str, Any] = gateway.ask("GET", f"/approvals/{request_id}")
    else:
        with here(home) as desk:
            told = _told(desk.request(request_id))
    if as_json:
        put_json(told)
        return
    _print(told)


@group.command("grant")
def grant(
    request_ids: Annotated[list[str], typer.Argument(metavar="ID", help="One request, or several.")],
    comment: Comment = "",
    scope: Annotated[
        ScopeWord,
        typer.Option(
            help="digest: this content wherever it is; file: this path at this commit; repo: all of the "
            "repository; finding: files of it in which nothing grave is found but this."
        ),
    ] = ScopeWord.digest,
    subject: Annotated[str, typer.Option("--for", help="all, user:NAME or team:NAME.")] = "all",
    duration: Annotated[str, typer.Option("--until", help="How long: 12h, 30d, 1y.")] = "30d",
    agree: Annotated[
        bool, typer.Option("--agree", help="Agree to what a first approver proposed; no other option counts.")
    ] = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Let pass what a request is about, for a while.

    It holds at once in every process of the gateway. Granting a repository also answers its other requests
    that the same rules held. Where two approvers are needed, the first one proposes, the second one agrees.

    \b
    Examples:
      moongate approve grant r-0123456789 -m 'unpacked and read it' --until 30d
      moongate approve grant r-0123456789 --scope repo --for team:research -m 'their own work'
      moongate approve grant r-0123456789 --agree
    """
    seconds = parse_duration(duration, "--until")
    terms = None if agree else {
        "scope": scope.value, "subject": subject, "expires_seconds": seconds, "comment": comment,
    }  # fmt: skip
    results = []
    gateway = chosen_gateway(home)
    if gateway is not None:
        for request_id in request_ids:
            body = {"decision": "grant", "terms": terms}
            results.append(dict(gateway.ask("POST", f"/approvals/{request_id}", body)))
    else:
        with here(home) as desk:
            for request_id in request_ids:
                granted = desk.grant(request_id, _terms(terms), who())
                results.append(
                    {
                        "request": _told(granted.request),
                        "waiver": None if granted.waiver is None else _waiver(granted.waiver),
                        "also": list(granted.also),
                    }
                )
    if as_json:
        put_json({"granted": results})
        return
    for result in results:
        _say_granted(result)


@group.command("refuse")
def refuse(
    request_id: Id, comment: Comment, home: options.Home = None, as_json: options.Json = False
) -> None:
    """Say no. The same hold opens no new request for a day.

    \b
    Examples:
      moongate approve refuse r-0123456789 -m 'it downloads a program'
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        body = {"decision": "refuse", "comment": comment}
        told: Any = gateway.ask("POST", f"/approvals/{request_id}", body)["request"]
    else:
        with here(home) as desk:
            told = _told(desk.refuse(request_id, comment, who()))
    if as_json:
        put_json(told)
    else:
        say(f"{request_id} is refused")


def _told(request: Any) -> dict[str, Any]:  # a Request; the model is slow to import
    from moongate.app.admin.approvals import request_model

    return request_model(request).model_dump()


def _waiver(waiver: Any) -> dict[str, Any]:
    from moongate.app.admin.approvals import waiver_model

    return waiver_model(waiver).model_dump()


def _terms(told: Mapping[str, Any] | None) -> Terms | None:
    from moongate.core.approvals import Terms

    if told is None:
        return None
    return Terms(told["scope"], told["subject"], time.time() + told["expires_seconds"], told["comment"])


def _say_granted(result: Mapping[str, Any]) -> None:
    request, waiver = result["request"], result["waiver"]
    if waiver is None:
        say(f"{request['id']}: proposed; another approver has to agree (`moongate approve grant --agree`)")
        return
    also = f", and {len(result['also'])} more requests" if result["also"] else ""
    say(f"{request['id']} is granted{also}: waiver {waiver['id']} until {moment(waiver['expires_at'])}")


def _place(row: Mapping[str, Any]) -> str:
    return f"{row['repo']} {row['path']}".strip()


def _asked(row: Mapping[str, Any]) -> str:
    names = ", ".join(row["askers"][:3])
    return f"{ago(row['asked_at'])} by {names}, {row['asked_count']}x"


def _print(told: Mapping[str, Any]) -> None:
    pairs = [
        ("request", str(told["id"])),
        ("state", str(told["state"])),
        ("what", _place(told)),
        ("to", str(told["action"])),
        ("commit", str(told["commit_hash"])),
        ("digest", str(told["digest"])),
        ("why", str(told["reason"])),
        ("rules", ", ".join(told["rules"])),
        ("found", ", ".join(told["evidence"].get("grave") or ["nothing grave"])),
        ("asked by", ", ".join(told["askers"])),
        ("asked", _asked(told)),
    ]
    if told["proposed"]:
        proposed = told["proposed"]
        pairs.append(("proposed", f"{proposed['scope']} for {proposed['subject']}, by {proposed['by']}"))
    if told["decided_at"]:
        pairs.append(("decided", f"{moment(told['decided_at'])} by {told['decided_by']}: {told['comment']}"))
    put_pairs(pairs)
    if told["state"] == "open":
        put("")
        put(f"moongate approve grant {told['id']} -m WHY, or moongate approve refuse {told['id']} -m WHY")
