"""`moongate audit`: search the audit log, check it, take it away, archive what is old.

On a home of this machine straight in its index, beside a running gateway; with MOONGATE_URL through that
gateway's admin API.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.gateway import Gateway, chosen_gateway, only_here, rows
from moongate.cli.terminal import Column, confirm, count, put, put_json, put_table, say
from moongate.cli.times import parse_moment

if TYPE_CHECKING:
    from moongate.app.wiring.stock import Stock

group = typer.Typer(help="Search, verify and export the audit log.", rich_markup_mode=None)

_PAGE = 1000


class FormatWord(StrEnum):
    """A shape that lines are exported in."""

    jsonl = "jsonl"
    ocsf = "ocsf"
    cef = "cef"


Kind = Annotated[str | None, typer.Option(help="Only this kind of event; `moongate audit kinds` lists them.")]
User = Annotated[str | None, typer.Option(help="Only what this user did or received.")]
Repo = Annotated[str | None, typer.Option(help="Only about this repository.")]
Digest = Annotated[str | None, typer.Option(help="Only about this content, by sha256 or git oid.")]
Since = Annotated[str | None, typer.Option(help="Not older: 2h, 30d, 2026-11-28 or 2026-11-28T14:00 (UTC).")]
Until = Annotated[str | None, typer.Option(help="Older than: as --since.")]
Keys = Annotated[
    list[Path] | None,
    typer.Option("--key", help="Public key (PEM) whose checkpoints count; this home's own when left out."),
]
Outside = Annotated[
    list[Path] | None,
    typer.Option("--checkpoints", help="Checkpoints that were kept elsewhere: a file, or a folder of them."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="audit")


@group.command("list")
def list_lines(  # noqa: PLR0913 - each is an option
    kind: Kind = None,
    user: User = None,
    repo: Repo = None,
    digest: Digest = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most lines to show.")] = 50,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Show lines of the audit log, the newest first.

    \b
    Examples:
      moongate audit list
      moongate audit list --user alice --since 7d
      moongate audit list --kind file.deny --json | jq '.lines[].path'
      moongate audit list --digest 06ad1af9be7aa436f8d387b7d635aceb0cb378c979cc5b0991fab8e2e5369fe7
    """
    now = time.time()
    asked = {
        "kind": kind,
        "user": user,
        "repo": repo,
        "digest": digest,
        "since": parse_moment(since, "--since", now),
        "until": parse_moment(until, "--until", now),
    }
    gateway = chosen_gateway(home)
    if gateway is not None:
        told = {name: value for name, value in {**asked, "limit": limit}.items() if value is not None}
        lines: list[Mapping[str, Any]] = rows(gateway.ask("GET", f"/audit?{urlencode(told)}"), "lines")
    else:
        from moongate.hub.audit_desk import wanted_of

        with _home(home) as house:
            lines = [*house.audit_desk().search(wanted_of(**asked), limit)]  # type: ignore[arg-type]
    if as_json:
        put_json({"lines": lines})
        return
    words = ("seq", "at", "kind", "who", "from", "what", "more")
    columns = [Column(word, whole=word in ("seq", "at", "kind")) for word in words]
    put_table(columns, [_row(line) for line in lines])
    if not lines:
        say("no such lines")
    elif len(lines) == limit:
        say(f"the newest {limit} lines; --limit shows more, --until older ones")


