"""What the Hub's own scanners say of a file: `securityFileStatus`, read strictly.

The Hub changed this shape before, and readers that filled in what was missing let everything pass. So an
unknown shape or level, and whatever is queued or failed there, is told as inconclusive; and what the Hub
calls safe adds nothing, for it is one voice among others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from moongate.core.verdicts import Finding, Severity
from moongate.scan.feeds.words import label_of

_LEVELS: Final[Mapping[str, Severity | None]] = {
    "unscanned": Severity.INFO,
    "queued": Severity.INFO,
    "error": Severity.INFO,
    "safe": None,
    "caution": Severity.LOW,
    "suspicious": Severity.MEDIUM,
    "unsafe": Severity.HIGH,
}
_REQUIRED: Final = ("status", "avScan", "pickleImportScan")
_SCANS: Final[Mapping[str, str]] = {
    "avScan": "ClamAV",
    "pickleImportScan": "the pickle scan",
    "protectAiScan": "Protect AI",
    "jFrogScan": "JFrog",
    "virusTotalScan": "VirusTotal",
}
_MOST_IMPORTS: Final = 20


def findings_of(status: object) -> tuple[Finding, ...]:
    """What it adds to a report; nothing for what was never told (None) and for what the Hub calls safe."""
    if status is None:
        return ()
    if not isinstance(status, dict) or not all(name in status for name in _REQUIRED):
        return (_inconclusive("the Hub tells its scans in a shape that is not known here"),)
    level = status["status"]
    if not isinstance(level, str) or level not in _LEVELS:
        return (_inconclusive("the Hub uses a word for its scans that is not known here"),)
    found = list(_voices(status))
    told = [finding.severity for finding in found]
    own = _LEVELS[level]
    if own is not None and own > max(told, default=Severity.INFO):
        found.append(_finding("The Hub", level, own, {}))
    if not found and own is Severity.INFO:
        found.append(_inconclusive(f"the Hub's scans are {level}"))
    return tuple(found)


def _voices(status: Mapping[str, Any]) -> Iterator[Finding]:
    for name, who in _SCANS.items():
        scan = status.get(name)
        if scan is None:
            continue
        level = scan.get("status") if isinstance(scan, dict) else None
        if not isinstance(level, str) or level not in _LEVELS:
            yield _inconclusive(f"the Hub tells what {who} found in a shape that is not known here")
            continue
        severity = _LEVELS[level]
        if severity is not None and severity > Severity.INFO:
            yield _finding(f"{who}, asked by the Hub,", level, severity, scan)


def _finding(who: str, level: str, severity: Severity, scan: Mapping[str, Any]) -> Finding:
    evidence: dict[str, object] = {"level": level, "feed": "hub"}
    if message := label_of(scan.get("message")):
        evidence["message"] = message
    imports = scan.get("pickleImports")
    if isinstance(imports, list):
        evidence["imports"] = [
            f"{one.get('module')}.{one.get('name')}"[:200]
            for one in imports
            if isinstance(one, dict) and one.get("safety") in ("suspicious", "dangerous")
        ][:_MOST_IMPORTS]
    return Finding(
        rule="intel-hub",
        severity=severity,
        what=f"{who} calls it {level}",
        why="The Hub's own scanners object to the file.",
        advice="Look at the file's page on the Hub before you use it.",
        evidence=evidence,
    )


def _inconclusive(what: str) -> Finding:
    return Finding(
        rule="intel-hub-unclear",
        severity=Severity.INFO,
        what=what,
        why="It counts neither for the file nor against it.",
        advice="Nothing; this gateway judges for itself.",
        evidence={"feed": "hub"},
    )
