"""Xet as the Hub speaks of it: where a token is had, where a file's reconstruction is, in headers and JSON.

All addresses are absolute, on one base that has no slash at its end: clients concatenate paths to it, and
some refuse relative ones. A token answer says the same in headers and in JSON, because some clients read
only the one and some only the other.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileAt

CAS_PREFIX = "/cas"
"""Where our CAS stands below our own base."""

FILE_INFO_TYPE = "application/vnd.xet-fileinfo+json"
"""What a client accepts that wants to know of a Xet file instead of reading it."""

Headers = list[tuple[str, str]]


def cas_url(base_url: str) -> str:
    """Our CAS, as a token answer names it."""
    return base_url + CAS_PREFIX


def token_url(base_url: str, repo: RepoId, commit_hash: CommitHash) -> str:
    """Where a read token for one commit is had."""
    return f"{base_url}{repo.api_path}/xet-read-token/{quote(commit_hash, safe='')}"


def reconstruction_url(base_url: str, file_id: str) -> str:
    """A file's reconstruction. Clients replace the `v1` in it, so it must stand there."""
    return f"{base_url}{CAS_PREFIX}/v1/reconstructions/{file_id}"


def file_xet_headers(file: FileAt, base_url: str) -> Headers:
    """What sends a client that speaks Xet to our CAS, on every answer about a file; none without a Xet id."""
    file_id = file.entry.xet_hash
    if file_id is None:
        return []
    auth = token_url(base_url, file.repo, file.commit_hash)
    info = reconstruction_url(base_url, file_id)
    return [
        ("X-Xet-Hash", file_id),
        ("Link", f'<{auth}>; rel="xet-auth", <{info}>; rel="xet-reconstruction-info"'),
        ("Vary", "Authorization, Accept"),
    ]


def wants_file_info(accept: str | None) -> bool:
    """Whether a client asks for `file_info` instead of the bytes."""
    return accept is not None and FILE_INFO_TYPE in accept.lower()


def file_info(file: FileAt, base_url: str) -> bytes:
    """The facts of a Xet file, as JSON of `FILE_INFO_TYPE`."""
    entry = file.entry
    told = {
        "hash": entry.xet_hash,
        "refreshUrl": token_url(base_url, file.repo, file.commit_hash),
        "reconstructionUrl": reconstruction_url(base_url, entry.xet_hash or ""),
        "etag": f'"{entry.etag}"',
        "size": entry.size_bytes,
    }
    return json.dumps(told).encode()


def token_answer(base_url: str, token: str, expires_seconds: int, owner: str = "") -> tuple[Headers, bytes]:
    """Headers and JSON of a token answer.

    Args:
        expires_seconds: since the epoch.
        owner: a word for those who may share what a client remembers of our CAS; empty for everybody.
    """
    url = cas_url(base_url) + (f"/~{owner}" if owner else "")
    headers = [
        ("X-Xet-Cas-Url", url),
        ("X-Xet-Access-Token", token),
        ("X-Xet-Token-Expiration", str(expires_seconds)),
    ]
    return headers, json.dumps({"casUrl": url, "accessToken": token, "exp": expires_seconds}).encode()
