"""Feeds in one file, for gateways without a network.

    moongate-feeds.json   {"version": 1, "made_at", "feeds": [{"name", "kind", "url", "options",
                           "fetched_at", "file", "sha256", "statements"}]}
    feeds/0.jsonl         one statement a line: {"indicator": […]} | {"advisory": […]} | {"rules": […]}

A bundle holds no secret, and nothing that is TLP:RED. What is imported is as old as it was where it came
from, and goes through the same caps as what is fetched.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import orjson

from moongate.core.errors import BadRequest, VerificationFailed
from moongate.core.feeds import FEED_KINDS, Advisory, FeedRow
from moongate.core.hits import Indicator, day_and_time
from moongate.scan.feeds.gathering import Gathered
from moongate.scan.feeds.ledger import FeedLedger
from moongate.scan.feeds.options import FeedOptions
from moongate.scan.feeds.refreshing import Outcome, fits, take
from moongate.scan.feeds.words import ZIP_TROUBLE
from moongate.scan.feeds.yara_rules import read_rules

MANIFEST: Final = "moongate-feeds.json"
_MOST_MANIFEST_BYTES: Final = 4 << 20
_MOST_FEED_BYTES: Final = 4 << 30
_MOST_LINE_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """What went into a bundle. left_out: statements that are TLP:RED."""

    feed: str
    statements: int
    left_out: int


def write_bundle(ledger: FeedLedger, names: list[str], target: Path, now: float) -> list[Exported]:
    """Writes what counts of these feeds; of all when none is named. Nothing is left when it fails.

    Raises:
        BadRequest: a name is no feed.
    """
    feeds = [feed for feed in ledger.feeds() if feed.kind != "virustotal" and feed.generation]
    if missing := set(names) - {feed.name for feed in feeds}:
        raise BadRequest(f"there is no feed {min(missing)} that holds anything")
    chosen = [feed for feed in feeds if not names or feed.name in names]
    partial = target.with_name(target.name + ".partial")
    done, rows = [], []
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for number, feed in enumerate(chosen):
                file = f"feeds/{number}.jsonl"
                exported, digest = _write_feed(ledger, feed, archive, file)
                done.append(exported)
                rows.append(_row(feed, file, digest, exported))
            told = {"version": 1, "made_at": day_and_time(now), "feeds": rows}
            archive.writestr(MANIFEST, orjson.dumps(told, option=orjson.OPT_INDENT_2))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return done


def _row(feed: FeedRow, file: str, digest: str, exported: Exported) -> dict[str, object]:
    options = replace(FeedOptions.of(feed.options), key="", user="").as_json()
    return {
        "name": feed.name,
        "kind": feed.kind,
        "url": feed.url,
        "options": options,
        "fetched_at": feed.fetched_at or 0.0,
        "file": file,
        "sha256": digest,
        "statements": exported.statements,
    }


def _write_feed(
    ledger: FeedLedger, feed: FeedRow, archive: zipfile.ZipFile, file: str
) -> tuple[Exported, str]:
    hasher, statements, left_out = hashlib.sha256(), 0, 0
    with archive.open(file, "w", force_zip64=True) as opened:
        for told in _statements(ledger, feed):
            if told is None:
                left_out += 1
                continue
            line = orjson.dumps(told) + b"\n"
            hasher.update(line)
            opened.write(line)
            statements += 1
    return Exported(feed.name, statements, left_out), hasher.hexdigest()


def _statements(ledger: FeedLedger, feed: FeedRow) -> Iterator[dict[str, object] | None]:
    for indicator in ledger.indicators_of(feed.name, feed.generation):
        yield None if indicator.tlp == "red" else {"indicator": astuple(indicator)}
    for advisory in ledger.advisories_of(feed.name, feed.generation):
        yield {"advisory": [advisory.ecosystem, advisory.package, advisory.id, advisory.told]}
    for name, source in ledger.rules_of(feed.name, feed.generation).items():
        yield {"rules": [name, source]}


def read_bundle(ledger: FeedLedger, source: Path, now: float) -> list[Outcome]:
    """Takes every feed of a bundle in; one that is newer here stays as it is.

    Raises:
        BadRequest: it is no bundle of feeds.
        VerificationFailed: it is damaged; feeds before the damaged one are in.
    """
    with source.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                return [_take_feed(ledger, archive, row, now) for row in _manifest(archive)]
        except ZIP_TROUBLE:
            raise BadRequest(f"{source.name} is no bundle of feeds, or a damaged one") from None


def _manifest(archive: zipfile.ZipFile) -> list[Mapping[str, Any]]:
    if archive.getinfo(MANIFEST).file_size > _MOST_MANIFEST_BYTES:
        raise BadRequest("the bundle's manifest is too long")
    try:
        told = orjson.loads(archive.read(MANIFEST))
    except orjson.JSONDecodeError:
        raise BadRequest("the bundle's manifest is not JSON") from None
    rows = told.get("feeds") if isinstance(told, dict) and told.get("version") == 1 else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadRequest("the bundle was written by another version, or is none")
    return rows


def _take_feed(ledger: FeedLedger, archive: zipfile.ZipFile, row: Mapping[str, Any], now: float) -> Outcome:
    name, kind, fetched_at = row.get("name"), row.get("kind"), row.get("fetched_at")
    options = row.get("options")
    if (
        not isinstance(name, str)
        or kind not in FEED_KINDS
        or not isinstance(fetched_at, int | float)
        or not isinstance(options, dict)
    ):
        raise BadRequest("the bundle's manifest tells of a feed in a way that is not known here")
    held = ledger.feed(name)
    if held is not None and held.kind != kind:
        raise BadRequest(f"the feed {name} is of kind {held.kind} here, and of kind {kind} in the bundle")
    if held is not None and (held.fetched_at or 0.0) >= min(fetched_at, now):
        return Outcome(name, "same", "what is here is not older")
    if held is None:
        FeedOptions.of(options)
        held = FeedRow(name, kind, str(row.get("url", ""))[:2000], now, options)
        ledger.put_feed(held)
    info = archive.getinfo(str(row.get("file")))
    _verify(archive, info, str(row.get("sha256")))
    with archive.open(info) as opened:
        gathered = _gathered(opened)
    return take(ledger, held, gathered, min(float(fetched_at), now))


def _verify(archive: zipfile.ZipFile, info: zipfile.ZipInfo, sha256: str) -> None:
    if info.file_size > _MOST_FEED_BYTES:
        raise BadRequest("a feed of the bundle is longer than any is")
    hasher = hashlib.sha256()
    with archive.open(info) as opened:
        while piece := opened.read(1 << 20):
            hasher.update(piece)
    if hasher.hexdigest() != sha256:
        raise VerificationFailed(f"{info.filename} in the bundle is damaged")


def _gathered(opened: IO[bytes]) -> Gathered:
    gathered = Gathered("whole", {})
    indicators: list[Indicator] = []
    advisories: list[Advisory] = []
    rules: dict[str, str] = {}
    while line := opened.readline(_MOST_LINE_BYTES):
        try:
            ((what, told),) = orjson.loads(line).items()
            if what == "indicator":
                indicators.append(_indicator(told))
            elif what == "advisory":
                advisories.append(Advisory(str(told[0]), str(told[1]), str(told[2]), dict(told[3])))
            elif what == "rules":
                rules[str(told[0])[:200]] = read_rules(str(told[1]).encode())
        except (orjson.JSONDecodeError, ValueError, TypeError, AttributeError, IndexError):
            raise BadRequest("a statement in the bundle is malformed") from None
    gathered.indicators, gathered.advisories, gathered.rules = indicators, advisories, rules
    return gathered


def _indicator(told: list[Any]) -> Indicator:
    kind, value, label, confidence, tlp, expires_at, source = told
    one = Indicator(
        kind,
        str(value),
        str(label),
        min(100, max(0, int(confidence))),
        tlp,
        None if expires_at is None else float(expires_at),
        str(source),
    )
    kinds, tlps = ("sha256", "md5", "repo", "author", "pattern", "url"), ("clear", "green", "amber")
    if kind not in kinds or tlp not in (*tlps, "amber+strict") or not fits(one):
        raise ValueError(kind)
    return one
