"""Reports as a SARIF 2.1.0 log, as code hosts and CI show it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from moongate.core.verdicts import Finding, Report, Severity
from moongate.scan.rules import ENGINE, RULES, TABLE

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.INFO: "none", Severity.LOW: "note", Severity.MEDIUM: "warning"}


def sarif_log(reports: Sequence[tuple[str, Report]]) -> dict[str, object]:
    """One run; one result for each finding."""
    used = sorted({finding.rule for _, report in reports for finding in report.findings})
    driver = {
        "name": "moongate scan",
        "version": f"{ENGINE.partition('/')[2]}.{RULES}",
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": TABLE[rule].why},
                "help": {"text": TABLE[rule].advice},
                "defaultConfiguration": {"level": _LEVELS.get(TABLE[rule].severity, "error")},
            }
            for rule in used
        ],
    }
    results = [_result(path, finding) for path, report in reports for finding in report.findings]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _result(path: str, finding: Finding) -> dict[str, object]:
    region = {} if finding.offset is None else {"region": {"byteOffset": finding.offset, "byteLength": 1}}
    # An offset in a member is no offset in the file.
    physical = {"artifactLocation": {"uri": quote(path)}, **({} if finding.member else region)}
    location: dict[str, object] = {"physicalLocation": physical}
    if finding.member:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.member, "kind": "member"}]
    return {
        "ruleId": finding.rule,
        "level": _LEVELS.get(finding.severity, "error"),
        "message": {"text": f"{finding.what}. {finding.why} {finding.advice}"},
        "locations": [location],
        "properties": {"severity": finding.severity.name.lower(), "evidence": dict(finding.evidence)},
    }
