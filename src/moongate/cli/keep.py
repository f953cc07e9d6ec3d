"""`moongate rm`, `pin`, `unpin`, `verify` and `gc`: what stays, what goes, and whether it is still right.

All of them may run beside a gateway on the same home.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from moongate.cli import options
from moongate.cli.exits import FAILED, CommandFailed, wrong_usage
from moongate.cli.gateway import only_here
from moongate.cli.repos import RepoAt, RepoPattern, parse_repo_at, parse_wanted
from moongate.cli.terminal import Bars, bars, confirm, count, may_ask, put, put_json, say, size
from moongate.cli.times import parse_duration
from moongate.core.errors import RevisionAbsent, StoreError
from moongate.core.names import CommitHash

if TYPE_CHECKING:
    from moongate.app.wiring import Stock

_PAGE = 500


def register(app: typer.Typer) -> None:
    app.command("rm")(rm)
    app.command("pin")(pin)
    app.command("unpin")(unpin)
    app.command("verify")(verify)
    app.command("gc")(gc)


def rm(
    repos: options.Repos,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Delete repositories, and say how many bytes that freed.

    With a revision, only what that one commit has.

    Content that other repositories share stays. What upstream still has can be pulled again.

    \b
    Examples:
      moongate rm acme/tiny
      moongate rm acme/tiny@v1.0 --yes
      moongate rm 'acme/*' --dry-run
    """
    only_here("rm", home)
    from moongate.cli.house import open_home

    with open_home(home) as house:
        targets = _targets(house, repos)
        if dry_run:
            would = [(target, _would_free(house, target)) for target in targets]
            _report_removal(would, as_json=as_json, dry_run=True)
            return
        if not yes:
            _ask(targets)
        freed = [(target, _remove(house, target)) for target in targets]
    _report_removal(freed, as_json=as_json, dry_run=False)


def pin(repos: options.Repos, home: options.Home = None, as_json: options.Json = False) -> None:
    """Keep repositories whatever the quota says.

    Also what is fetched of them later. With a revision, only that one: a pinned branch holds what it
    points to now. Nothing is fetched: that is `moongate pull`.

    \b
    Examples:
      moongate pin acme/tiny
      moongate pin acme/tiny@v1.0 datasets/acme/squad
    """
    only_here("pin", home)
    from moongate.cli.house import load_settings, open_house

    targets = [parse_repo_at(text) for text in repos]
    with open_house(load_settings(home=home)) as house:
        known = set(house.index.repos())
        for target in targets:
            house.index.pin(target.repo, target.revision, time.time())
            if target.repo not in known:
                say(f"note: {target.repo} is not here yet; `moongate pull {target}` fetches it")
    if as_json:
        put_json({"pinned": [str(target) for target in targets]})
    else:
        say(f"pinned {', '.join(str(target) for target in targets)}")


def unpin(repos: options.Repos, home: options.Home = None, as_json: options.Json = False) -> None:
    """Take pins back: what they held may be evicted.

    \b
    Examples:
      moongate unpin acme/tiny
      moongate unpin acme/tiny@v1.0
    """
    only_here("unpin", home)
    from moongate.cli.house import open_home

    targets = [parse_repo_at(text) for text in repos]
    with open_home(home) as house:
        unpinned = [target for target in targets if house.index.unpin(target.repo, target.revision)]
    if as_json:
        put_json({"unpinned": [str(target) for target in unpinned]})
    elif unpinned:
        say(f"unpinned {', '.join(str(target) for target in unpinned)}")
    absent = [str(target) for target in targets if target not in unpinned]
    if absent:
        raise CommandFailed(
            f"not pinned: {', '.join(absent)}",
            hint="`moongate ls` shows pins, `moongate show` which revisions",
        )


