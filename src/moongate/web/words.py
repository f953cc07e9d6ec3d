"""How sizes, counts and times are written on every page."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def size_words(size_bytes: float) -> str:
    """Bytes as people read them: 1.4 GB."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit returns")


def ago_words(seconds: float | None) -> str:
    """A span of time since something, roughly."""
    if seconds is None:
        return "never"
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if seconds < limit:
            return f"{max(0, seconds) / unit:.0f} {name} ago"
    days = seconds / 86400
    return f"{days:.0f} days ago" if days < 60 else f"{days / 30.4:.0f} months ago"


def count_words(count: float) -> str:
    """A large number, short: 22.7 M."""
    value = float(count)
    for unit in ("", " k", " M", " B"):
        if value < 1000:
            return f"{value:.0f}{unit}" if value >= 100 or not unit else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f} T"


def seconds_of(iso: str | None) -> float | None:
    """The moment that an ISO time names, in seconds since the epoch; None when it names none."""
    try:
        return datetime.fromisoformat(iso).timestamp() if iso else None
    except ValueError:
        return None


def since_words(moment: float | str | None) -> str:
    """How long ago a moment was, given in seconds since the epoch or as an ISO time."""
    at = seconds_of(moment) if isinstance(moment, str) else moment
    if at is None:
        return "never"
    ahead = at - time.time()
    if ahead > 1:
        days = ahead / 86400
        return f"in {days:.0f} days" if days >= 2 else f"in {ahead / 3600:.0f} h" if days > 0.1 else "soon"
    return ago_words(-ahead)


def moment_words(moment: float | str | None) -> str:
    """A moment to the minute, in UTC."""
    at = seconds_of(moment) if isinstance(moment, str) else moment
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def exact_words(moment: float | str | None) -> str:
    """A moment to the second, in UTC: what a record is read for."""
    at = seconds_of(moment) if isinstance(moment, str) else moment
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso_words(moment: float | str | None) -> str:
    """A moment as programs read it."""
    at = seconds_of(moment) if isinstance(moment, str) else moment
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sentence_words(text: str) -> str:
    """A remark as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def share_words(part: float, whole: float) -> str:
    """A share in per cent; a dash of nothing."""
    return f"{part / whole:.0%}" if whole else "–"
