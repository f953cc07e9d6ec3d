"""What threat intelligence says: indicators as feeds state them, and hits, which become findings.

An indicator names content by its hash, or a repository, or an author. Names of repositories and authors come
and go (a deleted author's name can be taken by a stranger), so only a hash speaks of the bytes themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from moongate.core.verdicts import Finding, Severity

IndicatorKind: TypeAlias = Literal["sha256", "md5", "repo", "author", "pattern", "url"]
"""`repo` is written `models/ns/name`; `pattern` and `url` are kept for people and never matched."""

Tlp: TypeAlias = Literal["clear", "green", "amber", "amber+strict", "red"]

SURE_CONFIDENCE: Final = 60
"""From here on a hit on the bytes themselves is enough to call them dangerous."""

_DOUBTFUL_CONFIDENCE: Final = 30
_REFUSE: Final = "Do not load it. Tell your security team; if the feed is wrong, ask for a waiver."
_LOOK: Final = "Look at it before you use it; if the feed is wrong, ask for a waiver."


@dataclass(frozen=True, slots=True)
class Indicator:
    """One statement of a feed.

    label: what the feed calls it, such as a family of malware.
    confidence: 0 to 100, as STIX counts.
    source: who said so, where the feed gathers from several; empty: the feed itself.
    """

    kind: IndicatorKind
    value: str
    label: str = ""
    confidence: int = 75
    tlp: Tlp = "clear"
    expires_at: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """An indicator that fits, with the feed that holds it and when that feed was last fetched."""

    feed: str
    fetched_at: float
    indicator: Indicator

    def finding(self, now: float) -> Finding:
        """The finding that this hit is, with the feed's name and age in the evidence."""
        told = self.indicator
        evidence: dict[str, object] = {
            told.kind: told.value,
            "feed": self.feed,
            "feed_fetched_at": day_and_time(self.fetched_at),
            "feed_age_seconds": max(0, round(now - self.fetched_at)),
            "confidence": told.confidence,
            "tlp": told.tlp,
        }
        # What is TLP:RED is for the eyes of those who got it; findings are read by whoever asks for the file.
        label = "" if told.tlp == "red" else told.label
        if told.source and told.tlp != "red":
            evidence["source"] = told.source
        severity = _severity(told)
        return Finding(
            rule=f"intel-{told.kind if told.kind in ('repo', 'author') else 'hash'}",
            severity=severity,
            what=f"{self.feed} knows {_NOUNS.get(told.kind, 'it')} as {label or 'malicious'}"[:300],
            why=_WHY.get(told.kind, _WHY["sha256"]),
            advice=_REFUSE if severity >= Severity.HIGH else _LOOK,
            evidence=evidence,
        )


@dataclass(frozen=True, slots=True)
class PackageHit:
    """An advisory that covers a required package."""

    feed: str
    fetched_at: float
    advisory: str
    package: str
    version: str
    summary: str = ""
    fixed_in: str = ""
    aliases: tuple[str, ...] = ()
    detail: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_malware(self) -> bool:
        """Whether the package itself is malicious, rather than vulnerable."""
        return self.advisory.startswith("MAL-") or any(alias.startswith("MAL-") for alias in self.aliases)

    def finding(self, now: float) -> Finding:
        named = f"{self.package} {self.version}".strip()
        evidence: dict[str, object] = {
            "package": self.package,
            "version": self.version,
            "advisory": self.advisory,
            "aliases": list(self.aliases),
            "fixed_in": self.fixed_in,
            "feed": self.feed,
            "feed_fetched_at": day_and_time(self.fetched_at),
            "feed_age_seconds": max(0, round(now - self.fetched_at)),
        }
        words = f": {self.summary}" if self.summary else ""
        return Finding(
            rule="intel-package",
            severity=Severity.CRITICAL if self.is_malware else Severity.LOW,
            what=f"installs {named}, of which {self.advisory} tells{words}"[:300],
            why="The package is malware." if self.is_malware else "The version has a known vulnerability.",
            advice=_REFUSE if self.is_malware else _upgrade(self.package, self.fixed_in),
            evidence=evidence,
        )


def day_and_time(seconds: float) -> str:
    """A time as people and machines read it: `2026-11-28T14:20:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_NOUNS: Final = {"repo": "the repository", "author": "the author", "sha256": "these bytes", "md5": "the MD5"}
_WHY: Final = {
    "sha256": "Threat intelligence lists exactly these bytes.",
    "md5": "Threat intelligence lists the MD5 of these bytes, which others can be made to have.",
    "repo": "Threat intelligence lists the repository; its name may have changed hands since.",
    "author": "Threat intelligence lists the author, whoever has the name now.",
}


def _severity(told: Indicator) -> Severity:
    if told.confidence < _DOUBTFUL_CONFIDENCE:
        return Severity.LOW
    if told.kind == "sha256" and told.confidence >= SURE_CONFIDENCE:
        return Severity.CRITICAL
    if told.kind == "repo" and told.confidence >= SURE_CONFIDENCE:
        return Severity.HIGH
    return Severity.MEDIUM


def _upgrade(package: str, fixed_in: str) -> str:
    return f"Require {package}>={fixed_in}." if fixed_in else "Use another package, or accept the risk."
