"""Who holds how much of the store."""

from __future__ import annotations

import os
from dataclasses import dataclass

from moongate.store.index import Index, RepoUsage
from moongate.store.keeping.partials import partial_files
from moongate.store.layout import Layout


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """The store as a whole and by repository.

    unlisted_bytes: sealed, and in no repository's listing. free_bytes: what its disk has left.
    quota_bytes: zero when there is none.
    """

    repos: tuple[RepoUsage, ...]
    blobs: int
    blob_bytes: int
    unlisted_bytes: int
    partials: int
    partial_bytes: int
    quarantined: int
    quarantine_bytes: int
    free_bytes: int
    quota_bytes: int


def usage(layout: Layout, index: Index, quota_bytes: int = 0) -> StoreUsage:
    """Count it. Walks every listing and the partial files."""
    partials = partial_files(layout)
    quarantined = [path.stat().st_size for path in layout.quarantine_dir.iterdir() if path.suffix != ".json"]
    disk = os.statvfs(layout.root)
    return StoreUsage(
        repos=tuple(index.usage_by_repo()),
        blobs=index.blob_count(),
        blob_bytes=index.total_bytes(),
        unlisted_bytes=index.unlisted_bytes(),
        partials=len(partials),
        partial_bytes=sum(partial.stored_bytes for partial in partials),
        quarantined=len(quarantined),
        quarantine_bytes=sum(quarantined),
        free_bytes=disk.f_bavail * disk.f_frsize,
        quota_bytes=quota_bytes,
    )