@group.command("verify")
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="Lines in a file (an export or an archive) instead of the log.")
    ] = None,
    key: Keys = None,
    checkpoints: Outside = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Check that no line was changed, removed, added or moved. Exit code 1 when something is wrong.

    The log's own checkpoints show that whoever has not the signing key changed nothing before the last of
    them. Only checkpoints that were kept where the gateway cannot take them back (MOONGATE_AUDIT_CHECKPOINTS,
    `moongate audit checkpoint`) show that the log was not cut or made anew by whoever has everything.

    \b
    Examples:
      moongate audit verify
      moongate audit verify --checkpoints /mnt/worm/checkpoints.jsonl --key audit.pub
      moongate audit verify audit-2026-11.jsonl
    """
    from moongate.app.admin.audit import verification
    from moongate.app.wiring.stock import read_public_key
    from moongate.hub.audit_checkpoint import read_checkpoints

    gateway = chosen_gateway(home)
    if gateway is not None and file is None:
        if key or checkpoints:
            raise wrong_usage("--key and --checkpoints need the log here: name a home with --home, or a file")
        found = dict(gateway.ask("GET", "/audit-verification"))
    else:
        outside = [one for path in checkpoints or () for one in read_checkpoints(path)]
        with _home(home) as house:
            keys = [read_public_key(path) for path in key or ()] or [house.audit_key()]
            desk = house.audit_desk()
            if file is None:
                result = desk.verify(keys, outside)
            else:
                beside = file.with_name(f"{file.name}.checkpoint")
                outside += read_checkpoints(beside) if beside.is_file() else []
                result = desk.verify_file(file, keys, outside)
        found = verification(result).model_dump()
    if as_json:
        put_json(found)
    else:
        _tell_verified(found)
    if not found["sound"]:
        raise CommandFailed("the audit log is not what was written")


@group.command("export")
def export(  # noqa: PLR0913 - each is an option
    shape: Annotated[FormatWord, typer.Option("--format", help="The shape of each line.")] = FormatWord.jsonl,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this new file instead of stdout.")
    ] = None,
    kind: Kind = None,
    user: User = None,
    repo: Repo = None,
    digest: Digest = None,
    since: Since = None,
    until: Until = None,
    after: Annotated[int, typer.Option(min=0, help="Only lines after this number.")] = 0,
    home: options.Home = None,
) -> None:
    """Write lines of the audit log, the oldest first, one a line.

    jsonl gives each line exactly as it is hashed, so that an export of everything can be verified anywhere.
    ocsf is for data lakes (OCSF 1.3), cef for older SIEMs.

    \b
    Examples:
      moongate audit export > audit.jsonl
      moongate audit export --format ocsf --since 1d | kcat -t audit
      moongate audit export --format cef --after 1200 -o /var/spool/siem/audit.cef
    """
    from moongate.hub.audit_desk import wanted_of

    now = time.time()
    since_at, until_at = parse_moment(since, "--since", now), parse_moment(until, "--until", now)
    wanted = wanted_of(kind, user, repo, digest, since_at, until_at)
    gateway = chosen_gateway(home)
    with _sink(output) as write:
        if gateway is not None:
            from moongate.hub.audit_desk import written

            for row in _rows_there(gateway, after):
                if wanted.finds(row):
                    write(written(row, shape.value))
            return
        with _home(home) as house:
            for line in house.audit_desk().export(wanted, shape.value, after):
                write(line)


@group.command("checkpoint")
def checkpoint(
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Sign how far the log has come, and print that: keep it where the gateway cannot take it back.

    \b
    Examples:
      moongate audit checkpoint >> /mnt/worm/checkpoints.jsonl
      moongate audit checkpoint | mail -s 'audit checkpoint' auditor@example.com
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        told = gateway.ask("POST", "/audit-checkpoints").get("checkpoints")
        notes = [str(note) for note in told] if isinstance(told, list) else []
    else:
        with _home(home) as house:
            made = house.audit.checkpoint()
        notes = [made.note()] if made is not None else []
    if not notes:
        raise CommandFailed("there is no line yet")
    if as_json:
        put_json({"checkpoints": notes})
    else:
        put(notes[0])


@group.command("key")
def key_of_home(home: options.Home = None, as_json: options.Json = False) -> None:
    """Print the public key that checkpoints are verified with.

    \b
    Examples:
      moongate audit key > audit.pub
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        told = dict(gateway.ask("GET", "/audit-key"))
    else:
        with _home(home) as house:
            key = house.audit_key()
        told = {"id": key.id, "pem": key.pem}
    if as_json:
        put_json(told)
        return
    put(str(told["pem"]).rstrip("\n"))
    say(f"key {told['id']}")


