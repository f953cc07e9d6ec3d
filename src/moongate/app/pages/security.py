"""Verdicts with their evidence: of everything, of one content, of one repository."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode

from moongate.app.pages.heads import Heads
from moongate.app.pages.seeing import may_see
from moongate.app.pages.visits import PageAnswer, Shown, Visit
from moongate.core.digests import Etag, parse_etag
from moongate.core.errors import Absent
from moongate.core.names import RepoId, parse_repo
from moongate.core.records import FileAt
from moongate.core.verdicts import Judged, Verdict
from moongate.web.security_views import (
    ContentLine,
    ContentView,
    EvidenceView,
    FeedLine,
    HoldLine,
    PlaceLine,
    RepoSecurityView,
    SecurityView,
    evidence_view,
    verdict_view,
)
from moongate.web.views import VerdictView
from moongate.wire.page_paths import page_href

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

CONTENT_PATH: Final = "/-/security/content"
SECURITY_PATH: Final = "/-/security"
_TRACE: Final = "/-/recalls/trace"
_SHOWN: Final[tuple[Verdict, ...]] = ("dangerous", "suspicious", "failed", "unscanned", "clean")
_GRAVE: Final[tuple[Verdict, ...]] = ("dangerous", "suspicious")
_COUNTED = 500
_NEWEST = 20
_MOST_HOLDS = 8
_MOST_IN_REPO = 500
_MOST_PLACES = 30
_MOST_FORMATS = 12
_ALWAYS: Final = float("inf")

Place = tuple[str, str, str, str]
"""A page of the security section: its key, its label, its icon, its address."""

OVERVIEW: Final[Place] = ("overview", "Overview", "shield", SECURITY_PATH)

Places = Callable[[Visit], Sequence[Place]]
"""Those pages that a visitor may open."""

Holds = Callable[[Visit], Sequence[HoldLine]]
Feeds = Callable[[], Sequence[FeedLine]]
Stamp = Callable[[], str]


class Said(Protocol):
    """What is needed of the index."""

    def verdicts_of(self, etag: Etag) -> list[Judged]: ...


def only_overview(visit: Visit) -> Sequence[Place]:
    """Where there is no other page."""
    return (OVERVIEW,)


class SecurityPages:
    """`/-/security` and what hangs on it.

    holds, feeds: what else a gateway has to show; None: nothing.
    stamp: when the newest of what it shows came.
    """

    def __init__(
        self,
        gateway: Gateway,
        holds: Holds | None = None,
        feeds: Feeds | None = None,
        places: Places = only_overview,
        stamp: Stamp = str,
    ) -> None:
        self._gateway = gateway
        self._places = places
        self.heads = Heads(gateway, self.issues)
        self._holds = holds
        self._feeds = feeds
        self._stamp = stamp

    async def dashboard(self, visit: Visit) -> PageAnswer:
        view = await asyncio.to_thread(self._gather, visit)
        values = {"view": view, "places": self._places(visit), "place": "overview"}
        return Shown("security", "Security", values, section="security")

    async def content(self, visit: Visit) -> PageAnswer:
        """One content, to whoever may see a repository that has it."""
        etag = parse_etag(visit.query.get("digest", ""))
        view = await asyncio.to_thread(self._content, visit, etag)
        values = {"view": view, "places": self._places(visit), "place": "overview"}
        return Shown("content", f"Evidence · {view.name}", values, section="security")

    async def repo(self, visit: Visit) -> PageAnswer:
        """What is said of a repository's content, to whoever may see the repository."""
        repo = parse_repo(visit.query.get("repo", ""))
        known = await self.heads.of(visit, repo)
        view = await asyncio.to_thread(self._of_repo, visit, known.repo)
        if view is None:
            raise Absent("Nothing of this repository was judged.")
        values = {"repo": known.head, "view": view, "tab": "security"}
        return Shown("repo_security", f"Security · {repo.repo_id}", values, section=f"{repo.repo_type}s")

    def issues(self, repo: RepoId) -> int | None:
        """How much of a repository is suspicious or dangerous; None when nothing was judged. Blocks."""
        judged = self._gateway.index.verdicts_in(repo, _MOST_IN_REPO)
        return sum(one.verdict in _GRAVE for one in judged) if judged else None

    def _of_repo(self, visit: Visit, repo: RepoId) -> RepoSecurityView | None:
        """What is said of a repository's content; None when nothing is. Blocks."""
        judged = self._gateway.index.verdicts_in(repo, _MOST_IN_REPO)
        if not judged:
            return None
        lines = [line for one in judged if (line := self._line(visit, one, repo)) is not None]
        order = {verdict: rank for rank, verdict in enumerate(_SHOWN)}
        lines.sort(key=lambda pair: (order[pair[0].verdict], pair[1].name))
        counts = Counter(one.verdict for one, _ in lines)
        return RepoSecurityView(
            [line for _, line in lines],
            [(verdict_view(verdict), counts[verdict]) for verdict in _SHOWN if counts[verdict]],
        )

    def verdict_of(self, etag: Etag) -> VerdictView | None:
        """A content's verdict, leading to its evidence. A point read."""
        judged = self._gateway.index.verdicts_of(etag)
        return verdict_view(judged[0].verdict, content_href(etag)) if judged else None

    def evidence_of(self, etag: Etag) -> EvidenceView | None:
        """All that is said of a content now. A point read."""
        return evidence_of(self._gateway.index, etag)

    def _gather(self, visit: Visit) -> SecurityView:
        index = self._gateway.index
        counts = index.verdict_counts()
        formats: dict[str, Counter[Verdict]] = {}
        findings: list[tuple[Judged, ContentLine]] = []
        for verdict in _SHOWN:
            for judged in index.with_verdict(verdict, _ALWAYS, _COUNTED):
                name = judged.report.formats[0] if judged.report.formats else "other"
                formats.setdefault(name, Counter())[verdict] += 1
                if verdict in _GRAVE and len(findings) < 2 * _NEWEST:
                    line = self._seen_line(visit, judged)
                    if line is not None:
                        findings.append((judged, line))
        findings.sort(key=lambda pair: -pair[0].judged_at)
        table = sorted(formats.items(), key=lambda pair: _by_gravity(pair[1]))[:_MOST_FORMATS]
        holds = self._holds(visit) if self._holds is not None else None
        return SecurityView(
            verdicts=[(verdict_view(verdict), counts.get(verdict, 0)) for verdict in _SHOWN],
            formats=[(name, [count[verdict] for verdict in _SHOWN]) for name, count in table],
            findings=[line for _, line in findings[:_NEWEST]],
            holds=holds[:_MOST_HOLDS] if holds is not None else None,
            waiting=len(holds or ()),
            feeds=self._feeds() if self._feeds is not None else None,
            mode=self._gateway.settings.guard,
            stamp=self._stamp() if visit.is_admin else "",
        )

    def _content(self, visit: Visit, etag: Etag) -> ContentView:
        said, places = self._gateway.index.verdicts_of(etag), self._standing(visit, etag)
        if not said or not (places or visit.is_admin):
            raise Absent("Nothing is known of this content.")
        return ContentView(
            name=str(places[0].entry.path) if places else f"{etag[:16]}…",
            evidence=evidence_view(said[0]),
            places=[self._place(visit, said[0], file) for file in places],
            before=[(verdict_view(one.verdict), one.judged_at, one.report.rules) for one in said[1:]],
            trace_href=f"{_TRACE}?{urlencode({'target': etag})}" if visit.is_admin else "",
        )

    def _place(self, visit: Visit, judged: Judged, file: FileAt) -> PlaceLine:
        return PlaceLine(
            f"{file.repo}/{file.entry.path}", file_href(file), *self._decided(visit, judged, file)
        )

    def _decided(self, visit: Visit, judged: Judged, file: FileAt) -> tuple[str, str]:
        """What policy says to this visitor who wanted this file, and why."""
        facts = self._gateway.guarding.gate.facts("read", file, visit.caller, judged)
        decision = self._gateway.governing.waived.decide(facts)
        return decision.effect, decision.reason

    def _standing(self, visit: Visit, etag: Etag) -> list[FileAt]:
        """Where a content stands, once for each path, in repositories that this visitor may see."""
        found: dict[tuple[RepoId, str], FileAt] = {}
        for file in self._gateway.index.where_is(etag):
            if may_see(self._gateway, visit.caller, file.repo):
                found.setdefault((file.repo, file.entry.path), file)
        return list(found.values())[:_MOST_PLACES]

    def _seen_line(self, visit: Visit, judged: Judged) -> ContentLine | None:
        places = self._standing(visit, judged.etag)
        if not places:
            return _line(judged, places) if visit.is_admin else None
        return _line(judged, places, self._decided(visit, judged, places[0])[0])

    def _line(self, visit: Visit, judged: Judged, repo: RepoId) -> tuple[Judged, ContentLine] | None:
        places = [file for file in self._gateway.index.where_is(judged.etag) if file.repo == repo]
        if not places:
            return None
        effect = self._decided(visit, judged, places[0])[0]
        return judged, replace(_line(judged, places[:1], effect), name=str(places[0].entry.path))


