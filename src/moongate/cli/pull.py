"""`moongate pull`: fetch repositories into the store, before anybody asks for them.

A pull may be broken off and repeated: what has come is kept, and not fetched again. It may run beside a
gateway on the same home; both then share one copy of every download.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from moongate.cli import exits, options
from moongate.cli.exits import CommandFailed, exit_code_of, hint_of, wrong_usage
from moongate.cli.gateway import Gateway, chosen_gateway, number
from moongate.cli.globs import must_be_closed
from moongate.cli.jobs import run_job
from moongate.cli.recording import written
from moongate.cli.repos import RepoAt, RepoPattern, parse_wanted
from moongate.cli.terminal import Bars, Column, bars, count, put_json, put_table, say, size
from moongate.cli.times import duration
from moongate.core.errors import MoongateError, StoreFull
from moongate.core.names import RepoId, Revision, parse_revision

if TYPE_CHECKING:
    from moongate.app.settings import Settings
    from moongate.app.wiring.gateway import Gateway as House
    from moongate.core.callers import Caller
    from moongate.core.records import FileEntry
    from moongate.hub.pull import PullPlan


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    wanted: Sequence[RepoAt | RepoPattern]
    revision: Revision
    include: Sequence[str]
    exclude: Sequence[str]
    pin: bool
    dry_run: bool

    def revision_of(self, item: RepoAt | RepoPattern) -> Revision:
        return item.revision or self.revision


@dataclass(frozen=True, slots=True)
class Pulled:
    """How the pull of one repository went. `error` is why it did not come at all."""

    repo: RepoId
    revision: Revision
    commit_hash: str | None = None
    files: int = 0
    size_bytes: int = 0
    fetched_bytes: int = 0
    failed: Sequence[tuple[str, MoongateError]] = field(default=())
    error: MoongateError | None = None

    @property
    def trouble(self) -> MoongateError | None:
        """The first thing that went wrong."""
        return self.error or next((error for _, error in self.failed), None)

    def as_json(self) -> dict[str, object]:
        return {
            "repo": str(self.repo),
            "revision": self.revision,
            "commit_hash": self.commit_hash,
            "files": self.files,
            "size_bytes": self.size_bytes,
            "fetched_bytes": self.fetched_bytes,
            "failed": [{"path": path, "why": error.message} for path, error in self.failed],
            "error": self.error.message if self.error else None,
        }


def register(app: typer.Typer) -> None:
    app.command("pull")(pull)


def pull(  # noqa: PLR0913  (a flag is an argument)
    repos: options.Repos,
    revision: Annotated[
        str, typer.Option(help="Branch, tag, refs/pr/N or commit, for names without @revision.")
    ] = "main",
    repo_type: options.Type = options.RepoTypeWord.model,
    include: Annotated[
        list[str] | None, typer.Option(help="Only files that fit this glob; may be given several times.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="No files that fit this glob; may be given several times.")
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="Pin what was pulled, so that no quota evicts it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fetched; fetch nothing.")
    ] = False,
    home: options.Home = None,
    upstream: Annotated[str | None, typer.Option(help="The Hub to fetch from.")] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch repositories into the store, ahead of need.

    Every file is verified. What is here already is not fetched again, so the same command resumes a pull
    that was broken off. Gated and private repositories come with MOONGATE_UPSTREAM_TOKEN. With
    MOONGATE_URL that gateway does the pull.

    \b
    Examples:
      moongate pull acme/tiny
      moongate pull acme/tiny@v1.0 datasets/acme/squad
      moongate pull 'acme/*' --exclude '*.bin' --exclude onnx/
      moongate pull acme/llama-gguf --include '*Q4_K_M.gguf' --pin
      moongate pull acme/tiny --dry-run --json | jq '.repos[].size_bytes'
    """
    wanted = [parse_wanted(text, repo_type.value) for text in repos]
    for item in wanted:
        if isinstance(item, RepoPattern):
            must_be_closed(item)  # before anything is fetched
    wish = Wish(
        wanted,
        parse_revision(revision),
        include or [],
        exclude or [],
        pin,
        dry_run,
    )
    started = time.monotonic()
    gateway = chosen_gateway(home)
    with bars(quiet=quiet) as shown:
        if gateway is not None:
            if upstream is not None or dry_run:
                raise wrong_usage("--upstream and --dry-run are for a home on this machine")
            pulled = _pull_there(gateway, wish, shown)
        else:
            import asyncio

            from moongate.cli.house import load_settings

            settings = load_settings(home=home, upstream=upstream)
            pulled = asyncio.run(pull_here(settings, wish, shown))
    _report(pulled, seconds=time.monotonic() - started, dry_run=dry_run, as_json=as_json, quiet=quiet)