@group.command("archive")
def archive(
    file: Annotated[Path, typer.Argument(help="A new file for the lines; its checkpoint is put beside it.")],
    older: Annotated[str, typer.Option(help="Lines older than this: 90d, 1y or 2026-06-30.")] = "90d",
    yes: options.Yes = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Move old lines into a file. The checkpoint of the last one stays, so that both halves can be verified.

    Archived lines are not searched any more, nor looked at by `moongate recall`.

    \b
    Examples:
      moongate audit archive /mnt/archive/audit-2026-q3.jsonl --older 90d
    """
    from moongate.cli.recording import local_actor
    from moongate.hub.audit_desk import wanted_of

    only_here("audit archive", home)
    moment = parse_moment(older, "--older", time.time())
    with _home(home) as house:
        desk = house.audit_desk()
        newest = desk.search(wanted_of(until=moment), 1)
        if not newest:
            raise CommandFailed(f"no line is older than {older}")
        until = int(newest[0]["seq"])
        if not yes and not confirm(f"Move the lines up to {until} into {file}?"):
            raise CommandFailed("nothing was moved")
        made = desk.archive(file, until, local_actor())
    if as_json:
        put_json({"file": str(file), "first": made.first, "last": made.last, "lines": made.lines})
    else:
        say(f"moved {count(made.lines, 'line')} ({made.first} to {made.last}) into {file}")


@group.command("kinds")
def kinds(as_json: options.Json = False) -> None:
    """List the kinds of events, and what they mean.

    \b
    Examples:
      moongate audit kinds
    """
    from moongate.hub.audit import KINDS

    if as_json:
        put_json({"kinds": dict(KINDS)})
        return
    put_table([Column("kind"), Column("meaning")], [[kind, meaning] for kind, meaning in KINDS.items()])


def _tell_verified(found: Mapping[str, Any]) -> None:
    for problem in found["problems"]:
        put(f"line {problem['seq']}: {problem['what']}")
    if found["more_problems"]:
        put(f"and {found['more_problems']} more")
    if not found["sound"]:
        return
    if not found["lines"]:
        say("there are no lines yet")
        return
    lines = f"{count(found['lines'], 'line')}, {found['first']} to {found['last']}"
    put(f"sound: {lines}; {count(found['checkpoints'], 'checkpoint')} signed for {found['signed_to']}")
    if found["signed_to"] < found["last"]:
        unsigned = found["last"] - found["signed_to"]
        say(f"the last {count(unsigned, 'line')} hang together, and no checkpoint vouches for them yet")


def _row(line: Mapping[str, Any]) -> list[str]:
    actor = line.get("actor", {})
    token = f" ({actor['token']})" if actor.get("token") else ""
    place = str(line.get("repo", ""))
    if line.get("commit"):
        place += f"@{line['commit'][:12]}"
    if line.get("path"):
        place += f"/{line['path']}"
    return [
        str(line["seq"]),
        str(line["at"])[:19] + "Z",
        str(line["kind"]),
        f"{actor.get('name', '')}{token}",
        str(actor.get("address", "")),
        place or str(line.get("subject", "")),
        _more(line),
    ]


def _more(line: Mapping[str, Any]) -> str:
    if line.get("reason"):
        return str(line["reason"])
    details = line.get("details", {})
    return " ".join(f"{name}={value}" for name, value in details.items())


def _rows_there(gateway: Gateway, after: int) -> Iterator[Any]:
    from moongate.hub.audit_line import row_of

    while True:
        told = gateway.ask("GET", f"/audit-lines?after={after}&limit={_PAGE}").get("lines")
        lines = [str(line) for line in told] if isinstance(told, list) else []
        if not lines:
            return
        for line in lines:
            row = row_of(line.encode())
            after = row.seq
            yield row


@contextmanager
def _sink(output: Path | None) -> Iterator[Any]:
    import sys

    if output is None:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    try:
        opened = output.open("xb")
    except FileExistsError:
        raise CommandFailed(f"{output} is there already") from None
    with opened:
        yield opened.write


@contextmanager
def _home(home: Path | None) -> Iterator[Stock]:
    from moongate.cli.house import open_home

    with open_home(home) as house:
        yield house
