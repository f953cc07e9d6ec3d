"""The admin API's questions about verdicts: by verdict, by repository, and one content with its evidence."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from moongate.app.admin.models import Model
from moongate.app.admin.operations import Asked, Operation, needing
from moongate.core.digests import Etag, parse_etag
from moongate.core.errors import Absent, BadRequest
from moongate.core.names import RepoId, parse_repo
from moongate.core.records import FileAt
from moongate.core.verdicts import VERDICTS, Judged, Verdict

_MOST = 1000
_PLACES = 50


class VerdictRows(Protocol):
    """What these operations need of the index."""

    def verdicts_of(self, etag: Etag) -> list[Judged]: ...
    def with_verdict(self, verdict: Verdict, before: float, limit: int) -> list[Judged]: ...
    def verdicts_in(self, repo: RepoId, limit: int) -> list[Judged]: ...
    def verdict_counts(self) -> dict[str, int]: ...
    def where_is(self, etag: Etag) -> list[FileAt]: ...


class VerdictOf(Model):
    """A content's verdict. basis: `whole`, or `ranges` for a first look; rules: the ids of what was found."""

    etag: str
    verdict: str
    basis: str
    formats: list[str]
    rules: list[str]
    size_bytes: int
    judged_at: float
    retry_at: float | None
    engine: str
    rules_version: str
    feeds_version: str


class Place(Model):
    """Where a content is known to stand."""

    repo: str
    commit_hash: str
    path: str


class Evidence(VerdictOf):
    """A verdict with all that led to it, and where the content stands."""

    findings: list[dict[str, Any]]
    more_findings: int
    name_kind: str


class VerdictDetails(Model):
    """Everything that was said of a content, the newest first; of older rules only what differs."""

    verdicts: list[Evidence]
    places: list[Place]


class VerdictList(Model):
    """Verdicts, the newest first, and how many contents have which. `before`: ask for more with it."""

    verdicts: list[VerdictOf]
    counts: dict[str, int]
    before: float | None


def verdict_operations(rows: VerdictRows) -> tuple[Operation, ...]:
    """The operations."""
    admin, asked = _AdminVerdicts(rows), ("verdict", "repo", "before", "limit")
    return needing(
        "approve",
        Operation("GET", "/verdicts", "What scans said", admin.listed, VerdictList, query=asked),
        Operation("GET", "/verdicts/{etag}", "One content", admin.details, VerdictDetails),
    )


class _AdminVerdicts:
    def __init__(self, rows: VerdictRows) -> None:
        self._rows = rows

    async def listed(self, asked: Asked) -> Model:
        """By verdict, or by repository."""
        limit = _number(asked.query.get("limit", "100"))
        counts = await asyncio.to_thread(self._rows.verdict_counts)
        if "repo" in asked.query:
            found = await asyncio.to_thread(self._rows.verdicts_in, parse_repo(asked.query["repo"]), limit)
            return VerdictList(verdicts=[_told(one) for one in found], counts=counts, before=None)
        verdict = asked.query.get("verdict", "dangerous")
        if verdict not in VERDICTS:
            raise BadRequest(f"a verdict is one of {', '.join(VERDICTS)}")
        before = _time(asked.query.get("before"))
        found = await asyncio.to_thread(self._rows.with_verdict, verdict, before, limit)
        more = found[-1].judged_at if len(found) == limit else None
        return VerdictList(verdicts=[_told(one) for one in found], counts=counts, before=more)

    async def details(self, asked: Asked) -> Model:
        """One content."""
        etag = parse_etag(asked.part)
        found = await asyncio.to_thread(self._rows.verdicts_of, etag)
        if not found:
            raise Absent("Nothing was said of this content.")
        places = await asyncio.to_thread(self._rows.where_is, etag)
        return VerdictDetails(
            verdicts=[
                Evidence(
                    **_told(one).model_dump(),
                    findings=[finding.as_json() for finding in one.report.findings],
                    more_findings=one.report.more_findings,
                    name_kind=one.name_kind,
                )
                for one in found
            ],
            places=[
                Place(repo=str(file.repo), commit_hash=file.commit_hash, path=file.entry.path)
                for file in places[:_PLACES]
            ],
        )


def _told(judged: Judged) -> VerdictOf:
    report = judged.report
    return VerdictOf(
        etag=judged.etag,
        verdict=report.verdict,
        basis=judged.basis,
        formats=list(report.formats),
        rules=list(dict.fromkeys(finding.rule for finding in report.findings)),
        size_bytes=judged.size_bytes,
        judged_at=judged.judged_at,
        retry_at=judged.retry_at,
        engine=report.engine,
        rules_version=report.rules,
        feeds_version=judged.feeds,
    )


def _number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST:
        raise BadRequest(f"limit is a number from 1 to {_MOST}")
    return int(text)


def _time(text: str | None) -> float:
    try:
        return float("inf") if text is None else float(text)
    except ValueError:
        raise BadRequest("before is a time in seconds since the epoch") from None
