"""`moongate scan`: whether files are safe to load, judged here and now, without a gateway.

What is looked at is opened here; looking is done in a process that may do nothing else (see `scan.jail`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moongate.cli import exits, options
from moongate.cli.exits import CommandFailed, wrong_usage
from moongate.cli.terminal import Bars, bars, count, put, put_json, say

if TYPE_CHECKING:
    from moongate.core.records import FileEntry
    from moongate.core.verdicts import Finding, Report
    from moongate.scan.jail import Limits
    from moongate.scan.voices.choir import Choir


class FailOn(StrEnum):
    """From which verdict on the exit code is not 0."""

    dangerous = "dangerous"
    suspicious = "suspicious"
    unclean = "unclean"
    never = "never"


@dataclass(frozen=True, slots=True)
class Judged:
    """One file and what was found in it."""

    path: str
    report: Report

    def as_json(self) -> dict[str, object]:
        return {"path": self.path, **self.report.as_json()}


@dataclass(frozen=True, slots=True)
class Target:
    """A path and its open descriptor; None when it is not here to be opened. etag: of a repository's file."""

    path: str
    descriptor: int | None
    etag: str | None = None


def register(app: typer.Typer) -> None:
    app.command("scan")(scan)


def scan(  # noqa: PLR0913  (each is an option)
    targets: Annotated[
        list[str],
        typer.Argument(metavar="FILE|DIR|REPO", help="./model.bin, ./folder, acme/tiny or acme/tiny@v1.0."),
    ],
    fail_on: Annotated[
        FailOn,
        typer.Option(help="The exit code is 3 for dangerous files, 1 for others from this verdict on."),
    ] = FailOn.unclean,
    voice: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Ask another scanner, too: picklescan, modelaudit, yara:RULES.yar, clamd:unix:PATH.",
        ),
    ] = None,
    pull: Annotated[
        bool, typer.Option("--pull", help="Fetch what is missing of a repository first.")
    ] = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print a SARIF 2.1.0 document to stdout.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for one file, until it counts as failed.")] = 60.0,
    memory: Annotated[
        int, typer.Option(help="MiB for looking at one file, until it counts as failed.")
    ] = 512,
    home: options.Home = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say whether files are safe to load, and why not.

    Formats are told by content, never by name. Nothing is loaded or run: the files are read in a process
    without network, writing or children. A repository is read from the home; what is not kept there is
    `unscanned`, unless --pull fetches it first, from upstream or from the gateway at MOONGATE_URL.
    Verdicts: clean, suspicious, dangerous, unscanned (could not be looked at), failed (the scan itself
    broke). Exit code 3 if something is dangerous, 1 if something else is not clean, 0 otherwise.

    \b
    Examples:
      moongate scan pytorch_model.bin
      moongate scan ./downloaded --sarif > moongate.sarif
      moongate scan acme/tiny --pull --fail-on dangerous
      moongate scan model.pkl --voice picklescan --voice yara:rules.yar
      moongate scan acme/tiny@v1.0 --json | jq '.files[] | select(.verdict != "clean")'
    """
    if as_json and sarif:
        raise wrong_usage("--json and --sarif both want stdout")
    from moongate.scan.jail import Limits

    judged: list[Judged] = []
    with _choir(voice or [], Limits(timeout, memory << 20)) as jail, bars(quiet=quiet) as shown:
        if pull:
            _pull([word for word in targets if _is_repository(word)], home, shown)
        total_bytes, done_bytes = _bytes_below(targets), 0
        for target in _targets(targets, home):
            shown.update("looked at", done_bytes, max(total_bytes, done_bytes))
            judged.append(Judged(_named(target.path), _judge(jail, target, home)))
            done_bytes += os.fstat(target.descriptor).st_size if target.descriptor is not None else 0
            _note(shown, judged[-1])
        confined = jail.confined
    if as_json:
        put_json(_document(judged, confined))
    elif sarif:
        from moongate.scan.sarif import sarif_log

        put_json(sarif_log([(one.path, one.report) for one in judged]))
    else:
        _print(judged)
    code = _exit_code(judged, fail_on)
    if code:
        raise typer.Exit(code)


def _choir(words: Sequence[str], limits: Limits) -> Choir:
    from moongate.core.errors import BadRequest
    from moongate.scan.voices.choir import Asked, Choir
    from moongate.scan.voices.voice import VoiceAbsent

    try:
        return Choir([Asked.parse(word) for word in words], limits)
    except (VoiceAbsent, BadRequest) as error:
        raise wrong_usage(str(error)) from None


def _judge(jail: Choir, target: Target, home: Path | None) -> Report:
    from moongate.scan.ledger import Ledger

    if target.descriptor is not None:
        return jail.judge(target.descriptor, target.path)
    told = _told_by_gateway(target, home)
    if told is not None:
        return told
    ledger = Ledger()
    ledger.add("not-here", "it is not kept here as a whole")
    return ledger.report()


def _told_by_gateway(target: Target, home: Path | None) -> Report | None:
    """What the gateway at MOONGATE_URL found in a file that it does not let pass; None: it does not say."""
    from moongate.cli.gateway import chosen_gateway, rows
    from moongate.core.errors import MoongateError
    from moongate.core.verdicts import Report

    gateway = chosen_gateway(home)
    if gateway is None or target.etag is None:
        return None
    try:
        newest = rows(gateway.ask("GET", f"/verdicts/{target.etag}"), "verdicts")[:1]
    except MoongateError:  # this token may not ask, or nothing was said yet
        return None
    for told in newest:
        more = {name: told[name] for name in ("verdict", "formats", "findings", "more_findings", "engine")}
        return Report.from_json({**more, "rules": told["rules_version"]})
    return None


def _targets(words: Sequence[str], home: Path | None) -> Iterator[Target]:
    for word in words:
        path = Path(word)
        if path.is_dir():
            yield from _folder(path)
        elif path.exists():
            yield from _file(path, word)
        elif _is_repository(word):
            yield from _repository(word, home)
        else:
            raise CommandFailed(
                f"there is no {word}", hint="name a file, a folder, or a repository kept here"
            )


def _is_repository(word: str) -> bool:
    return "/" in word and not word.startswith((".", "/", "~")) and not Path(word).exists()


def _bytes_below(words: Sequence[str]) -> int:
    """How much there is to look at, as far as it can be told beforehand."""
    total = 0
    for word in words:
        path = Path(word)
        files = (Path(root) / name for root, _, names in os.walk(path) for name in names)
        for file in files if path.is_dir() else [path]:
            with suppress(OSError):
                total += file.stat().st_size
    return total


def _pull(words: Sequence[str], home: Path | None, shown: Bars) -> None:
    """Fetches repositories into the home: from the gateway that was chosen, or from upstream.

    What the gateway does not let pass is left out. From upstream everything comes, for it is to be looked at.
    """
    import asyncio

    from moongate.cli.gateway import chosen_gateway
    from moongate.cli.house import load_settings
    from moongate.cli.pull import Wish, pull_here
    from moongate.cli.repos import parse_wanted
    from moongate.core.errors import HeldByPolicy, RefusedByPolicy
    from moongate.core.names import parse_revision

    if not words:
        return
    gateway, by_policy = chosen_gateway(home), (RefusedByPolicy, HeldByPolicy)
    settings = load_settings(home=home, upstream=gateway.url if gateway else None, guard="off")
    wish = Wish([parse_wanted(word, "model") for word in words], parse_revision("main"), [], [], False, False)
    for pulled in asyncio.run(pull_here(settings, wish, shown)):
        refused = gateway is not None and all(isinstance(why, by_policy) for _, why in pulled.failed)
        trouble = pulled.error if refused else pulled.trouble
        if trouble is not None:
            raise CommandFailed(f"{pulled.repo} could not be fetched: {trouble.message}")


def _folder(folder: Path) -> Iterator[Target]:
    """Every file below, in order; links to files are followed, links to folders are not."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root) / name
            yield from _file(path, path.relative_to(folder).as_posix())