def verify(
    older_than: Annotated[
        str | None, typer.Option(help="Only what was last found right so long ago: 12h, 30d.")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Hash everything again; quarantine what is wrong.

    Files whose bytes are not what their name says go to the quarantine folder of the store with a note,
    and are fetched anew when asked for. Exit code 1 if there were any. After a Ctrl-C, --older-than
    goes on where it stopped.

    \b
    Examples:
      moongate verify
      moongate verify --older-than 30d
      moongate verify --json | jq .wrong
    """
    only_here("verify", home)
    from moongate.cli.house import open_home

    before = float("inf")
    if older_than is not None:
        before = time.time() - parse_duration(older_than, "--older-than")
    with open_home(home) as house, bars(quiet=quiet) as shown:
        meter = _Meter(shown, house.index.total_bytes())
        results = [
            checked
            for checked in house.keeping.verify(verified_before=before, progress=meter.add)
            if checked.outcome != "gone"
        ]
    wrong = [checked for checked in results if checked.outcome == "wrong"]
    checked_bytes = sum(checked.size_bytes for checked in results)
    if as_json:
        put_json(
            {
                "checked": len(results),
                "checked_bytes": checked_bytes,
                "wrong": [
                    {
                        "etag": checked.etag,
                        "size_bytes": checked.size_bytes,
                        "why": checked.why,
                        "quarantined_at": str(checked.quarantined_at),
                    }
                    for checked in wrong
                ],
            }
        )
    else:
        for checked in wrong:
            put(f"{checked.etag}\t{checked.why}\t{checked.quarantined_at}")
        say(f"{count(len(results), 'file')}, {size(checked_bytes)} hashed; {len(wrong)} wrong")
    if wrong:
        raise CommandFailed(
            f"{count(len(wrong), 'file')} not what the name says: quarantined, fetched anew when asked for",
            hint="bad bytes on disk mean a bad disk or memory: look at `dmesg` and `smartctl`",
        )


def gc(
    idle: Annotated[
        str | None, typer.Option(help="Unfinished downloads go when nobody touched them for so long [7d].")
    ] = None,
    home: options.Home = None,
    as_json: options.Json = False,
) -> None:
    """Collect what serves nobody any more.

    Unfinished downloads nobody waits for, leftovers of crashes, old answers, old quarantined files.
    Also brings disk and index into line, both ways, and evicts when the store is over its quota.
    Touches nothing that is being read or filled.

    \b
    Examples:
      moongate gc
      moongate gc --idle 1h --json
    """
    only_here("gc", home)
    from moongate.cli.house import open_home
    from moongate.store.keeping import Ages

    ages = Ages() if idle is None else Ages(partial_idle_seconds=parse_duration(idle, "--idle"))
    with open_home(home) as house:
        collected = house.keeping.collect(ages)
        evicted = house.keeping.evict()
    freed_bytes = collected.freed_bytes + evicted.freed_bytes
    if as_json:
        put_json(
            {
                "freed_bytes": freed_bytes,
                "partials": collected.partials + evicted.partials,
                "temporaries": collected.temporaries,
                "quarantined": collected.quarantined,
                "answers": collected.answers,
                "rows_dropped": collected.rows_dropped,
                "registered": collected.registered,
                "evicted": evicted.blobs,
                "over_bytes": evicted.over_bytes,
            }
        )
        return
    done = {
        "unfinished downloads removed": collected.partials + evicted.partials,
        "leftovers of crashes removed": collected.temporaries,
        "old quarantined files removed": collected.quarantined,
        "answers nobody asked for forgotten": collected.answers,
        "index rows without a file dropped": collected.rows_dropped,
        "files without an index row registered": collected.registered,
        "files evicted for the quota": evicted.blobs,
    }
    for words, number in done.items():
        if number:
            say(f"{number} {words}")
    say(f"freed {size(freed_bytes)} ({freed_bytes} bytes)")
    if evicted.over_bytes:
        say(f"warning: still {size(evicted.over_bytes)} over the limits; the rest is pinned or in use")


class _Meter:
    """Adds up what several threads hashed, and moves one bar."""

    def __init__(self, shown: Bars, total_bytes: int) -> None:
        self._shown = shown
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            self._shown.update("hashing", self._done_bytes, max(self._total_bytes, self._done_bytes))


def _targets(house: Stock, texts: list[str]) -> list[RepoAt]:
    """What these names and patterns mean among the repositories known here."""
    known = house.index.repos()
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


def _would_free(house: Stock, target: RepoAt) -> int:
    """What removing this would free; for several at once it is less than certain, since they may share."""
    index, commit_hash = house.index, None
    if target.revision is not None:
        ref = index.refs_of(target.repo).get(target.revision)
        commit_hash = ref.commit_hash if ref else CommitHash(str(target.revision))
        if commit_hash not in index.commits_of(target.repo):
            raise RevisionAbsent(f"{target} is not known here")
    freed_bytes, after = 0, ""
    while page := index.contents_of(target.repo, commit_hash, after, _PAGE):
        after = page[-1].etag
        freed_bytes += sum(house.blobs.size_bytes(item.etag) or 0 for item in page if not item.shared)
    return freed_bytes


def _remove(house: Stock, target: RepoAt) -> int:
    pins = [pin for pin in house.index.pins() if pin.repo == target.repo]
    try:
        removed = house.keeping.remove(target.repo, target.revision)
    except StoreError as error:
        names = " ".join(str(RepoAt(pin.repo, pin.revision)) for pin in pins)
        raise CommandFailed(error.message, hint=f"`moongate unpin {names}`" if pins else None) from None
    if removed.kept_bytes:
        say(f"{target}: {size(removed.kept_bytes)} stay, because others share them")
    if removed.filling:
        say(f"{target}: {count(removed.filling, 'download')} still running; `moongate gc` takes them later")
    return removed.freed_bytes


def _ask(targets: list[RepoAt]) -> None:
    names = ", ".join(str(target) for target in targets)
    if not may_ask():
        raise wrong_usage(f"this would delete {names}", hint="add --yes to do it, --dry-run to look first")
    if not confirm(f"Delete {names}?"):
        raise typer.Exit(FAILED)


def _report_removal(freed: list[tuple[RepoAt, int]], *, as_json: bool, dry_run: bool) -> None:
    total_bytes = sum(freed_bytes for _, freed_bytes in freed)
    if as_json:
        put_json(
            {
                "dry_run": dry_run,
                "freed_bytes": total_bytes,
                "repos": [{"repo": str(target), "freed_bytes": amount} for target, amount in freed],
            }
        )
        return
    for target, amount in freed:
        if dry_run:
            say(f"would delete {target}: {size(amount)} ({amount} bytes)")
        else:
            say(f"deleted {target}: freed {size(amount)} ({amount} bytes)")
