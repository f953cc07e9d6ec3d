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
    """What one repository has here.

    logical_bytes: its files, added up. size_bytes: what they take on disk. own_bytes: the part of that which
    no other repository shares.
    """

    repo: RepoId
    files: int
    logical_bytes: int
    size_bytes: int
    own_bytes: int
    last_read_at: float | None
    pinned: bool

    @property
    def saved_bytes(self) -> int:
        """What keeping equal files and equal chunks once saves; negative when hot files are kept twice."""
        return self.logical_bytes - self.size_bytes

    def as_json(self) -> dict[str, object]:
        return {
            "repo": str(self.repo),
            "repo_type": self.repo.repo_type,
            "repo_id": self.repo.repo_id,
            "files": self.files,
            "logical_bytes": self.logical_bytes,
            "size_bytes": self.size_bytes,
            "saved_bytes": self.saved_bytes,
            "own_bytes": self.own_bytes,
            "last_read_at": moment(self.last_read_at),
            "pinned": self.pinned,
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """The store as a whole; see `store.keeping.StoreUsage`."""

    logical_bytes: int
    stored_bytes: int
    saved_bytes: int
    xet_files: int
    xorb_bytes: int


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

    FILES is what the files come to, added up; SIZE what they take on disk, where equal files and equal
    chunks lie once; SAVED the difference. ALONE is what `moongate rm` of that one repository would free;
    the rest is shared with others.

    \b
    Examples:
      moongate du
      moongate du 'acme/*' --json
    """
    shelves = sorted(_chosen(_shelves(home), repos), key=lambda shelf: -shelf.size_bytes)
    totals = None if repos else _totals(home)
    if as_json:
        put_json(
            {
                "repos": [shelf.as_json() for shelf in shelves],
                "total_bytes": totals.stored_bytes if totals else None,
                "logical_bytes": totals.logical_bytes if totals else None,
                "saved_bytes": totals.saved_bytes if totals else None,
                "xet_files": totals.xet_files if totals else None,
                "xorb_bytes": totals.xorb_bytes if totals else None,
            }
        )
        return
    columns = [
        Column("size", "right"),
        Column("alone", "right"),
        Column("files", "right"),
        Column("saved", "right"),
        Column("repository"),
    ]
    lines = [
        [
            size(shelf.size_bytes),
            size(shelf.own_bytes),
            size(shelf.logical_bytes),
            size(shelf.saved_bytes),
            str(shelf.repo),
        ]
        for shelf in shelves
    ]
    if totals is not None:
        total = [size(totals.stored_bytes), "", size(totals.logical_bytes), size(totals.saved_bytes)]
        lines.append([*total, "total on disk"])
    put_table(columns, lines)


def _shelves(home: Path | None) -> list[Shelf]:
    gateway = chosen_gateway(home)
    return _shelves_there(gateway) if gateway is not None else _shelves_here(home)


def _shelves_here(home: Path | None) -> list[Shelf]:
    from moongate.cli.house import open_home

    with open_home(home) as house:
        pinned = {pin.repo for pin in house.index.pins()}
        return [
            Shelf(
                row.repo,
                row.files,
                row.logical_bytes,
                row.stored_bytes,
                row.own_bytes,
                row.last_read_at,
                row.repo in pinned,
            )
            for row in house.index.usage_by_repo()
        ]


def _shelves_there(gateway: Gateway) -> list[Shelf]:
    return [
        Shelf(
            parse_repo(str(row["repo"])),
            number(row, "files"),
            number(row, "logical_bytes"),
            number(row, "stored_bytes"),
            number(row, "own_bytes"),
            float(read_at) if isinstance(read_at := row.get("last_read_at"), int | float) else None,
            bool(row.get("pinned")),
        )
        for row in rows(gateway.ask("GET", "/repos"), "repos")
    ]


def _totals(home: Path | None) -> Totals:
    gateway = chosen_gateway(home)
    if gateway is not None:
        told = gateway.ask("GET", "/usage")
        return Totals(*(number(told, name) for name in Totals.__dataclass_fields__))
    from moongate.cli.house import open_home

    with open_home(home) as house:
        usage = house.keeping.usage()
        return Totals(*(getattr(usage, name) for name in Totals.__dataclass_fields__))


def _chosen(shelves: Sequence[Shelf], wanted: list[str] | None) -> list[Shelf]:
    chosen = set(select([shelf.repo for shelf in shelves], wanted or []))
    return sorted((shelf for shelf in shelves if shelf.repo in chosen), key=lambda shelf: shelf.repo)