def _by_gravity(counts: Counter[Verdict]) -> tuple[int, int]:
    """Formats with what is dangerous or suspicious come first, then those that there is most of."""
    return -sum(counts[verdict] for verdict in _GRAVE), -sum(counts.values())


def content_href(etag: str) -> str:
    """The page of a content's evidence."""
    return f"{CONTENT_PATH}?{urlencode({'digest': etag})}"


def file_href(file: FileAt) -> str:
    """The page of a file."""
    return page_href(file.repo, "blob", file.commit_hash, file.entry.path)


def evidence_of(index: Said, etag: Etag) -> EvidenceView | None:
    """All that is said of a content now. A point read."""
    judged = index.verdicts_of(etag)
    return evidence_view(judged[0], content_href(etag)) if judged else None


def _line(judged: Judged, places: Sequence[FileAt], effect: str = "") -> ContentLine:
    report = judged.report
    gravest = max(report.findings, key=lambda finding: finding.severity, default=None)
    first = places[0] if places else None
    return ContentLine(
        verdict=verdict_view(report.verdict),
        name=f"{first.repo}/{first.entry.path}" if first is not None else judged.etag[:16],
        href=content_href(judged.etag),
        place_href=file_href(first) if first is not None else "",
        what=gravest.what if gravest is not None else "",
        advice=gravest.advice if gravest is not None else "",
        effect=effect,
        judged_at=judged.judged_at,
        formats=report.formats[:3],
        more_places=max(0, len(places) - 1),
    )