def _file(path: Path, shown: str) -> Iterator[Target]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield Target(shown, None)
        return
    try:
        yield Target(shown, descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None)
    finally:
        os.close(descriptor)


def _repository(word: str, home: Path | None) -> Iterator[Target]:
    from moongate.cli.house import open_home
    from moongate.cli.repos import parse_repo_at
    from moongate.cli.show import commit_to_show, known_revisions

    wanted = parse_repo_at(word)
    with open_home(home) as house:
        refs, commits = known_revisions(house, wanted.repo)
        if not refs and not commits:
            raise CommandFailed(f"{wanted.repo} is not known here", hint=f"`moongate pull {word}` fetches it")
        commit_hash = commit_to_show(wanted.repo, wanted.revision, refs, commits)
        for entry in house.index.files_of(wanted.repo, commit_hash) if commit_hash else []:
            with _blob(house, entry) as descriptor:
                yield Target(entry.path, descriptor, entry.etag)


@contextmanager
def _blob(house: object, entry: FileEntry) -> Iterator[int | None]:
    from moongate.app.wiring.stock import Stock

    assert isinstance(house, Stock)  # noqa: S101
    descriptor = house.blobs.open(entry.etag)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _note(shown: Bars, one: Judged) -> None:
    if one.report.verdict != "clean":
        shown.note(f"{one.report.verdict}: {_shown(one.path)}")


