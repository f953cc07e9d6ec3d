"""Where scanners write what they find: findings once each, formats, and how much has been looked at."""

from __future__ import annotations

from collections.abc import Mapping

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import MAX_FINDINGS, Finding, Report, Severity, Verdict, worst
from moongate.scan.rules import ENGINE, RULES, TABLE
from moongate.weights.ranged import Ranged

_MAX_WORDS = 400


class Ledger:
    """The findings of one judgement, all members together."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.formats: dict[str, None] = {}
        self.read_bytes = 0
        self._seen: set[tuple[str, str, str]] = set()
        self._verdicts: set[Verdict] = set()
        self._more = 0

    def add(
        self,
        rule: str,
        what: str,
        *,
        member: str = "",
        offset: int | None = None,
        evidence: Mapping[str, object] | None = None,
        severity: Severity | None = None,
    ) -> None:
        """A finding; the same words about the same member are kept once."""
        row = TABLE[rule]
        level = row.severity if severity is None else severity
        self._verdicts.add(_verdict_of(level, row.effect))
        key = (rule, member, what)
        if key in self._seen:
            return
        if len(self._seen) >= MAX_FINDINGS:
            self._more += 1
            return
        self._seen.add(key)
        self.findings.append(
            Finding(rule, level, what[:_MAX_WORDS], row.why, row.advice, member, offset, evidence or {})
        )

    def saw(self, format_name: str) -> None:
        self.formats.setdefault(format_name)

    @property
    def is_dangerous(self) -> bool:
        return "dangerous" in self._verdicts

    def report(self) -> Report:
        ordered = sorted(self.findings, key=lambda finding: -finding.severity)
        verdict = worst(list(self._verdicts))
        formats = tuple(self.formats)
        return Report(verdict, tuple(ordered), formats, self.read_bytes, self._more, ENGINE, RULES)


class Counted:
    """Content whose reads are counted in the ledger."""

    def __init__(self, content: Ranged, ledger: Ledger) -> None:
        self._content = content
        self._ledger = ledger

    @property
    def size_bytes(self) -> int:
        return self._content.size_bytes

    def read(self, span: ByteSpan) -> bytes:
        data = self._content.read(span)
        self._ledger.read_bytes += len(data)
        return data


def _verdict_of(severity: Severity, effect: str) -> Verdict:
    if severity >= Severity.HIGH:
        return "dangerous"
    if effect == "unscanned":
        return "unscanned"
    if effect == "failed":
        return "failed"
    return "suspicious" if severity == Severity.MEDIUM else "clean"
