"""The values of the security pages, as their templates name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moongate.core.verdicts import Finding, Judged, Severity, Verdict
from moongate.web.views import VerdictView

_LOOKS: Mapping[Verdict, tuple[str, str, str]] = {
    "clean": ("clean", "good", "shield-check"),
    "suspicious": ("suspicious", "warn", "alert"),
    "dangerous": ("dangerous", "bad", "stop"),
    "unscanned": ("not scanned", "", "question"),
    "failed": ("could not be scanned", "", "question"),
}
_TONES = {
    Severity.CRITICAL: "bad",
    Severity.HIGH: "bad",
    Severity.MEDIUM: "warn",
    Severity.LOW: "",
    Severity.INFO: "",
}
_TRAIL = "trail"
_MOST_EVIDENCE_CHARS = 4000


@dataclass(frozen=True, slots=True)
class FindingView:
    """One finding: what and where, why it matters, what to do, and what was seen."""

    rule: str
    severity: str
    tone: str
    what: str
    why: str
    advice: str
    where: str
    evidence: Sequence[tuple[str, str]]
    trail: str


@dataclass(frozen=True, slots=True)
class ContentLine:
    """One content that was judged, by a place where it stands. more_places: how many others there are.

    what, advice: of the gravest finding. effect: what policy says of it there; empty where it stands nowhere.
    """

    verdict: VerdictView
    name: str
    href: str
    place_href: str
    what: str
    advice: str
    effect: str
    judged_at: float
    formats: Sequence[str]
    more_places: int = 0


@dataclass(frozen=True, slots=True)
class HoldLine:
    """Something that waits for an approver."""

    name: str
    href: str
    reason: str
    asked_at: float
    asked_count: int


@dataclass(frozen=True, slots=True)
class SecurityView:
    """The dashboard. formats: each with its count by verdict, in the order of `verdicts`.

    waiting: how many holds there are in all. mode: of the guard.
    stamp: when the newest of it came; empty for who may not follow what comes.
    """

    verdicts: Sequence[tuple[VerdictView, int]]
    formats: Sequence[tuple[str, Sequence[int]]]
    findings: Sequence[ContentLine]
    holds: Sequence[HoldLine] | None
    feeds: Sequence[FeedLine] | None
    waiting: int = 0
    mode: str = "enforce"
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class FeedLine:
    """A feed of threat intelligence: how fresh it is, and what is wrong with it, if anything is."""

    name: str
    kind: str
    refreshed_at: float | None
    entries: int
    trouble: str


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """What is said of one content."""

    digest: str
    verdict: VerdictView
    basis: str
    formats: Sequence[str]
    judged_at: float
    engine: str
    rules: str
    feeds: str
    findings: Sequence[FindingView]
    more_findings: int


@dataclass(frozen=True, slots=True)
class PlaceLine:
    """Where a content stands, and what policy says of it there."""

    name: str
    href: str
    effect: str
    reason: str


@dataclass(frozen=True, slots=True)
class ContentView:
    """A content's page: its present evidence, places where it stands, and what was said before.

    trace_href: where one sees who received it; empty for who may not.
    """

    name: str
    evidence: EvidenceView
    places: Sequence[PlaceLine]
    before: Sequence[tuple[VerdictView, float, str]]
    trace_href: str


@dataclass(frozen=True, slots=True)
class RepoSecurityView:
    """What is said of a repository's content."""

    lines: Sequence[ContentLine]
    counts: Sequence[tuple[VerdictView, int]]


def verdict_view(verdict: Verdict, href: str = "") -> VerdictView:
    """A verdict in words, with its tone and icon."""
    return VerdictView(*_LOOKS[verdict], href, verdict)


def finding_view(finding: Finding) -> FindingView:
    """A finding, its trail of opcodes apart from the rest of its evidence."""
    where = finding.member
    if finding.offset is not None:
        where = f"{where or 'the file'}, byte {finding.offset:,}"
    evidence = {name: value for name, value in finding.evidence.items() if name != _TRAIL}
    return FindingView(
        rule=finding.rule,
        severity=finding.severity.name.lower(),
        tone=_TONES[finding.severity],
        what=finding.what,
        why=finding.why,
        advice=finding.advice,
        where=where,
        evidence=[(name, _shown(value)) for name, value in evidence.items()],
        trail=_trail(finding.evidence.get(_TRAIL)),
    )


def evidence_view(judged: Judged, href: str = "") -> EvidenceView:
    """What is said of a content, the gravest findings first."""
    report = judged.report
    ordered = sorted(report.findings, key=lambda finding: -finding.severity)
    return EvidenceView(
        digest=judged.etag,
        verdict=verdict_view(report.verdict, href),
        basis="every byte" if judged.basis == "whole" else "the parts that can run code",
        formats=report.formats,
        judged_at=judged.judged_at,
        engine=report.engine,
        rules=report.rules,
        feeds=judged.feeds,
        findings=[finding_view(finding) for finding in ordered],
        more_findings=report.more_findings,
    )


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))[:_MOST_EVIDENCE_CHARS]
    return str(value)[:_MOST_EVIDENCE_CHARS]


def _trail(value: object) -> str:
    lines = map(str, value) if isinstance(value, list | tuple) else [str(value)] if value else []
    return "\n".join(lines)[:_MOST_EVIDENCE_CHARS]
