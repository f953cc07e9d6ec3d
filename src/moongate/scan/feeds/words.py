"""What the formats share: hashes, times, TLP, and addresses at the Hub."""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import orjson

from moongate.core.errors import BadName, UpstreamBroken
from moongate.core.hits import Indicator, IndicatorKind, Tlp
from moongate.core.names import is_repo_segment, parse_repo

HUB_HOSTS: Final = ("huggingface.co", "www.huggingface.co", "hf.co")
MOST_LABEL_CHARS: Final = 200

ZIP_TROUBLE: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, KeyError, NotImplementedError, OSError, RuntimeError, ValueError,
)  # fmt: skip
"""What the standard library raises for damaged zips."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_TLPS: Final = ("clear", "green", "amber", "amber+strict", "red")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_YEAR_3000: Final = 32503680000.0


def hash_kind(text: str) -> IndicatorKind | None:
    """Which hash this is, by its looks."""
    if _SHA256.fullmatch(text):
        return "sha256"
    return "md5" if _MD5.fullmatch(text) else None


def label_of(*texts: object) -> str:
    """The first of these that is a text, fit for a line."""
    for text in texts:
        if isinstance(text, str) and text.strip():
            return _CONTROL.sub(" ", text).strip()[:MOST_LABEL_CHARS]
    return ""


def tlp_of(texts: Iterable[object], otherwise: Tlp = "clear") -> Tlp:
    """The strictest of the marks `tlp:amber`, `TLP:RED`, `white` among these."""
    found = []
    for text in texts:
        word = str(text).lower().strip().removeprefix("tlp:").strip()
        word = "clear" if word == "white" else word
        if word in _TLPS:
            found.append(word)
    return cast(Tlp, max(found, key=_TLPS.index)) if found else otherwise


def seconds_of(value: object) -> float | None:
    """A time in seconds since the epoch: a number, or ISO 8601; None when it is none."""
    if isinstance(value, int | float):
        return float(value) if 0 <= value < _YEAR_3000 else None
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    if text.isdigit():
        return seconds_of(int(text)) if len(text) > 8 else None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def repo_indicator(url: str) -> tuple[IndicatorKind, str] | None:
    """The repository or author that an address at the Hub names."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or (parts.hostname or "") not in HUB_HOSTS:
        return None
    words = [unquote(word) for word in parts.path.split("/") if word]
    return named_repo("/".join(words[: 3 if words[:1] in (["datasets"], ["spaces"], ["models"]) else 2]))


def named_repo(text: str) -> tuple[IndicatorKind, str] | None:
    """`ns/name` with or without `datasets/` or `spaces/` before it is a repository; a bare word an author."""
    if "/" not in text:
        return ("author", text.lower()) if is_repo_segment(text) else None
    try:
        repo = parse_repo(text)
    except BadName:
        return None
    return "repo", f"{repo.repo_type}s/{repo.repo_id}".lower()


def indicator_of(value: str, told: Indicator) -> Indicator | None:
    """`told` about this value: a hash, `repo:ns/name`, `author:ns` or an address at the Hub; else None."""
    text = value.strip()
    kind = hash_kind(text)
    if kind is not None:
        return _about(told, kind, text.lower())
    named = None
    if text.startswith("repo:"):
        named = named_repo(text[5:])
        named = named if named is None or named[0] == "repo" else None
    elif text.startswith("author:"):
        named = named_repo(text[7:])
        named = named if named is None or named[0] == "author" else None
    elif text.startswith(("http://", "https://")):
        named = repo_indicator(text)
    return None if named is None else _about(told, *named)


def _about(told: Indicator, kind: IndicatorKind, value: str) -> Indicator:
    return Indicator(kind, value, told.label, told.confidence, told.tlp, told.expires_at, told.source)


def json_of(body: bytes, what: str) -> Any:
    """
    Raises:
        UpstreamBroken: it is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamBroken(f"{what} is not JSON") from None


def object_of(value: object, what: str) -> dict[str, Any]:
    """
    Raises:
        UpstreamBroken: it is no JSON object.
    """
    if not isinstance(value, dict):
        raise UpstreamBroken(f"{what} is not a JSON object")
    return value


def list_of(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def confidence_of(value: object, otherwise: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return otherwise
    try:
        return min(100, max(0, int(value)))
    except (ValueError, OverflowError):
        return otherwise
