"""`moongate feed`: threat intelligence, what of it counts, and how old it is.

Feeds are added, removed, exported and imported on the gateway's machine, straight in its index, where a
running gateway sees them at once. With MOONGATE_URL the others go through that gateway's admin API.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from moongate.cli import options
from moongate.cli.exits import FAILED, CommandFailed, wrong_usage
from moongate.cli.gateway import chosen_gateway, number, only_here, rows
from moongate.cli.house import load_settings, open_home, open_house
from moongate.cli.recording import local_actor, record, written
from moongate.cli.terminal import Column, count, put, put_json, put_table, say
from moongate.cli.times import ago, parse_duration
from moongate.core.feeds import FEED_KINDS
from moongate.core.redaction import host_of

if TYPE_CHECKING:
    from moongate.app.wiring.stock import Stock
    from moongate.scan.feeds.refreshing import Outcome

group = typer.Typer(
    help="Threat intelligence: hash lists, STIX, TAXII, MISP, OSV, YARA, VirusTotal.", rich_markup_mode=None
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A feed's name.")]
_Kind = StrEnum("_Kind", {kind: kind for kind in FEED_KINDS})  # type: ignore[misc]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="feed")


@group.command("add")
def add(  # noqa: PLR0913  (a flag is an argument)
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="https://…, or a path on this machine.")],
    kind: Annotated[_Kind, typer.Option("--kind", help="What it is.")],
    key: Annotated[
        str, typer.Option("--key", help="Where its secret is: env:NAME or file:PATH; it is not copied.")
    ] = "",
    user: Annotated[str, typer.Option("--user", help="User name of HTTP Basic, with the key.")] = "",
    header: Annotated[
        str, typer.Option("--header", help="Header that carries the key, or `bearer`; else the kind's own.")
    ] = "",
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A host that it may redirect to.")
    ] = None,
    every: Annotated[str, typer.Option("--every", help="Time between fetches.")] = "1h",
    stale: Annotated[str, typer.Option("--stale", help="From which age on it is stale.")] = "7d",
    confidence: Annotated[
        int, typer.Option("--confidence", help="Of statements that name none; 60 is sure.", min=0, max=100)
    ] = 75,
    most_kept: Annotated[
        float,
        typer.Option("--most-kept", help="Percent of kept files a fetch may newly block unapproved."),
    ] = 5.0,
    per_minute: Annotated[int, typer.Option("--per-minute", help="Questions to a service.", min=1)] = 4,
    per_day: Annotated[int, typer.Option("--per-day", help="Questions to a service.", min=1)] = 500,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Add a feed; a running gateway fetches it within a minute.

    \b
    Examples:
      moongate feed add ours /etc/moongate/bad.csv --kind hashes
      moongate feed add pypi https://storage.example/PyPI/all.zip --kind osv --every 6h
      moongate feed add cert https://taxii.example/api/collections/9cfa/ --kind taxii --key env:TAXII
      moongate feed add vt https://www.virustotal.com --kind virustotal --key file:/run/secrets/vt
    """
    from moongate.core.feeds import FeedRow
    from moongate.scan.feeds.options import FeedOptions, check_url

    only_here("feed add", home)
    if not _NAME.fullmatch(name):
        raise wrong_usage(f"{name[:40]!r} cannot be a feed's name: letters, digits, dots and dashes")
    chosen = FeedOptions(
        key=key,
        user=user,
        header=header,
        allowed_hosts=tuple(allow_host or ()),
        every_seconds=parse_duration(every, "--every"),
        stale_seconds=parse_duration(stale, "--stale"),
        confidence=confidence,
        most_kept_percent=most_kept,
        per_minute=per_minute,
        per_day=per_day,
    )
    chosen.check()
    feed_kind = next(known for known in FEED_KINDS if known == str(kind))
    check_url(feed_kind, url)
    with open_house(load_settings(home=home)) as house:
        if house.index.feed(name) is not None:
            raise CommandFailed(f"there is a feed {name} already", hint=f"`moongate feed rm {name}` first")
        house.index.put_feed(FeedRow(name, feed_kind, url, time.time(), chosen.as_json()))
        details = {"kind": feed_kind, "host": host_of(url)}
        written(house, "feed.change", subject=name, effect="added", details=details)
    if as_json:
        put_json({"name": name, "kind": feed_kind, "url": url, "options": chosen.as_json()})
    else:
        say(f"added {name}; `moongate feed refresh {name}` fetches it now")


