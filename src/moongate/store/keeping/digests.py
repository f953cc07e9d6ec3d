"""Notes the sha256 of small files, whose etag is git's: feeds and signatures name content by its sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Final

from moongate.core.digests import Etag
from moongate.store.blobs import Blobs
from moongate.store.index import Index

_AT_ONCE: Final = 500
_GONE: Final = ""


def note_digests(blobs: Blobs, index: Index, *, stop: Callable[[], bool], most: int | None = None) -> int:
    """Hash what has no note yet; how many that were. Each is read once, for good."""
    noted = 0
    while not stop() and (most is None or noted < most):
        etags = index.undigested(_AT_ONCE)
        if not etags:
            break
        for etag in etags:
            if stop():
                break
            index.put_digest(etag, _sha256(blobs, Etag(etag)))
            noted += 1
    return noted


def _sha256(blobs: Blobs, etag: Etag) -> str:
    """The content's sha256; empty when it has just gone."""
    fd = blobs.open(etag)
    if fd is None:
        return _GONE
    with os.fdopen(fd, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
