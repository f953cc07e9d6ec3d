"""`moongate recall`: stop content that was served, and tell who received it.

On a home of this machine straight in its index, which every process of its gateway looks at several times a
second; with MOONGATE_URL through that gateway's admin API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import Gateway, chosen_gateway, rows
from moongate.cli.recording import local_actor
from moongate.cli.terminal import Column, confirm, count, put_json, put_table, say, size
from moongate.cli.times import ago

if TYPE_CHECKING:
    pass


def register(app: typer.Typer) -> None:
    app.command("recall")(recall)


def recall(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="A digest, acme/tiny, acme/tiny@v1.0, acme/tiny@main/model.bin; or `list`, or `show ID`.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, in words for those who are refused.")] = "",
    undo: Annotated[str | None, typer.Option(metavar="ID", help="Take this recall back.")] = None,
    archive: Annotated[
        list[Path] | None,
        typer.Option(help="Look for receivers in this archive of the audit log, too; may be repeated."),
    ] = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Stop content, a repository or a commit from being served, and tell who received it.

    A digest, or a repository's file, means that content wherever it is. Readers under way are cut. Nothing is
    deleted; --undo serves it again. Both are written to the audit log, which also tells the receivers.

    \b
    Examples:
      moongate recall acme/tiny@main/pytorch_model.bin --reason 'runs code when loaded' --dry-run
      moongate recall 06ad1af9be7aa436f8d387b7d635aceb0cb378c979cc5b0991fab8e2e5369fe7 --yes
      moongate recall acme/tiny --reason 'licence withdrawn' --json | jq -r '.receivers[].user' | sort -u
      moongate recall list
      moongate recall show 3f9a1c0b7d52 --archive audit-2026.jsonl
      moongate recall --undo 3f9a1c0b7d52
    """
    asked = words or []
    match asked:
        case [] if undo is not None:
            _undo(undo, home, as_json)
        case ["list"] if undo is None:
            _list(home, as_json)
        case ["show", recall_id] if undo is None:
            _tell(_shown(recall_id, home, archive or []), as_json)
        case [target] if undo is None:
            _recall(target, reason, home, archive or [], dry_run=dry_run, yes=yes, as_json=as_json)
        case _:
            raise wrong_usage("say what to recall, or `list`, or `show ID`, or --undo ID")


def _recall(
    target: str,
    reason: str,
    home: Path | None,
    archives: list[Path],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if not dry_run and not yes and not confirm(f"Stop serving {target} to everybody?"):
        raise CommandFailed("nothing was recalled", hint="--dry-run tells who received it")
    gateway = _gateway(home, archives)
    if gateway is not None:
        told = gateway.ask("POST", "/recalls", {"target": target, "reason": reason, "dry_run": dry_run})
        _tell(told, as_json)
        return
    from moongate.app.admin.audit import imagined, report
    from moongate.cli.house import open_home
    from moongate.hub.recalls import SURE_SECONDS

    with open_home(home) as house:
        recalling = house.recalling()
        meant = recalling.target(target)
        if dry_run:
            row = imagined(meant, reason)
        else:
            row = recalling.recall(meant, reason, local_actor())
            time.sleep(SURE_SECONDS)
        told = report(row, recalling.trace(meant, archives)).model_dump()
        told.update(_looked_at(archives))
    _tell(told, as_json)


def _undo(recall_id: str, home: Path | None, as_json: bool) -> None:
    gateway = chosen_gateway(home)
    if gateway is not None:
        told = gateway.ask("DELETE", f"/recalls/{_segment(recall_id)}")
    else:
        from moongate.app.admin.audit import recall_model

        with _home(home) as house:
            told = recall_model(house.recalling().undo(recall_id, local_actor())).model_dump()
    if as_json:
        put_json(told)
    else:
        say(f"recall {recall_id} is taken back: {_what(told)} is served again")


def _list(home: Path | None, as_json: bool) -> None:
    gateway = chosen_gateway(home)
    if gateway is not None:
        known = rows(gateway.ask("GET", "/recalls"), "recalls")
    else:
        from moongate.app.admin.audit import recall_model

        with _home(home) as house:
            known = [recall_model(row).model_dump() for row in house.recalling().recalls()]
    if as_json:
        put_json({"recalls": known})
        return
    columns = [Column(word) for word in ("id", "state", "what", "by", "when", "reason")]
    put_table(
        columns,
        [
            [
                str(row["id"]),
                "stands" if row.get("undone_at") is None else "undone",
                _what(row),
                str(row["made_by"]),
                ago(float(str(row["made_at"]))),
                str(row["reason"]),
            ]
            for row in known
        ],
    )
    if not known:
        say("nothing was ever recalled")


def _gateway(home: Path | None, archives: list[Path]) -> Gateway | None:
    gateway = chosen_gateway(home)
    if gateway is not None and archives:
        raise wrong_usage("--archive is for a home on this machine", hint="name it with --home")
    return gateway


def _shown(recall_id: str, home: Path | None, archives: list[Path]) -> Mapping[str, Any]:
    gateway = _gateway(home, archives)
    if gateway is not None:
        return gateway.ask("GET", f"/recalls/{_segment(recall_id)}")
    from moongate.app.admin.audit import report
    from moongate.hub.recalling import target_of

    with _home(home) as house:
        recalling = house.recalling()
        row = recalling.show(recall_id)
        told = report(row, recalling.trace(target_of(row), archives)).model_dump()
        return {**told, **_looked_at(archives)}


def _looked_at(archives: list[Path]) -> dict[str, list[str]]:
    return {"archives": [path.name for path in archives]} if archives else {}


def _tell(told: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        put_json(told)
        return
    made, receivers = told["recall"], told["receivers"]
    columns = [Column(word) for word in ("who", "token", "from", "what", "bytes", "times", "last")]
    put_table(columns, [_receiver(one) for one in receivers])
    people = len({one["user"] for one in receivers})
    received = (
        f"received by {count(people, 'user')}" if receivers else "received by nobody that the log knows"
    )
    if made["undone_at"] is not None:
        say(f"recall {made['id']} of {_what(made)} is taken back; {received}")
    elif made["id"]:
        say(f"recall {made['id']} stands: {_what(made)} is served to nobody; {received}")
    else:
        say(f"{_what(made)} would be served to nobody; {received}")
    for place in told["places"]:
        say(f"  it is {place['repo']}@{place['commit'][:12]}/{place['path']}")
    for deployment in told["deployments"]:
        say(f"  it runs in {deployment['name']} ({deployment['where']})")
    if told["audit_began_at"] > 1 and not told.get("archives"):
        say(f"lines before {told['audit_began_at']} are in archives and were not looked at")


def _receiver(one: Mapping[str, Any]) -> list[str]:
    what = one["repo"] + (f"@{one['commit'][:12]}" if one["commit"] else "")
    what += f"/{one['path']}" if one["path"] else ""
    times = str(one["deliveries"])
    return [
        one["user"],
        one["token"],
        one["address"],
        what,
        size(one["bytes"]),
        times,
        one["last_at"][:19] + "Z",
    ]


def _what(recall: Mapping[str, Any]) -> str:
    if recall.get("digest"):
        return str(recall["digest"])
    commit = recall.get("commit")
    return f"{recall['repo']}{f'@{str(commit)[:12]}' if commit else ''}"


def _segment(text: str) -> str:
    if not text.isalnum():
        raise wrong_usage(f"not the id of a recall: {text!r}", hint="`moongate recall list` shows the ids")
    return text


def _home(home: Path | None) -> Any:
    from moongate.cli.house import open_home

    return open_home(home)
