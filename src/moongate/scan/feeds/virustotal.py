"""VirusTotal and Google Threat Intelligence, API v3: what an answer about a file means, and threat lists.

Only hashes are ever asked about; nothing is uploaded. A file that is not known (404) is unknown, not clean.
Source: the public API reference, files and threat lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from moongate.core.errors import UpstreamBroken
from moongate.core.hits import Indicator, day_and_time
from moongate.core.verdicts import Finding, Severity
from moongate.scan.feeds.words import (
    confidence_of,
    hash_kind,
    json_of,
    label_of,
    object_of,
    seconds_of,
)

_COUNTS: Final = ("malicious", "suspicious", "undetected", "harmless")
_SURE_ENGINES: Final = 3
_SURE_SCORE: Final = 60
_HOUR: Final = 3600.0
_SHORTEST_TTL: Final = _HOUR
_UNKNOWN_TTL: Final = 4 * _HOUR
_LONGEST_TTL: Final = 30 * 24 * _HOUR
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a file stands with the service.

    verdict, severity: of Google Threat Intelligence, without their prefixes and in lower case; empty for
    keys that see none. score: 0 to 100.
    """

    malicious: int = 0
    suspicious: int = 0
    engines: int = 0
    verdict: str = ""
    severity: str = ""
    score: int | None = None
    first_seen_at: float | None = None
    label: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Standing:
        return cls(**told)

    @property
    def is_bad(self) -> bool:
        return (
            self.verdict == "malicious" or self.malicious >= _SURE_ENGINES or (self.score or 0) >= _SURE_SCORE
        )

    @property
    def is_doubtful(self) -> bool:
        return bool(self.verdict == "suspicious" or self.malicious or self.suspicious)


def read_file(body: bytes, sha256: str) -> Standing:
    """What an answer to `GET /api/v3/files/{sha256}` says.

    Raises:
        UpstreamBroken: it is of another shape, or about another file.
    """
    data = object_of(object_of(json_of(body, "the answer"), "the answer").get("data"), "the answer's data")
    attributes = object_of(data.get("attributes"), "the answer's attributes")
    if str(attributes.get("sha256", data.get("id", ""))).lower() != sha256:
        raise UpstreamBroken("the answer is about another file")
    return _standing(attributes)


def _standing(attributes: Mapping[str, Any]) -> Standing:
    stats = object_of(attributes.get("last_analysis_stats"), "last_analysis_stats")
    counts = {name: stats.get(name) for name in _COUNTS}
    if not all(isinstance(count, int) and count >= 0 for count in counts.values()):
        raise UpstreamBroken("last_analysis_stats lacks its counts")
    threat = attributes.get("popular_threat_classification")
    gti = attributes.get("gti_assessment")
    return Standing(
        malicious=stats["malicious"],
        suspicious=stats["suspicious"],
        engines=sum(count for count in counts.values() if isinstance(count, int)),
        verdict=_word(gti, "verdict", "VERDICT_"),
        severity=_word(gti, "severity", "SEVERITY_"),
        score=_score(gti),
        first_seen_at=seconds_of(attributes.get("first_submission_date")),
        label=label_of(
            threat.get("suggested_threat_label") if isinstance(threat, dict) else None,
            attributes.get("meaningful_name"),
        ),
    )


def _word(gti: object, name: str, prefix: str) -> str:
    held = gti.get(name) if isinstance(gti, dict) else None
    value = held.get("value") if isinstance(held, dict) else None
    return value.removeprefix(prefix).lower()[:40] if isinstance(value, str) else ""


def _score(gti: object) -> int | None:
    held = gti.get("threat_score") if isinstance(gti, dict) else None
    value = held.get("value") if isinstance(held, dict) else None
    return confidence_of(value, 0) if isinstance(value, int | float) else None


def ttl_seconds(standing: Standing | None, now: float) -> float:
    """How long an answer holds: the younger the file, the shorter, for verdicts of young files change."""
    if standing is None:
        return _UNKNOWN_TTL
    if standing.first_seen_at is None or not standing.engines:
        return _SHORTEST_TTL
    return min(_LONGEST_TTL, max(_SHORTEST_TTL, (now - standing.first_seen_at) / 10))


def finding_of(standing: Standing, sha256: str, service: str, asked_at: float, now: float) -> Finding | None:
    """What a standing adds to a report; nothing when nobody objects."""
    if not standing.is_bad and not standing.is_doubtful:
        return None
    words = f"{standing.malicious} of {standing.engines} engines call it malicious"
    if standing.label:
        words += f" ({standing.label})"
    return Finding(
        rule="intel-service",
        severity=Severity.CRITICAL if standing.is_bad else Severity.MEDIUM,
        what=f"{service} knows these bytes: {words}",
        why="Others have seen exactly these bytes, and object to them.",
        advice="Do not load it." if standing.is_bad else "Look at it before you use it.",
        evidence={
            "sha256": sha256,
            "feed": service,
            "feed_fetched_at": day_and_time(asked_at),
            "feed_age_seconds": max(0, round(now - asked_at)),
            "malicious": standing.malicious,
            "suspicious": standing.suspicious,
            "engines": standing.engines,
            "verdict": standing.verdict,
            "threat_score": standing.score,
        },
    )


def read_threat_list(body: bytes, min_score: int, label: str) -> list[Indicator]:
    """The files of an hourly threat list that score enough.

    Raises:
        UpstreamBroken: it is no threat list.
    """
    told = object_of(json_of(body, "the threat list"), "the threat list")
    rows = told.get("iocs", told.get("data"))
    if not isinstance(rows, list):
        raise UpstreamBroken("the threat list holds no list")
    found = []
    for row in rows:
        data = row.get("data", row) if isinstance(row, dict) else None
        if not isinstance(data, dict) or data.get("type", "file") != "file":
            continue
        value = str(data.get("id", "")).lower()
        attributes = data.get("attributes")
        gti = attributes.get("gti_assessment") if isinstance(attributes, dict) else None
        score = _score(gti)
        if hash_kind(value) == "sha256" and (score is None or score >= min_score):
            found.append(Indicator("sha256", value, label, max(_SURE_SCORE, score or 0)))
    return found


def is_sha256(text: str) -> bool:
    return bool(_SHA256.fullmatch(text))