@group.command("list")
def list_feeds(home: options.Home = None, as_json: options.Json = False) -> None:
    """List the feeds: how old each is, what it holds, and what is wrong.

    \b
    Examples:
      moongate feed list
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        told: Mapping[str, object] = gateway.ask("GET", "/feeds")
    else:
        from moongate.app.admin.feeds import feeds_now

        with open_home(home) as house:
            told = feeds_now(house.index).model_dump()
    if as_json:
        put_json(dict(told))
        return
    feeds = rows(told, "feeds")
    columns = [Column("feed"), Column("kind"), Column("current"), Column("holds"), Column("state")]
    put_table(columns, [[str(f["name"]), str(f["kind"]), _current(f), _holds(f), _state(f)] for f in feeds])
    if not feeds:
        say("no feeds; `moongate feed add --help` shows how to add one")


@group.command("refresh")
def refresh(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="All when left out.")] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Fetch feeds now.

    \b
    Examples:
      moongate feed refresh
      moongate feed refresh ours
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        chosen = names or [str(row["name"]) for row in rows(gateway.ask("GET", "/feeds"), "feeds")]
        outcomes = [dict(gateway.ask("POST", "/feeds/refresh", {"name": name})) for name in chosen]
    else:
        outcomes = _refresh_here(names or [], home)
    _tell(outcomes, as_json=as_json)


@group.command("approve")
def approve(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Let what a feed brought count, although it looked wrong.

    \b
    Examples:
      moongate feed approve ours
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        outcome = dict(gateway.ask("POST", "/feeds/approve", {"name": name}))
    else:
        from dataclasses import asdict

        from moongate.scan.feeds import refreshing

        with open_home(home) as house:
            approved = refreshing.approve(house.index, name)
            record(house, refreshing.change_event(approved, local_actor()))
            _tell_gateways(house)
        outcome = asdict(approved)
    _tell([outcome], as_json=as_json)


@group.command("refuse")
def refuse(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Forget what a feed brought and is held; what it said before counts on.

    \b
    Examples:
      moongate feed refuse ours
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        gateway.ask("POST", "/feeds/refuse", {"name": name})
    else:
        from moongate.scan.feeds import refreshing

        with open_home(home) as house:
            refreshing.refuse(house.index, name)
            written(house, "feed.change", subject=name, effect="refused")
    if as_json:
        put_json({"name": name, "refused": True})
    else:
        say(f"what {name} brought is forgotten")


@group.command("check")
def check(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="A sha256, an MD5, acme/tiny, or a package==1.0.")
    ],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Say what threat intelligence knows; exit code 1 if it knows something.

    Through a gateway (MOONGATE_URL) services such as VirusTotal are asked, too.

    \b
    Examples:
      moongate feed check 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      moongate feed check gradio==4.44.1
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        answer = gateway.ask("GET", f"/feeds/check?subject={quote(subject, safe='')}")
        findings = rows(answer, "findings")
    else:
        from moongate.app.admin.feeds import plain
        from moongate.app.wiring.intelligence import open_intelligence
        from moongate.scan.feeds.subjects import read_subject

        wanted = read_subject(subject)
        with open_home(home) as house:
            known = open_intelligence(house)
            found = known.packages(wanted) if isinstance(wanted, str) else known.known(wanted)
            findings = list(plain(found))
    if as_json:
        put_json({"subject": subject, "findings": [dict(finding) for finding in findings]})
    else:
        _put_findings(findings)
    if findings:
        raise typer.Exit(FAILED)


@group.command("hunt")
def hunt(home: options.Home = None, as_json: options.Json = False) -> None:
    """List what is kept here and known to threat intelligence; exit code 1 if there is any.

    \b
    Examples:
      moongate feed hunt
    """
    gateway = chosen_gateway(home)
    if gateway is not None:
        told = gateway.ask("GET", "/feeds/hunt").get("kept")
        kept = told if isinstance(told, dict) else {}
    else:
        from moongate.app.admin.feeds import plain
        from moongate.app.wiring.intelligence import open_intelligence

        with open_home(home) as house:
            house.keeping.note_digests()
            known = open_intelligence(house).kept_and_known()
            kept = {etag: plain(found) for etag, found in known.items()}
    if as_json:
        put_json({"kept": kept})
    else:
        lines = [[etag[:16], str(one["severity"]), str(one["what"])] for etag in kept for one in kept[etag]]
        put_table([Column("content"), Column("severity"), Column("what")], lines)
        if not kept:
            say("nothing that is kept is known to threat intelligence")
    if kept:
        raise typer.Exit(FAILED)


@group.command("export")
def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle to write.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="All when left out.")] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Write feeds to one file, for a gateway without a network. What is TLP:RED stays here.

    \b
    Examples:
      moongate feed export feeds.zip
    """
    from moongate.scan.feeds.bundles import write_bundle

    only_here("feed export", home)
    with open_home(home) as house:
        exported = write_bundle(house.index, names or [], target, time.time())
    if as_json:
        told = [{"feed": e.feed, "statements": e.statements, "left_out": e.left_out} for e in exported]
        put_json({"file": str(target), "feeds": told})
        return
    for one in exported:
        left = f"; {one.left_out} that are TLP:RED were left out" if one.left_out else ""
        say(f"{one.feed}: {count(one.statements, 'statement')}{left}")
    say(f"wrote {target}")