async def pull_here(settings: Settings, wish: Wish, shown: Bars) -> list[Pulled]:
    from moongate.app.request_log import configure_logging
    from moongate.app.wiring.gateway import build
    from moongate.cli.globs import expand
    from moongate.core.callers import ANONYMOUS, Caller

    configure_logging("error", "text")  # what fails is told by the pull itself
    token = settings.own_token
    caller = ANONYMOUS if token is None else Caller("upstream", token.fingerprint, credential=token)
    house = build(settings)
    try:
        pulled: list[Pulled] = []
        for item in wish.wanted:
            names = [item.repo] if isinstance(item, RepoAt) else await expand(house, item, caller)
            revision = wish.revision_of(item)
            pulled += [await _pull_one(house, repo, revision, wish, caller, shown) for repo in names]
        return pulled
    finally:
        await house.close()


async def _pull_one(
    house: House, repo: RepoId, revision: Revision, wish: Wish, caller: Caller, shown: Bars
) -> Pulled:
    """Pull one repository; what is wrong with it stops no other one, except a full disk."""
    try:
        plan = await house.puller.plan(repo, revision, caller, wish.include, wish.exclude)
        if wish.dry_run:
            missing = {
                entry.etag: entry.size_bytes
                for entry in plan.files
                if house.stock.blobs.size_bytes(entry.etag) is None
            }
            return _pulled(repo, plan, sum(missing.values()))
        report = await house.puller.pull(plan, caller, _Watch(shown, repo))
        details = {"revision": str(revision), "files": len(plan.files), "fetched_bytes": report.fetched_bytes}
        written(house.stock, "content.pull", repo=plan.repo, commit_hash=plan.commit_hash, details=details)
        if wish.pin:
            house.index.pin(plan.repo, revision, time.time())
            written(house.stock, "pin.create", repo=plan.repo, details={"revision": str(revision)})
    except StoreFull:
        raise
    except MoongateError as error:
        return Pulled(repo, revision, error=error)
    return _pulled(repo, plan, report.fetched_bytes, [(entry.path, why) for entry, why in report.failed])


def _pulled(
    repo: RepoId, plan: PullPlan, fetched_bytes: int, failed: Sequence[tuple[str, MoongateError]] = ()
) -> Pulled:
    return Pulled(
        repo, plan.revision, plan.commit_hash, len(plan.files), plan.size_bytes, fetched_bytes, failed
    )


def _pull_there(gateway: Gateway, wish: Wish, shown: Bars) -> list[Pulled]:
    from moongate.cli.globs import expand_there

    pulled = []
    for item in wish.wanted:
        names = [item.repo] if isinstance(item, RepoAt) else expand_there(gateway, item)
        revision = wish.revision_of(item)
        pulled += [_pull_one_there(gateway, repo, revision, wish, shown) for repo in names]
    return pulled