def _document(judged: Sequence[Judged], confined: bool) -> dict[str, object]:
    from moongate.core.verdicts import VERDICTS
    from moongate.scan.rules import ENGINE, RULES

    verdicts = [one.report.verdict for one in judged]
    return {
        "files": [one.as_json() for one in judged],
        "verdicts": {verdict: verdicts.count(verdict) for verdict in VERDICTS},
        "engine": ENGINE,
        "rules": RULES,
        "confined": confined,
    }


def _exit_code(judged: Sequence[Judged], fail_on: FailOn) -> int:
    verdicts = {one.report.verdict for one in judged}
    if fail_on is FailOn.never:
        return exits.DONE
    if "dangerous" in verdicts:
        return exits.REFUSED
    if fail_on is FailOn.dangerous:
        return exits.DONE
    bad = {"suspicious"} if fail_on is FailOn.suspicious else {"suspicious", "unscanned", "failed"}
    return exits.FAILED if verdicts & bad else exits.DONE


def _print(judged: Sequence[Judged]) -> None:
    for one in judged:
        formats = ", ".join(one.report.formats)
        put(f"{one.report.verdict}\t{_shown(one.path)}{f' ({formats})' if formats else ''}")
        for finding in one.report.findings:
            for line in _lines(finding):
                put(f"    {line}")
        if one.report.more_findings:
            put(f"    and {count(one.report.more_findings, 'finding')} more")
    unclean = sum(one.report.verdict != "clean" for one in judged)
    say(f"{count(len(judged), 'file')} looked at, {unclean} not clean")


def _lines(finding: Finding) -> Iterator[str]:
    where = [finding.member] if finding.member else []
    if finding.offset is not None:
        where.append(f"byte {finding.offset}")
    place = f" [{', '.join(where)}]" if where else ""
    yield f"{finding.severity.name.lower()}: {_shown(finding.what)}{_shown(place)} ({finding.rule})"
    yield f"  why: {finding.why}"
    trail = finding.evidence.get("trail")
    if isinstance(trail, list) and trail:
        yield "  trail:"
        for step in trail[-8:]:
            yield f"    {_shown(str(step))}"
    yield f"  now: {finding.advice}"


def _named(path: str) -> str:
    """A path as text that any reader of JSON takes: bytes that are no letters are spelt out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _shown(text: str) -> str:
    """Strangers' words, without what could move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
