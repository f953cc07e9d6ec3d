"""`moongate pin` and `unpin`: what no quota evicts."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed
from moongate.cli.gateway import chosen_gateway
from moongate.cli.recording import written
from moongate.cli.repos import RepoAt, parse_repo_at
from moongate.cli.terminal import put_json, say


def register(app: typer.Typer) -> None:
    app.command("pin")(pin)
    app.command("unpin")(unpin)


def pin(repos: options.Repos, home: options.Home = None, as_json: options.Json = False) -> None:
    """Keep repositories whatever the quota says.

    Also what is fetched of them later. With a revision, only that one: a pinned branch holds what it
    points to now. Nothing is fetched: that is `moongate pull`.

    \b
    Examples:
      moongate pin acme/tiny
      moongate pin acme/tiny@v1.0 datasets/acme/squad
    """
    targets = [parse_repo_at(text) for text in repos]
    gateway = chosen_gateway(home)
    if gateway is not None:
        for target in targets:
            gateway.ask("POST", "/pins", {"repo": str(target.repo), "revision": target.revision})
    else:
        from moongate.cli.house import load_settings, open_house

        with open_house(load_settings(home=home)) as house:
            known = set(house.index.repos())
            for target in targets:
                house.index.pin(target.repo, target.revision, time.time())
                written(house, "pin.create", repo=target.repo, details=_told(target))
                if target.repo not in known:
                    say(f"note: {target.repo} is not here yet; `moongate pull {target}` fetches it")
    _report("pinned", targets, as_json)


def unpin(repos: options.Repos, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take pins back: what they held may be evicted.

    \b
    Examples:
      moongate unpin acme/tiny
      moongate unpin acme/tiny@v1.0
    """
    targets = [parse_repo_at(text) for text in repos]
    gateway = chosen_gateway(home)
    unpinned: list[RepoAt] = []
    if gateway is not None:
        for target in targets:
            query = {"repo": str(target.repo)} | ({"revision": target.revision} if target.revision else {})
            if gateway.ask("DELETE", f"/pins?{urlencode(query)}").get("removed"):
                unpinned.append(target)
    else:
        from moongate.cli.house import open_home

        with open_home(home) as house:
            for target in targets:
                if house.index.unpin(target.repo, target.revision):
                    written(house, "pin.delete", repo=target.repo, details=_told(target))
                    unpinned.append(target)
    _report("unpinned", unpinned, as_json)
    absent = [str(target) for target in targets if target not in unpinned]
    if absent:
        raise CommandFailed(
            f"not pinned: {', '.join(absent)}",
            hint="`moongate ls` shows pins, `moongate show` which revisions",
        )


def _told(target: RepoAt) -> dict[str, str]:
    return {"revision": str(target.revision)} if target.revision else {}


def _report(done: str, targets: list[RepoAt], as_json: bool) -> None:
    names = [str(target) for target in targets]
    if as_json:
        put_json({done: names})
    elif names:
        say(f"{done} {', '.join(names)}")
