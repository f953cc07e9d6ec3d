"""Hosted repositories as git serves them: a bare folder each, brought up to the index before every use.

The index is the truth, and several gateways may share it; what lies in a folder is derived and made anew when
it is gone or damaged. A repository's folder is named by its number and birth, so it stays when the repository
moves and is nobody else's when it goes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import structlog

from moongate.core.errors import StoreError
from moongate.store.bare.folder import BareFolder
from moongate.store.bare.programs import Programs
from moongate.store.bare.syncing import bring_up
from moongate.store.blobs import Blobs
from moongate.store.index import HostedRow, Index
from moongate.store.layout import Layout
from moongate.wire.git_objects import ObjectKind
from moongate.wire.lfs import pointer_text

_REBUILT_AT_MOST_EVERY_SECONDS = 600.0

log = structlog.get_logger("moongate.git")


class GitFolders:
    """The bare folders of one gateway."""

    def __init__(self, index: Index, blobs: Blobs, layout: Layout, programs: Programs) -> None:
        self._index = index
        self._blobs = blobs
        self._layout = layout
        self._programs = programs
        self._rebuilt: dict[int, float] = {}

    def folder(self, row: HostedRow) -> BareFolder:
        """A repository's folder, which may not exist yet."""
        return BareFolder(self._layout.git_folder(row.number, row.created_at), self._programs)

    def ready(self, row: HostedRow) -> BareFolder:
        """A repository's folder, showing what the index says now. Blocking.

        Raises:
            StoreError: it cannot be made.
        """
        folder = self.folder(row)
        bring_up(folder, _Source(self._index, self._blobs, row))
        return folder

    def tips(self, row: HostedRow) -> frozenset[str]:
        """What a repository's refs point to."""
        return frozenset(ref.target for ref in self._index.hosted_refs(row.number))

    def doubt(self, row: HostedRow) -> None:
        """Has a folder made anew, since git found something missing in it; not again and again. Blocking."""
        now = time.monotonic()
        if now - self._rebuilt.get(row.number, float("-inf")) < _REBUILT_AT_MOST_EVERY_SECONDS:
            return
        self._rebuilt[row.number] = now
        folder = self.folder(row)
        log.warning("a git folder is damaged and is made anew", folder=folder.path.name)
        with folder.locked():
            folder.remove()


class _Source:
    """A repository in the index and the store, as `bring_up` wants it."""

    def __init__(self, index: Index, blobs: Blobs, row: HostedRow) -> None:
        self._index = index
        self._blobs = blobs
        self._row = row

    def refs(self) -> Mapping[str, str]:
        return {ref.name: ref.target for ref in self._index.hosted_refs(self._row.number)}

    def objects(self, oids: Sequence[str]) -> Mapping[str, tuple[ObjectKind, bytes]]:
        found = self._index.git_objects(self._row.number, oids)
        return {oid: (one.kind, one.body) for oid, one in found.items()}

    def blob(self, oid: str) -> bytes:
        number = self._row.number
        held = self._index.hosted_blob(number, oid) or self._index.released_blob(number, oid)
        if held is None:
            raise StoreError(f"{self._row.repo} misses its git blob {oid}")
        if held.is_lfs:
            return pointer_text(held.etag, held.size_bytes)
        fd = self._blobs.open(held.etag)
        if fd is None:
            raise StoreError(f"{self._row.repo} misses the content of its git blob {oid}")
        with os.fdopen(fd, "rb") as file:
            return file.read()