@group.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle that `feed export` wrote.")],
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Take feeds from a bundle; they are as old as they were where they come from.

    \b
    Examples:
      moongate feed import feeds.zip
    """
    from dataclasses import asdict

    from moongate.scan.feeds import refreshing
    from moongate.scan.feeds.bundles import read_bundle

    only_here("feed import", home)
    with open_house(load_settings(home=home)) as house:
        taken = read_bundle(house.index, source, time.time())
        for outcome in taken:
            if outcome.how in ("changed", "held"):
                record(house, refreshing.change_event(outcome, local_actor()))
        _tell_gateways(house)
    _tell([asdict(outcome) for outcome in taken], as_json=as_json)


@group.command("rm")
def remove(name: _Name, home: options.Home = None, as_json: options.Json = False) -> None:
    """Forget a feed and all it said.

    \b
    Examples:
      moongate feed rm ours
    """
    only_here("feed rm", home)
    with open_home(home) as house:
        removed = house.index.drop_feed(name)
        if removed:
            written(house, "feed.change", subject=name, effect="removed")
        _tell_gateways(house)
    if not removed:
        raise CommandFailed(f"there is no feed {name}", hint="`moongate feed list` shows all")
    if as_json:
        put_json({"name": name, "removed": True})
    else:
        say(f"{name} is forgotten; what it called dangerous is judged anew")


def _tell_gateways(house: Stock) -> None:
    """Has those that serve this home decide anew."""
    from moongate.app.wiring.governing import open_changes

    open_changes(house).raise_it()


def _refresh_here(names: list[str], home: Path | None) -> list[dict[str, object]]:
    from dataclasses import asdict

    from moongate.app.wiring.governing import announced
    from moongate.app.wiring.intelligence import open_refresher

    async def run() -> list[Outcome]:
        refresher = open_refresher(house, announced(house, house.audit))
        chosen = names or [feed.name for feed in house.index.feeds() if feed.kind != "virustotal"]
        return [await refresher.refresh(name, local_actor()) for name in chosen]

    with open_home(home) as house:
        return [asdict(outcome) for outcome in asyncio.run(run())]


def _tell(outcomes: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        put_json({"feeds": outcomes})
    for outcome in outcomes if not as_json else ():
        why = f": {outcome['why']}" if outcome.get("why") else ""
        holds = f" ({_holds(outcome)})" if outcome["how"] in ("changed", "held") else ""
        say(f"{outcome['feed']}: {_HOW[str(outcome['how'])]}{holds}{why}")
    held = [str(outcome["feed"]) for outcome in outcomes if outcome["how"] == "held"]
    if held and not as_json:
        say(f"hint: `moongate feed approve {held[0]}` lets it count, `feed refuse` forgets it")
    if any(outcome["how"] in ("failed", "held") for outcome in outcomes):
        raise typer.Exit(FAILED)


_HOW = {
    "same": "nothing new",
    "changed": "counts now",
    "held": "waits for approval",
    "failed": "failed",
    "busy": "busy",
}


def _put_findings(findings: list[Mapping[str, object]] | list[dict[str, object]]) -> None:
    for finding in findings:
        evidence = finding.get("evidence")
        told = evidence if isinstance(evidence, dict) else {}
        put(f"{finding['severity']}: {finding['what']}")
        put(f"  {finding['why']} Feed {told.get('feed')}, fetched {told.get('feed_fetched_at', 'never')}.")
    if not findings:
        say("no feed knows it; that is not the same as safe")


def _current(feed: Mapping[str, object]) -> str:
    at = feed.get("fetched_at")
    return ago(float(at)) if isinstance(at, int | float) else "never"


def _holds(feed: Mapping[str, object]) -> str:
    nouns = {"indicators": "indicator", "advisories": "advisory", "rules": "rule list"}
    counts = [(number(feed, name), noun) for name, noun in nouns.items()]
    return ", ".join(count(held, noun) for held, noun in counts if held) or "nothing"


def _state(feed: Mapping[str, object]) -> str:
    if feed.get("held"):
        return f"held: {feed['held']}"
    if feed.get("trouble"):
        return f"trouble: {feed['trouble']}"
    return "stale" if feed.get("stale") else "ok"
