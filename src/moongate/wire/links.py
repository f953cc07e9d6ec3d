"""Addresses of upstream's, re-told as ours: next pages of lists, and what answers to writes name.

Clients follow a `Link` header verbatim, with their token, so it must name our own origin; and it must be
absolute, because some clients accept nothing else. Of a repository or a commit that was made they read the
name off its address, and know it by their endpoint only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^\s=;,]+\s*=\s*(?:\"[^\"]*\"|[^\s\",;]+))*)")
_REL_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"(?:[^\"]*\s)?next(?:\s[^\"]*)?\"|next(?=[;\s]|$))", re.IGNORECASE)
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\U0010ffff<>\"\\]")
_MAX_HEADER_CHARS = 32 * 1024
_ADDRESSES = ("url", "commitUrl", "pullRequestUrl")


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


def with_own_addresses(body: bytes, upstream_origin: str, own_base: str) -> bytes:
    """The JSON answer to a write, with the repository, commit and pull request it names at our base.

    What is no JSON object, and addresses that lead elsewhere, are left as they are.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(told, dict):
        return body
    found = {name: told[name] for name in _ADDRESSES if isinstance(told.get(name), str)}
    ours = {name: rewrite_next(url, upstream_origin, own_base) for name, url in found.items()}
    told |= {name: url for name, url in ours.items() if url is not None}
    return json.dumps(told, separators=(",", ":")).encode() if ours else body


def _authority(url: str) -> tuple[str, int | None] | None:
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname or "").lower(), port
