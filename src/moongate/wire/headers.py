"""The headers that tell what a file is: read from upstream's resolve answers, written on ours.

Rules: upstream's claims are checked one by one, and a claim that makes no sense is `UpstreamBroken`, never a
guess. What we write is the same on HEAD and GET, on 200, 206, 304 and redirects; what is said of Xet is added
elsewhere (`xet_words`), where the file is offered so. No value that we write can hold a line break.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from moongate.core.digests import Etag, parse_etag
from moongate.core.errors import BadName, UpstreamBroken
from moongate.core.names import CommitHash, is_commit_hash
from moongate.core.records import MAX_FILE_BYTES, FileAt

EXPOSED_HEADERS = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Link, X-Error-Code, X-Error-Message, "
    "X-Linked-ETag, X-Linked-Size, X-Moongate-Cache, X-Repo-Commit, X-Request-Id, X-Total-Count, X-Xet-Hash"
)

_MAX_LOCATION_CHARS = 16 * 1024
_SIZE = re.compile(r"[0-9]{1,19}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 !#$&+.^_`{}~()\[\]@=,'-]")
_TEXT_SUFFIXES = (
    *(".cfg", ".csv", ".html", ".ini", ".jinja", ".js", ".json", ".jsonl", ".md", ".py", ".sh", ".toml"),
    *(".tsv", ".txt", ".xml", ".yaml", ".yml", ".gitattributes", ".gitignore"),
)


@dataclass(frozen=True, slots=True)
class FileHeaders:
    """What upstream's headers say of one file.

    `location` is where the bytes are, when the answer was a redirect: absolute, or relative to the request.
    It is kept out of printed forms, since a CDN's URL carries its own permission.
    `xet_hash` is the Xet file id, if upstream keeps the file in Xet.
    """

    commit_hash: CommitHash
    etag: Etag
    size_bytes: int
    location: str | None = field(default=None, repr=False)
    xet_hash: str | None = None


def read_file_headers(headers: Mapping[str, str], status: int = 200) -> FileHeaders:
    """What a resolve answer with this status says of its file.

    Raises:
        UpstreamBroken: commit, etag or size is missing, malformed, or said twice differently.
    """
    said = _by_lower_name(headers)
    redirected = 300 <= status < 400
    commit_hash = said.get("x-repo-commit", "").strip().lower()
    if not is_commit_hash(commit_hash):
        raise UpstreamBroken("upstream named no commit for a file (X-Repo-Commit)")
    try:
        etag = parse_etag(said.get("x-linked-etag") or said.get("etag") or "")
    except BadName:
        raise UpstreamBroken("upstream gave no content etag for a file") from None
    location = said.get("location") if redirected else None
    if location is not None and (len(location) > _MAX_LOCATION_CHARS or _CONTROL.search(location)):
        raise UpstreamBroken("upstream redirected to something that is no URL")
    xet_hash = said.get("x-xet-hash", "").strip().lower()
    return FileHeaders(
        commit_hash=CommitHash(commit_hash),
        etag=etag,
        size_bytes=_read_size(said, redirected),
        location=location,
        xet_hash=xet_hash if _HEX64.fullmatch(xet_hash) else None,
    )


def file_headers(file: FileAt) -> list[tuple[str, str]]:
    """The headers of every answer about this file, without its length or a range.

    `X-Linked-*` are on small files too, so that no client mistakes the length of a redirect or of a
    compressed body for the file's.
    """
    entry = file.entry
    return [
        ("ETag", f'"{entry.etag}"'),
        ("X-Repo-Commit", file.commit_hash),
        ("X-Linked-Size", str(entry.size_bytes)),
        ("X-Linked-ETag", f'"{entry.etag}"'),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", content_type_of(entry.path)),
        ("Content-Disposition", content_disposition(entry.path)),
        ("Cache-Control", "private, no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
    ]


def content_type_of(path: str) -> str:
    """Plain text or plain bytes; never a type that a browser would run."""
    name = path.rpartition("/")[2].lower()
    return "text/plain; charset=utf-8" if name.endswith(_TEXT_SUFFIXES) else "application/octet-stream"


def content_disposition(path: str) -> str:
    """Both forms of RFC 6266 of a path's last name, fit for a header whatever the name holds."""
    name = path.rpartition("/")[2]
    plain = _NOT_PLAIN.sub("_", name) or "file"
    return f"inline; filename*=UTF-8''{quote(name, safe='', errors='replace')}; filename=\"{plain}\""


def etag_matches(header: str | None, etag: Etag) -> bool:
    """Whether an `If-None-Match` header names this etag (weakly) or is `*`: then 304 is the answer."""
    if header is None:
        return False
    if header.strip() == "*":
        return True
    return any(part.strip().removeprefix("W/").strip('"').lower() == etag for part in header.split(","))


def header_text(text: str, max_chars: int = 300) -> str:
    """Untrusted text as a header value: one line of latin-1 without control characters."""
    line = _CONTROL.sub(" ", text[: max_chars * 2]).strip()
    return line.encode("latin-1", "replace").decode("latin-1")[:max_chars]


def _read_size(said: Mapping[str, str], redirected: bool) -> int:
    text = said.get("x-linked-size")
    if text is None and not redirected and said.get("content-encoding", "identity") == "identity":
        text = said.get("content-length")
    if text is None or not _SIZE.fullmatch(text.strip()) or int(text) > MAX_FILE_BYTES:
        raise UpstreamBroken("upstream gave no sensible size for a file")
    return int(text)


def _by_lower_name(headers: Mapping[str, str]) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, value in headers.items():
        if said.setdefault(name.lower(), value) != value and name.lower() in _SAID_ONCE:
            raise UpstreamBroken(f"upstream said {name} twice, differently")
    return said


_SAID_ONCE = frozenset(
    ("x-repo-commit", "x-linked-etag", "x-linked-size", "etag", "content-length", "location")
)
