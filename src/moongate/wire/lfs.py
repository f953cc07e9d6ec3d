"""Git LFS: pointer files, and the batch API's questions and answers (basic transfer).

Source: git-lfs `docs/spec.md` and `docs/api/batch.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from moongate.core.callers import Secret
from moongate.core.digests import Etag, is_sha256, parse_etag
from moongate.core.errors import BadName, BadRequest, UpstreamBroken
from moongate.core.records import MAX_FILE_BYTES
from moongate.wire.bearer import token_of

MEDIA_TYPE = "application/vnd.git-lfs+json"
MAX_OBJECTS = 1000

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,19})\n"
)

Operation = Literal["download", "upload"]

UPLOADS_PREFIX = "/_lfs/"
"""Where objects are sent, at addresses that carry their own permission as the next segment of the path."""


@dataclass(frozen=True, slots=True)
class LfsPointed:
    """What a pointer, or one line of a batch, names: an object and its size."""

    oid: Etag
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A client's batch question. `transfers` are what it can do; empty means basic only."""

    operation: Operation
    objects: tuple[LfsPointed, ...]
    transfers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DownloadAction:
    """Where an object may be fetched, as upstream's batch answer says. `headers` go with the request."""

    href: str
    headers: tuple[tuple[str, str], ...]


def pointer_text(etag: Etag, size_bytes: int) -> bytes:
    """The pointer file that git holds in an LFS file's place."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{etag}\nsize {size_bytes}\n".encode()


def read_pointer(content: bytes) -> LfsPointed | None:
    """What a small file points to; None when it is no LFS pointer."""
    found = _POINTER.fullmatch(content) if len(content) <= 1024 else None
    if found is None:
        return None
    return LfsPointed(parse_etag(found[1].decode()), int(found[2]))


def read_batch_request(body: bytes) -> BatchRequest:
    """A client's batch question.

    Raises:
        BadRequest: it is no batch question, names no sha256, or more than 1000 objects.
    """
    told = _object(body)
    if told is None or told.get("operation") not in ("download", "upload"):
        raise BadRequest("not a git-lfs batch request")
    objects = told.get("objects")
    if not isinstance(objects, list) or len(objects) > MAX_OBJECTS:
        raise BadRequest(f"a git-lfs batch names up to {MAX_OBJECTS} objects")
    if told.get("hash_algo", "sha256") not in ("sha256", "sha_256"):
        raise BadRequest("git-lfs objects are named by sha256 here")
    pointed = tuple(_pointed(item) for item in objects)
    transfers = told.get("transfers")
    named = tuple(name for name in transfers if isinstance(name, str)) if isinstance(transfers, list) else ()
    return BatchRequest("download" if told["operation"] == "download" else "upload", pointed, named)


def batch_request(objects: Sequence[LfsPointed], operation: Operation = "download") -> bytes:
    """Our own batch question, asked of upstream."""
    asked = [{"oid": item.oid, "size": item.size_bytes} for item in objects]
    told = {"operation": operation, "transfers": ["basic"], "hash_algo": "sha256", "objects": asked}
    return json.dumps(told).encode()


def batch_answer(
    objects: Sequence[LfsPointed],
    hrefs: Mapping[Etag, str],
    *,
    header: Mapping[str, str] | None = None,
    expires_in_seconds: int = 3600,
) -> bytes:
    """Our answer to a download batch: each object's absolute address, or a 404 for those without one.

    Args:
        header: what git-lfs shall send along, such as its own `Authorization`.
    """
    told: list[Mapping[str, object]] = []
    for item in objects:
        line: dict[str, object] = {"oid": item.oid, "size": item.size_bytes}
        href = hrefs.get(item.oid)
        if href is None:
            line["error"] = {"code": 404, "message": "Object does not exist"}
        else:
            download = {"href": href, "header": dict(header or {}), "expires_in": expires_in_seconds}
            line |= {"authenticated": True, "actions": {"download": download}}
        told.append(line)
    return json.dumps({"transfer": "basic", "objects": told, "hash_algo": "sha256"}).encode()


@dataclass(frozen=True, slots=True)
class UploadAction:
    """How an object is to be sent: in one go to `href`, or its parts to their own addresses, then `href`.

    error: it cannot be; why.
    """

    href: str = ""
    part_bytes: int = 0
    parts: tuple[str, ...] = ()
    error: str = ""


def upload_answer(
    objects: Sequence[LfsPointed],
    actions: Mapping[Etag, UploadAction],
    verify: tuple[str, Mapping[str, str]],
    *,
    expires_in_seconds: int,
) -> bytes:
    """Our answer to an upload batch. Objects without an action are here already.

    verify: where a sender may ask whether an object arrived, and what is sent along.
    """
    in_parts = any(action.parts for action in actions.values())
    told: list[Mapping[str, object]] = []
    for item in objects:
        line: dict[str, object] = {"oid": item.oid, "size": item.size_bytes}
        action = actions.get(item.oid)
        if action is not None and action.error:
            line["error"] = {"code": 422, "message": action.error}
        elif action is not None:
            numbered = {f"{number:05d}": url for number, url in enumerate(action.parts, 1)}
            header = {"chunk_size": str(action.part_bytes), **numbered} if numbered else {}
            upload = {"href": action.href, "header": header, "expires_in": expires_in_seconds}
            href, sent = verify
            line |= {
                "authenticated": True,
                "actions": {"upload": upload, "verify": {"href": href, "header": dict(sent)}},
            }
        told.append(line)
    transfer = "multipart" if in_parts else "basic"
    return json.dumps({"transfer": transfer, "objects": told, "hash_algo": "sha256"}).encode()


def xet_answer(
    objects: Sequence[LfsPointed], actions: Mapping[Etag, UploadAction], header: Mapping[str, str]
) -> bytes:
    """Our answer to an upload batch of a client that speaks Xet: it goes on by itself from here.

    Objects without an action are here already. An action's href is where a token to write is had; `header`
    holds one.
    """
    told: list[Mapping[str, object]] = []
    for item in objects:
        line: dict[str, object] = {"oid": item.oid, "size": item.size_bytes}
        action = actions.get(item.oid)
        if action is not None and action.error:
            line["error"] = {"code": 422, "message": action.error}
        elif action is not None:
            line["actions"] = {"upload": {"href": action.href, "header": dict(header)}}
        told.append(line)
    return json.dumps({"transfer": "xet", "objects": told, "hash_algo": "sha256"}).encode()


def read_verify(body: bytes) -> LfsPointed:
    """The object that a sender asks about.

    Raises:
        BadRequest: it names none.
    """
    return _pointed(_object(body))


def read_batch_answer(body: bytes) -> dict[Etag, DownloadAction]:
    """Upstream's answer to a download batch: where each object is that it has.

    Raises:
        UpstreamBroken: it is no batch answer.
    """
    told = _object(body)
    if told is None or not isinstance(told.get("objects"), list):
        raise UpstreamBroken("upstream's git-lfs answer is no batch")
    objects = told["objects"]
    if told.get("transfer", "basic") != "basic" or not isinstance(objects, list):
        raise UpstreamBroken("upstream's git-lfs answer wants another transfer than basic")
    actions: dict[Etag, DownloadAction] = {}
    for item in objects:
        found = _download_action(item)
        if found is not None:
            actions[found[0]] = found[1]
    return actions


def basic_auth(header: str | None) -> Secret | None:
    """The token that git or git-lfs sent as a Basic password (or as a Bearer), if any."""
    token = token_of(header)
    return None if token is None else Secret(token)


def _pointed(item: object) -> LfsPointed:
    if not isinstance(item, dict):
        raise BadRequest("a git-lfs object is named by oid and size")
    oid, size_bytes = item.get("oid"), item.get("size")
    try:
        etag = parse_etag(oid) if isinstance(oid, str) else None
    except BadName:
        etag = None
    if etag is None or not is_sha256(etag):
        raise BadRequest("a git-lfs object is named by its sha256")
    if (
        not isinstance(size_bytes, int)
        or isinstance(size_bytes, bool)
        or not 0 <= size_bytes < MAX_FILE_BYTES
    ):
        raise BadRequest("a git-lfs object needs a sensible size")
    return LfsPointed(etag, size_bytes)


def _download_action(item: object) -> tuple[Etag, DownloadAction] | None:
    if not isinstance(item, dict) or not isinstance(item.get("actions"), dict):
        return None
    download = item["actions"].get("download")
    if not isinstance(download, dict) or not isinstance(download.get("href"), str):
        return None
    header = download.get("header")
    pairs = header.items() if isinstance(header, dict) else ()
    headers = tuple((name, value) for name, value in pairs if _is_plain(name) and _is_plain(value))
    try:
        return parse_etag(str(item.get("oid"))), DownloadAction(download["href"], headers)
    except BadName:
        return None


def _is_plain(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isprintable()


def _object(body: bytes) -> dict[str, object] | None:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
