"""What the Hub says of files' safety, and our verdicts in its words; upstream's own can only make it worse.

    securityFileStatus  {"status": LEVEL, "avScan": {…}, "pickleImportScan": {…}, …}   a file, in listings
    scan                {"scansDone": bool, "filesWithIssues": [{"path", "level"}]}    a repository

Source: the Hub's OpenAPI (levels: unscanned, safe, queued, error, caution, suspicious, unsafe).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from moongate.core.verdicts import Judged, Verdict

LEVELS: Final[Mapping[Verdict, str]] = {
    "clean": "safe",
    "unscanned": "unscanned",
    "failed": "error",
    "suspicious": "suspicious",
    "dangerous": "unsafe",
}
_LEVELS = ("unscanned", "queued", "safe", "error", "caution", "suspicious", "unsafe")
_WEIGHTS: Final = dict(zip(_LEVELS, (0, 0, 1, 2, 3, 4, 5), strict=True))
_OURS_WEIGHTS: Final = {**_WEIGHTS, "unscanned": 2}


def file_status(ours: Judged | None, upstream: object) -> dict[str, Any]:
    """A file's status, both voices in it. Upstream's, as it is, when we have none."""
    theirs = dict(upstream) if isinstance(upstream, dict) else {}
    level = theirs.get("status")
    theirs_level = level if isinstance(level, str) and level in _WEIGHTS else "unscanned"
    unasked = {"status": "unscanned"}
    told = {"avScan": unasked, "pickleImportScan": unasked, **theirs, "status": theirs_level}
    if ours is None:
        return told
    our_level = LEVELS[ours.verdict]
    if _OURS_WEIGHTS[our_level] >= _WEIGHTS[theirs_level]:
        told["status"] = our_level
    words = ", ".join(dict.fromkeys(finding.rule for finding in ours.report.findings[:5]))
    told["moongateScan"] = {"status": our_level, "message": words, "version": ours.report.rules}
    return told


def repo_status(
    files: Iterable[tuple[str, Verdict | None]], upstream: object, *, complete: bool
) -> dict[str, Any]:
    """A repository's status, by the verdicts on its files; `complete`: these are all of them."""
    theirs = upstream if isinstance(upstream, dict) else {}
    issues: dict[str, str] = {}
    told = theirs.get("filesWithIssues")
    for one in told if isinstance(told, list) else ():
        if isinstance(one, dict) and isinstance(one.get("path"), str) and one.get("level") in _WEIGHTS:
            issues[one["path"]] = one["level"]
    done = complete
    for path, verdict in files:
        if verdict is None:
            done = False
            continue
        level = LEVELS[verdict]
        if level != "safe" and _OURS_WEIGHTS[level] > _WEIGHTS[issues.get(path, "safe")]:
            issues[path] = level
    listed = [{"path": path, "level": level} for path, level in sorted(issues.items())]
    return {"scansDone": done, "filesWithIssues": listed}
