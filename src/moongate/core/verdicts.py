"""What a scan says: findings with their evidence, and one verdict for each content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal, TypeAlias

from moongate.core.digests import Etag

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


Basis: TypeAlias = Literal["whole", "ranges"]
"""What a report stands on: every byte, after the hash was right; or some ranges of what upstream sent."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A report, and which content it is of.

    etag: the content's identity. name_kind: see `name_kind_of`; empty where the name could not matter.
    feeds: the version of the threat feeds that were asked, empty when there were none.
    retry_at: when to look again, in seconds since the epoch; None: not before rules or feeds change.
    attempts: how often in a row looking failed.
    """

    etag: Etag
    report: Report
    judged_at: float
    size_bytes: int = 0
    name_kind: str = ""
    feeds: str = ""
    basis: Basis = "whole"
    retry_at: float | None = None
    attempts: int = 0

    @property
    def verdict(self) -> Verdict:
        return self.report.verdict

    @property
    def versions(self) -> Versions:
        return Versions(self.report.engine, self.report.rules, self.feeds)


@dataclass(frozen=True, slots=True)
class Versions:
    """What judges now; what was judged by other versions is judged again."""

    engine: str
    rules: str
    feeds: str = ""


_SUFFIX = re.compile(r"\.([a-z0-9_]{1,12})\Z")
_NAMELESS: Final = frozenset(
    ("zip", "numpy", "safetensors", "gguf", "hdf5", "columns", "7z", "tar", "gzip", "bzip2", "xz", "lz4")
)


def name_kind_of(path: str) -> str:
    """The part of a file's name that may tell a scanner how its text will be read: its ending, or less."""
    name = path.rsplit("/", 1)[-1].lower()
    if name.startswith("dockerfile"):
        return "dockerfile"
    found = _SUFFIX.search(name)
    return found[1] if found else ""


def is_nameless(report: Report) -> bool:
    """Whether the content is of a format that no name could turn into another."""
    return report.formats[:1] != () and report.formats[0] in _NAMELESS
