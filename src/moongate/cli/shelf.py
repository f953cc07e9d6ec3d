"""`moongate ls` and `du`: what is kept, and what it takes.

Read-only, and safe beside a running gateway. Sizes count bytes on this machine's disk: a file that two
repositories share lies here once, and counts for each of them in SIZE, for neither in ALONE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from moongate.cli import options
from moongate.cli.gateway import Gateway, chosen_gateway, number, rows
from moongate.cli.repos import select
from moongate.cli.terminal import Column, put_json, put_table, say, size
from moongate.cli.times import ago, moment
from moongate.core.names import RepoId, parse_repo


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one repository has here. `own_bytes` are those that no other repository shares."""

    repo: RepoId
    files: int
    size_bytes: int
    own_bytes: int
    last_read_at: float | None
    pinned: bool

    def as_json(self) -> dict[str, object]:
        return {
            "repo": str(self.repo),
            "repo_type": self.repo.repo_type,
            "repo_id": self.repo.repo_id,
            "files": self.files,
            "size_bytes": self.size_bytes,
            "own_bytes": self.own_bytes,
            "last_read_at": moment(self.last_read_at),
            "pinned": self.pinned,
        }


def register(app: typer.Typer) -> None:
    app.command("ls")(ls)
    app.command("du")(du)


def ls(
    repos: options.SomeRepos = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """List the repositories that have files here.

    \b
    Examples:
      moongate ls
      moongate ls 'acme/*' 'datasets/*'
      moongate ls --json | jq -r '.repos[] | select(.pinned | not) | .repo'
    """
    shelves = _chosen(_shelves(home), repos)
    if as_json:
        put_json({"repos": [shelf.as_json() for shelf in shelves]})
        return
    columns = [
        Column("repository"),
        Column("files", "right"),
        Column("size", "right"),
        Column("last read"),
        Column("pinned"),
    ]
    put_table(
        columns,
        [
            [
                str(shelf.repo),
                str(shelf.files),
                size(shelf.size_bytes),
                ago(shelf.last_read_at),
                "pinned" if shelf.pinned else "",
            ]
            for shelf in shelves
        ],
    )
    if not shelves:
        say(
            "nothing is kept here"
            + (" of these" if repos else "; `moongate pull acme/tiny` fetches something")
        )


def du(repos: options.SomeRepos = None, home: options.Home = None, as_json: options.Json = False) -> None:
    """Show the disk repositories take, largest first.

    ALONE is what `moongate rm` of that one repository would free; the rest is shared with others.

    \b
    Examples:
      moongate du
      moongate du 'acme/*' --json
    """
    shelves = sorted(_chosen(_shelves(home), repos), key=lambda shelf: -shelf.size_bytes)
    total_bytes = None if repos else _total_bytes(home)
    if as_json:
        put_json({"repos": [shelf.as_json() for shelf in shelves], "total_bytes": total_bytes})
        return
    columns = [Column("size", "right"), Column("alone", "right"), Column("repository")]
    lines = [[size(shelf.size_bytes), size(shelf.own_bytes), str(shelf.repo)] for shelf in shelves]
    if total_bytes is not None:
        lines.append([size(total_bytes), "", "total on disk"])
    put_table(columns, lines)


def _shelves(home: Path | None) -> list[Shelf]:
    gateway = chosen_gateway(home)
    return _shelves_there(gateway) if gateway is not None else _shelves_here(home)


def _shelves_here(home: Path | None) -> list[Shelf]:
    from moongate.cli.house import open_home

    with open_home(home) as house:
        pinned = {pin.repo for pin in house.index.pins()}
        return [
            Shelf(row.repo, row.files, row.stored_bytes, row.own_bytes, row.last_read_at, row.repo in pinned)
            for row in house.index.usage_by_repo()
        ]


def _shelves_there(gateway: Gateway) -> list[Shelf]:
    return [
        Shelf(
            parse_repo(str(row["repo"])),
            number(row, "files"),
            number(row, "stored_bytes"),
            number(row, "own_bytes"),
            float(read_at) if isinstance(read_at := row.get("last_read_at"), int | float) else None,
            bool(row.get("pinned")),
        )
        for row in rows(gateway.ask("GET", "/repos"), "repos")
    ]


def _total_bytes(home: Path | None) -> int:
    gateway = chosen_gateway(home)
    if gateway is not None:
        return number(gateway.ask("GET", "/usage"), "blob_bytes")
    from moongate.cli.house import open_home

    with open_home(home) as house:
        return house.index.total_bytes()


def _chosen(shelves: Sequence[Shelf], wanted: list[str] | None) -> list[Shelf]:
    chosen = set(select([shelf.repo for shelf in shelves], wanted or []))
    return sorted((shelf for shelf in shelves if shelf.repo in chosen), key=lambda shelf: shelf.repo)
