"""`moongate export` and `moongate import`: repositories across an air gap, in one file.

Both may be broken off and repeated, and may run beside a gateway on the same home.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from moongate.cli import options
from moongate.cli.exits import CommandFailed
from moongate.cli.gateway import only_here
from moongate.cli.recording import written
from moongate.cli.repos import RepoPattern, parse_wanted
from moongate.cli.terminal import Bars, bars, count, put_json, say, size
from moongate.core.errors import MoongateError
from moongate.core.names import RepoId, Revision, parse_revision

if TYPE_CHECKING:
    from moongate.core.digests import Etag

_SHOWN_FILES = 10
_STDIN = "-"


def register(app: typer.Typer) -> None:
    app.command("export")(export)
    app.command("import")(import_)


def export(
    repos: options.Repos,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The bundle to write.")],
    since: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="Leave out what this earlier bundle brought or assumed."),
    ] = None,
    revision: Annotated[str, typer.Option(help="For names without @revision.")] = "main",
    home: options.Home = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write repositories to one file, to carry elsewhere.

    Takes what is here; `moongate pull` first brings all of a repository. Every byte is verified on the
    way. Broken off and repeated, it goes on where it was (FILE.part). With --since, only what is new: the
    receiver must have imported that earlier bundle. Of files that are kept in chunks (Xet), only new chunks
    go, so that a fine-tune is a small bundle.

    \b
    Examples:
      moongate export acme/tiny datasets/acme/squad -o monday.bundle
      moongate export 'acme/*' -o tuesday.bundle --since monday.bundle
    """
    only_here("export", home)
    from moongate.app.wiring.hosted import open_hosted
    from moongate.cli.house import open_home
    from moongate.hub.bundle import export_bundle

    if not out.absolute().parent.is_dir():
        raise CommandFailed(f"there is no folder {out.absolute().parent} to write {out.name} into")
    with _plainly(), open_home(home) as house, bars(quiet=quiet) as shown:
        wanted = _wanted(house.index.repos(), repos, parse_revision(revision))
        hosted = open_hosted(house)
        for repo, at in wanted:
            hosted.prepare_export(repo, at)
        report = export_bundle(
            out,
            wanted,
            house.index,
            house.blobs,
            house.segments,
            _Watch(shown, f"writing {out.name}"),
            since=since,
        )
        commits = [f"{repo}@{commit}" for repo, commit in report.commits]
        written(house, "bundle.export", subject=out.name, details={"commits": commits})
    file_bytes = out.stat().st_size
    if as_json:
        put_json(
            {
                "bundle": str(out),
                "bundle_bytes": file_bytes,
                "blobs": report.blobs,
                "blob_bytes": report.size_bytes - report.xet_bytes,
                "xet_files": report.xet_files,
                "xorb_bytes": report.xet_bytes,
                "commits": [{"repo": str(repo), "commit_hash": commit} for repo, commit in report.commits],
                "missing": [
                    {"repo": str(repo), "path": entry.path, "etag": entry.etag}
                    for repo, entry in report.missing
                ],
            }
        )
    else:
        holds = f"{count(len(report.commits), 'commit')}, {count(report.blobs + report.xet_files, 'file')}"
        if report.xet_files:
            holds += f" ({report.xet_files} as {size(report.xet_bytes)} of chunks)"
        say(f"{out}: {holds}, {size(file_bytes)}")
    if report.missing:
        names = [f"{repo} {entry.path}" for repo, entry in report.missing]
        _warn_of_missing(names, "not here, so not in the bundle; `moongate pull` brings them")


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A bundle, or - for stdin.")],
    home: options.Home = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take in a bundle that `moongate export` wrote.

    Every file is verified before it counts. May be repeated at any time: what is here is passed over. A
    gateway on this home serves the repositories at once, also with --offline.

    \b
    Examples:
      moongate import monday.bundle
      ssh elsewhere cat monday.bundle | moongate import -
    """
    only_here("import", home)
    from moongate.app.wiring.hosted import open_hosted
    from moongate.cli.house import load_settings, open_house
    from moongate.hub.bundle import import_bundle

    label = "reading stdin" if file == _STDIN else f"reading {Path(file).name}"
    with (
        _plainly(),
        _opened(file) as stream,
        open_house(load_settings(home=home)) as house,
        bars(quiet=quiet) as shown,
    ):

        def make_room(size_bytes: int) -> None:
            house.keeping.make_room(size_bytes)

        report = import_bundle(
            stream,
            house.index,
            house.blobs,
            house.segments,
            _Watch(shown, label),
            time.time(),
            make_room=make_room,
            lives_here=open_hosted(house).hosts,
        )
        details = {"repos": [str(repo) for repo in report.repos], "files": report.added}
        written(house, "bundle.import", subject=Path(file).name, details=details)
    if as_json:
        put_json(
            {
                "repos": [str(repo) for repo in report.repos],
                "added": report.added,
                "added_bytes": report.added_bytes,
                "added_xet_files": report.added_xet_files,
                "present": report.present,
                "missing": list(report.missing),
            }
        )
    else:
        names = ", ".join(str(repo) for repo in report.repos)
        added = f"{count(report.added, 'file')} added, {size(report.added_bytes)}"
        say(f"{names}: {added}; {report.present} were here")
    if report.missing:
        words = "not here; import the earlier bundle this one was made --since"
        _warn_of_missing(report.missing, words)
        raise CommandFailed(f"{count(len(report.missing), 'file')} of an earlier bundle missing")


def _wanted(known: Sequence[RepoId], texts: list[str], revision: Revision) -> list[tuple[RepoId, Revision]]:
    wanted: list[tuple[RepoId, Revision]] = []
    for text in texts:
        item = parse_wanted(text)
        if isinstance(item, RepoPattern):
            fitting = [repo for repo in known if item.matches(repo)]
            if not fitting:
                raise CommandFailed(f"nothing here fits {text}", hint="`moongate ls` shows what is here")
        else:
            fitting = [item.repo]
        wanted += [(repo, item.revision or revision) for repo in fitting]
    return wanted


@contextmanager
def _plainly() -> Iterator[None]:
    """A bundle that is none, damaged or cut short is a failure, not wrong usage."""
    from moongate.hub.bundle_file import BadBundle

    try:
        yield
    except BadBundle as error:
        raise CommandFailed(error.message, hint="make it again, or carry it again, and repeat this") from None


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == _STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115  (closed below, whoever opened it)
    except OSError as error:
        raise MoongateError(f"cannot read {file}: {error.strerror}") from None
    with stream:
        yield stream


def _warn_of_missing(names: Sequence[str], words: str) -> None:
    say(f"warning: {count(len(names), 'file')} {words}")
    for name in names[:_SHOWN_FILES]:
        say(f"  {name}")
    if len(names) > _SHOWN_FILES:
        say(f"  … and {len(names) - _SHOWN_FILES} more")


class _Watch:
    """One bar for a whole bundle."""

    def __init__(self, shown: Bars, label: str) -> None:
        self._shown = shown
        self._label = label
        self._done_bytes = self._total_bytes = 0

    def planned(self, files: int, size_bytes: int) -> None:
        self._total_bytes = size_bytes
        self._shown.update(self._label, 0, size_bytes)

    def advanced(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._shown.update(self._label, self._done_bytes, self._total_bytes)

    def finished(self, etag: Etag, carried: bool) -> None:
        pass
