"""Text without secrets: what looks like a token goes, wherever it came from."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

_TOKEN: Final = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}"
    r"|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{6,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
)
_HINTS: Final = ("hf_", "earer", "EARER", "asic", "ASIC", "eyJ")
"""What every token holds one of: looked for first, because it costs nothing."""
_HINT_BYTES: Final = tuple(hint.encode() for hint in _HINTS)


def redacted(text: str) -> str:
    """The text without anything that looks like a token."""
    return _TOKEN.sub("•••", text)


def redacted_quickly(text: str) -> str:
    """As `redacted`, for many texts of which hardly any holds a token."""
    return redacted(text) if any(hint in text for hint in _HINTS) else text


def may_hold_token(text: bytes) -> bool:
    """Whether `redacted` might change a text of UTF-8 bytes; mostly not, and that costs nothing."""
    return any(hint in text for hint in _HINT_BYTES)


def host_of(url: str) -> str:
    """Of an address, the one part that is never a secret: where it leads."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
