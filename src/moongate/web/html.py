"""The frame of every page: head, style, header and footer; and how sizes and times are written."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path

from moongate import __version__

_STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")

_MOON = (
    '<svg viewBox="0 0 32 32" aria-hidden="true"><path d="M4 30V15a12 12 0 0 1 24 0v15" fill="none" '
    'stroke="currentColor" stroke-width="2.5" stroke-linecap="round"/><path d="M19.5 9.2a7 7 0 1 0 3.2 11.2 '
    '5.9 5.9 0 0 1-3.2-11.2z" fill="var(--moon)"/></svg>'
)

STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_POLICY = (
    f"default-src 'none'; style-src '{STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""What a page is sent with: it may show itself, and nothing else."""


def page(title: str, aside: str, body: str) -> str:
    """A whole page. `body` is HTML already; `title` and `aside` are text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<header>{_MOON}<h1>{escape(title)}</h1><p>{escape(aside)}</p></header>"
        f"<main>{body}</main><footer>Moongate {escape(__version__)}</footer></body></html>\n"
    )


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
    return f"{seconds / 86400:.0f} days ago"
