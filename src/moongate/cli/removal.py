"""`moongate rm`: repositories given up by order, their bytes freed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import FAILED, CommandFailed, wrong_usage
from moongate.cli.gateway import Gateway, chosen_gateway, number, rows
from moongate.cli.recording import written
from moongate.cli.repos import RepoAt, RepoPattern, parse_wanted
from moongate.cli.terminal import confirm, count, may_ask, put_json, say, size
from moongate.core.errors import StoreError
from moongate.core.names import RepoId, parse_repo

if TYPE_CHECKING:
    from moongate.app.wiring.stock import Stock


def register(app: typer.Typer) -> None:
    app.command("rm")(rm)


def rm(
    repos: options.Repos,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Delete repositories, and say how many bytes that freed.

    With a revision, only what that one commit has. Content that other repositories share stays, down to
    the chunks of files in Xet. What upstream still has can be pulled again.

    \b
    Examples:
      moongate rm acme/tiny
      moongate rm acme/tiny@v1.0 --yes
      moongate rm 'acme/*' --dry-run
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        if dry_run:
            raise wrong_usage("a gateway elsewhere makes no dry run", hint="ALONE of `moongate du` says it")
        targets = _targets(_known_there(gateway), repos)
        if not yes:
            _ask(targets)
        _report([(target, _remove_there(gateway, target)) for target in targets], as_json, dry_run=False)
        return
    from moongate.cli.house import open_home

    with open_home(home) as house:
        targets = _targets(house.index.repos(), repos)
        if not (dry_run or yes):
            _ask(targets)
        act: Callable[[Stock, RepoAt], int] = _would_free if dry_run else _remove_here
        _report([(target, act(house, target)) for target in targets], as_json, dry_run=dry_run)


def _targets(known: Iterable[RepoId], texts: list[str]) -> list[RepoAt]:
    """What these names and patterns mean among the repositories that are known."""
    known = sorted(known)
    targets: list[RepoAt] = []
    for text in texts:
        wanted = parse_wanted(text)
        if isinstance(wanted, RepoPattern):
            fitting = [RepoAt(repo, wanted.revision) for repo in known if wanted.matches(repo)]
        else:
            fitting = [wanted] if wanted.repo in known else []
        if not fitting:
            raise CommandFailed(f"{text} is not known here", hint="`moongate ls` shows what is")
        targets += [target for target in fitting if target not in targets]
    return targets


def _known_there(gateway: Gateway) -> list[RepoId]:
    return [parse_repo(str(row["repo"])) for row in rows(gateway.ask("GET", "/repos"), "repos")]


def _would_free(house: Stock, target: RepoAt) -> int:
    return house.keeping.would_free(target.repo, target.revision)


def _remove_here(house: Stock, target: RepoAt) -> int:
    pins = [RepoAt(pin.repo, pin.revision) for pin in house.index.pins() if pin.repo == target.repo]
    try:
        removed = house.keeping.remove(target.repo, target.revision)
    except StoreError as error:
        hint = f"`moongate unpin {' '.join(map(str, pins))}`" if pins else None
        raise CommandFailed(error.message, hint=hint) from None
    details: dict[str, object] = {"freed_bytes": removed.freed_bytes}
    if target.revision:
        details["revision"] = str(target.revision)
    written(house, "repo.delete", repo=target.repo, details=details)
    _tell_what_stays(target, removed.kept_bytes, removed.filling)
    return removed.freed_bytes


def _remove_there(gateway: Gateway, target: RepoAt) -> int:
    query = {"repo": str(target.repo)} | ({"revision": target.revision} if target.revision else {})
    removed = gateway.ask("DELETE", f"/repos?{urlencode(query)}")
    _tell_what_stays(target, number(removed, "kept_bytes"), number(removed, "filling"))
    return number(removed, "freed_bytes")


def _tell_what_stays(target: RepoAt, kept_bytes: int, filling: int) -> None:
    if kept_bytes:
        say(f"{target}: {size(kept_bytes)} stay, because others share or need them")
    if filling:
        say(f"{target}: {count(filling, 'download')} still running; `moongate gc` takes them later")


def _ask(targets: list[RepoAt]) -> None:
    names = ", ".join(str(target) for target in targets)
    if not may_ask():
        raise wrong_usage(f"this would delete {names}", hint="add --yes to do it, --dry-run to look first")
    if not confirm(f"Delete {names}?"):
        raise typer.Exit(FAILED)


def _report(freed: list[tuple[RepoAt, int]], as_json: bool, *, dry_run: bool) -> None:
    if as_json:
        put_json(
            {
                "dry_run": dry_run,
                "freed_bytes": sum(amount for _, amount in freed),
                "repos": [{"repo": str(target), "freed_bytes": amount} for target, amount in freed],
            }
        )
        return
    for target, amount in freed:
        words = f"would delete {target}: " if dry_run else f"deleted {target}: freed "
        say(f"{words}{size(amount)} ({amount} bytes)")
