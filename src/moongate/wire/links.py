"""The `Link` header of paginated lists: the next page, found in upstream's answer and re-told as ours.

Clients follow the address verbatim, with their token, so it must name our own origin; and it must be
absolute, because some clients accept nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^\s=;,]+\s*=\s*(?:\"[^\"]*\"|[^\s\",;]+))*)")
_REL_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next(?=[;\s]|$))", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\U0010ffff<>\"\\]")
_MAX_HEADER_CHARS = 32 * 1024


def next_link(headers: Mapping[str, str]) -> str | None:
    """Where the next page is, as upstream wrote it; None on the last page, or when it is no plain URL."""
    header = next((value for name, value in headers.items() if name.lower() == "link"), "")
    if len(header) > _MAX_HEADER_CHARS:
        return None
    for url, attributes in _LINK.findall(header):
        if _REL_NEXT.search(attributes):
            return None if _UNSAFE.search(url) or not url else str(url)
    return None


def relative_next(url: str, upstream_base: str) -> str | None:
    """The path and query of a next page below upstream's base; None when it leads elsewhere.

    This is the form to keep, since it holds neither upstream's name nor ours.
    """
    base, target = urlsplit(upstream_base), urlsplit(url)
    if target.netloc and (target.scheme, _authority(url)) != (base.scheme, _authority(upstream_base)):
        return None
    prefix = base.path.rstrip("/")
    if not target.path.startswith(prefix + "/") or target.path.startswith("//"):
        return None
    path = target.path.removeprefix(prefix)
    return f"{path}?{target.query}" if target.query else path


def rewrite_next(url: str, upstream_origin: str, own_base: str) -> str | None:
    """A next page's address with our base in place of upstream's; None when it leads elsewhere.

    `own_base` is absolute, may end in a path prefix, and needs no trailing slash.
    """
    relative = relative_next(url, upstream_origin)
    return None if relative is None else own_base.rstrip("/") + relative


def next_header(url: str) -> str:
    """The value of a `Link` header whose next page is there, in the one spelling that all clients parse."""
    return f'<{url}>; rel="next"'


def _authority(url: str) -> tuple[str, int | None] | None:
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname or "").lower(), port
