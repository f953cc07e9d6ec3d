"""The sheet, the modules and the icon that pages link to: read once, told apart by a digest, kept for ever.

Their address holds a digest over all of them, so a browser asks for each once and never sees a stale one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PREFIX = "/-/assets/"

_STATIC = Path(__file__).with_name("static")
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SHEETS = ("tokens.css", "base.css", "parts.css", "pages.css", "prose.css")
"""In this order; they are sent as one sheet."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its media type and its bytes."""

    kind: str
    body: bytes


@cache
def assets() -> dict[str, Asset]:
    """Every asset by its name."""
    sheet = b"".join((_STATIC / name).read_bytes() for name in _SHEETS)
    found = {
        path.name: Asset(_KINDS[path.suffix], path.read_bytes())
        for path in sorted(_STATIC.iterdir())
        if path.suffix in (".js", ".svg")
    }
    return {"moongate.css": Asset(_KINDS[".css"], sheet), **found}


@cache
def digest() -> str:
    """Changes whenever one of them does."""
    hasher = hashlib.sha256()
    for name, asset in assets().items():
        hasher.update(name.encode() + b"\0" + asset.body)
    return hasher.hexdigest()[:16]


def address(name: str) -> str:
    """Where a page links to for this asset."""
    return f"{PREFIX}{digest()}/{name}"


def find(path: str) -> Asset | None:
    """The asset at an address of ours; None when there is none, or not in this edition."""
    edition, _, name = path.removeprefix(PREFIX).partition("/")
    return assets().get(name) if edition == digest() else None
