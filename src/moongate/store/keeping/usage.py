"""Who holds how much of the store."""

from __future__ import annotations

import os
from dataclasses import dataclass

from moongate.store.index import Index, RepoUsage
from moongate.store.keeping.partials import partial_files
from moongate.store.layout import Layout
from moongate.store.segments import Segments


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """The store as a whole and by repository.

    unlisted_bytes: sealed or in segments, and in no repository's listing. free_bytes: what its disk has left.
    quota_bytes: zero when there is none. xet_files: how many are verified. xorb_bytes: what segments take.
    logical_bytes: what all repositories hold, each for itself.
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
    xet_files: int = 0
    xorb_bytes: int = 0

    @property
    def logical_bytes(self) -> int:
        return sum(repo.logical_bytes for repo in self.repos)

    @property
    def stored_bytes(self) -> int:
        """What blobs and segments take on disk."""
        return self.blob_bytes + self.xorb_bytes

    @property
    def saved_bytes(self) -> int:
        """What keeping equal contents and equal chunks once saves; negative when hot files are kept twice."""
        return self.logical_bytes - (self.stored_bytes - self.unlisted_bytes)


def usage(layout: Layout, segments: Segments, index: Index, quota_bytes: int = 0) -> StoreUsage:
    """Count it. Walks every listing, the segments and the partial files."""
    xorb_bytes = segments.stored_bytes()
    partials = partial_files(layout)
    quarantined = [path.stat().st_size for path in layout.quarantine_dir.iterdir() if path.suffix != ".json"]
    disk = os.statvfs(layout.root)
    return StoreUsage(
        repos=tuple(index.usage_by_repo()),
        blobs=index.blob_count(),
        blob_bytes=index.total_bytes(),
        unlisted_bytes=index.unlisted_bytes() + max(0, xorb_bytes - index.listed_chunk_bytes()),
        partials=len(partials),
        partial_bytes=sum(partial.stored_bytes for partial in partials),
        quarantined=len(quarantined),
        quarantine_bytes=sum(quarantined),
        free_bytes=disk.f_bavail * disk.f_frsize,
        quota_bytes=quota_bytes,
        xet_files=index.xet_file_count(),
        xorb_bytes=xorb_bytes,
    )