def _pull_one_there(gateway: Gateway, repo: RepoId, revision: Revision, wish: Wish, shown: Bars) -> Pulled:
    label = str(repo)

    def look(job: Mapping[str, object]) -> None:
        total_bytes = job.get("total_bytes")
        if isinstance(total_bytes, int):
            shown.update(label, number(job, "done_bytes"), total_bytes)

    globs = {"include": list(wish.include), "exclude": list(wish.exclude)}
    try:
        job = run_job(gateway, "/pulls", {"repo": label, "revision": revision, **globs}, look)
    except MoongateError as error:
        return Pulled(repo, revision, error=error)
    shown.finish(label, f"{label}@{revision}: pulled by {gateway.url}")
    if wish.pin:
        gateway.ask("POST", "/pins", {"repo": label, "revision": revision})
    done_bytes = number(job, "done_bytes")
    return Pulled(repo, revision, None, number(job, "done_files"), done_bytes, done_bytes)


class _Watch:
    """One bar for a repository, moved by all its files."""

    def __init__(self, shown: Bars, repo: RepoId) -> None:
        self._shown = shown
        self._label = str(repo)
        self._total_bytes = 0
        self._done_bytes: dict[str, int] = {}

    def planned(self, plan: PullPlan) -> None:
        self._total_bytes = plan.size_bytes
        self._shown.update(self._label, 0, self._total_bytes)

    def started(self, entry: FileEntry) -> None:
        self._done_bytes[entry.etag] = 0

    def advanced(self, entry: FileEntry, size_bytes: int) -> None:
        self._done_bytes[entry.etag] += size_bytes
        self._shown.update(self._label, sum(self._done_bytes.values()), self._total_bytes)

    def finished(self, entry: FileEntry, fetched: bool) -> None:
        words = size(entry.size_bytes) if fetched else "was here"
        self._shown.note(f"{self._label}  {entry.path}  {words}")

    def failed(self, entry: FileEntry, error: MoongateError) -> None:
        self._shown.note(f"{self._label}  {entry.path}  failed: {error.message}")


def _report(pulled: list[Pulled], *, seconds: float, dry_run: bool, as_json: bool, quiet: bool) -> None:
    troubles = [item.trouble for item in pulled if item.trouble is not None]
    if as_json:
        document = {"ok": not troubles, "dry_run": dry_run, "repos": [item.as_json() for item in pulled]}
        put_json(document)
    else:
        _print(pulled, dry_run=dry_run)
        if not quiet and any(item.error is None for item in pulled):
            fetched_bytes = sum(item.fetched_bytes for item in pulled)
            verb = "would fetch" if dry_run else "fetched"
            took = "" if dry_run else f" in {duration(seconds)}"
            say(f"{verb} {size(fetched_bytes)} of {size(sum(item.size_bytes for item in pulled))}{took}")
    if troubles:
        raise _failure(pulled, troubles[0])


def _print(pulled: list[Pulled], *, dry_run: bool) -> None:
    columns = [
        Column("repository"),
        Column("commit"),
        Column("files", "right"),
        Column("size", "right"),
        Column("to fetch" if dry_run else "fetched", "right"),
    ]
    put_table(
        columns,
        [
            [
                str(item.repo),
                item.commit_hash or item.revision,
                str(item.files),
                size(item.size_bytes),
                size(item.fetched_bytes),
            ]
            for item in pulled
            if item.error is None
        ],
    )


def _failure(pulled: list[Pulled], first: MoongateError) -> CommandFailed:
    lost = [item for item in pulled if item.trouble is not None]
    if len(pulled) == 1 and lost[0].error is not None:
        return CommandFailed(first.message, hint=hint_of(first), exit_code=exit_code_of(first))
    for item in lost:
        if item.error is not None:
            say(f"{item.repo}@{item.revision}: {item.error.message}")
    files = sum(len(item.failed) for item in lost)
    words = f"{count(len(lost), 'repository')} of {len(pulled)} not whole"
    words += f"; {count(files, 'file')} failed: {first.message}" if files else f": {first.message}"
    codes = {exit_code_of(item.trouble) for item in lost if item.trouble is not None}
    exit_code = codes.pop() if len(codes) == 1 else exits.FAILED
    return CommandFailed(
        words, hint=hint_of(first) or "run it again: what has come is kept", exit_code=exit_code
    )
