"""Times and durations, as people read and type them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from moongate.cli.exits import wrong_usage

_DURATION = re.compile(r"(\d{1,6})([smhdwy])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}


def moment(seconds: float | None) -> str | None:
    """A unix time as ISO 8601 in UTC, for machines."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(seconds: float | None, *, now: float | None = None) -> str:
    """How long ago a unix time was, in one rough word; `never` for None."""
    if seconds is None:
        return "never"
    return duration(max(0.0, (time.time() if now is None else now) - seconds)) + " ago"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `5 h`, `9 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def parse_duration(text: str, option: str) -> float:
    """Seconds in `45s`, `12h`, `30d`, `2w` or `1y`; `option` is named when it is none of these.

    Raises:
        CommandFailed: it is no duration (wrong usage).
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise wrong_usage(f"{option} {text!r} is no duration: use 45s, 12h, 30d, 2w or 1y")
    return float(int(found[1]) * _UNIT_SECONDS[found[2]])


def parse_moment(text: str | None, option: str, now: float) -> float | None:
    """Seconds since the epoch of `2h` (ago), `2026-11-28` or `2026-11-28T14:00` (UTC); None for None.

    Raises:
        CommandFailed: it is none of these (wrong usage).
    """
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        if _DURATION.fullmatch(text) is None:
            raise wrong_usage(
                f"{option} {text!r} is no moment: use 2h or 30d (ago), 2026-11-28 or 2026-11-28T14:00 (UTC)"
            ) from None
        return now - parse_duration(text, option)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
