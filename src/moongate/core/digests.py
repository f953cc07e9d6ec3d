"""Content identity: the etag of a file and the hash that proves it.

An `Etag` is 64 hex digits (the sha256 of an LFS file) or 40 (the git object id of a small one). Its length
tells which, so the etag alone says how to verify the bytes. Source: Hub metadata headers.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType, Protocol

from moongate.core.errors import BadName

Etag = NewType("Etag", str)
"""A normalised content etag: lower-case hex, no quotes, no `W/`; 64 digits (sha256) or 40 (git blob oid)."""

Digest = NewType("Digest", str)
"""Our own sha256, 64 hex digits."""

_ETAG = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


class Hasher(Protocol):
    """What hashlib objects do; `update` releases the interpreter lock for large buffers."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


def parse_etag(text: str) -> Etag:
    """The content etag in a header's or listing's spelling.

    Raises:
        BadName: the text is no content hash (a CDN's own etag, for example).
    """
    bare = text.strip().removeprefix("W/").strip('"').lower()
    if not _ETAG.fullmatch(bare):
        raise BadName("the etag is neither a sha256 nor a git object id")
    return Etag(bare)


def is_sha256(etag: str) -> bool:
    """Whether this etag is a sha256 (an LFS file) rather than a git object id."""
    return len(etag) == 64


def content_hasher(etag: Etag, size_bytes: int) -> Hasher:
    """A fresh hasher whose `hexdigest` equals the etag once exactly the file's bytes went through it."""
    if is_sha256(etag):
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
