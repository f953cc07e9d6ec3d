"""What a scan says: findings with their evidence, and one verdict for each content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal, TypeAlias

Verdict: TypeAlias = Literal["clean", "suspicious", "dangerous", "unscanned", "failed"]

VERDICTS: Final[tuple[Verdict, ...]] = ("clean", "unscanned", "failed", "suspicious", "dangerous")
"""From best to worst. What could not be looked at is worse than clean, and what was found is worse still."""

MAX_FINDINGS: Final = 100


class Severity(IntEnum):
    """`high` and above make content dangerous, `medium` suspicious; `low` and `info` leave it clean."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    member: the path inside containers, parts joined by `!/`; empty for the file itself.
    offset: in that member, in bytes, where it is known.
    evidence: what was seen, as names and short texts; never a secret in full.
    """

    rule: str
    severity: Severity
    what: str
    why: str
    advice: str
    member: str = ""
    offset: int | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {
            "rule": self.rule,
            "severity": self.severity.name.lower(),
            "what": self.what,
            "why": self.why,
            "advice": self.advice,
            "member": self.member,
            "offset": self.offset,
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Finding:
        return cls(**{**told, "severity": Severity[told["severity"].upper()]})


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one content and everything inside it."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    formats: tuple[str, ...] = ()
    read_bytes: int = 0
    more_findings: int = 0
    engine: str = ""
    rules: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "verdict": self.verdict,
            "formats": list(self.formats),
            "read_bytes": self.read_bytes,
            "more_findings": self.more_findings,
            "engine": self.engine,
            "rules": self.rules,
            "findings": [finding.as_json() for finding in self.findings],
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Report:
        findings = tuple(Finding.from_json(finding) for finding in told["findings"])
        return cls(**{**told, "findings": findings, "formats": tuple(told["formats"])})


def worst(verdicts: list[Verdict]) -> Verdict:
    return max(verdicts, key=VERDICTS.index, default="clean")
