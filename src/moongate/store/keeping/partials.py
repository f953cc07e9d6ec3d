"""Partial files, seen from outside: how much they take, and removing those that nobody has open.

Whoever fills or reads a partial holds a shared lock on its data; opening, sealing and discarding happen under
its lock file. Removal takes both locks without waiting, or leaves the partial alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from moongate.core.digests import Etag
from moongate.store.layout import LOCK_SUFFIX, TEMPORARY_SUFFIX, Layout

_BLOCK_BYTES = 512  # st_blocks counts these, whatever the filesystem's own


@dataclass(frozen=True, slots=True)
class PartialFile:
    """A partial on disk. It is sparse: `stored_bytes` is what it takes, not how long it will be."""

    etag: Etag
    stored_bytes: int
    changed_at: float


def partial_files(layout: Layout) -> list[PartialFile]:
    """Every partial, the one that changed longest ago first."""
    found: dict[Etag, PartialFile] = {}
    for path, status in _entries(layout):
        etag = layout.etag_of(path)
        if etag is None:
            continue
        before = found.get(etag, PartialFile(etag, 0, 0.0))
        changed_at = 0.0 if path.suffix == LOCK_SUFFIX else status.st_mtime  # who looks takes the lock
        found[etag] = PartialFile(
            etag,
            before.stored_bytes + status.st_blocks * _BLOCK_BYTES,
            max(before.changed_at, changed_at),
        )
    return sorted(found.values(), key=lambda partial: (partial.changed_at, partial.etag))


def temporary_files(layout: Layout) -> Iterator[tuple[Path, os.stat_result]]:
    """What writers that died left behind, and what living ones are writing."""
    return ((path, status) for path, status in _entries(layout) if path.suffix == TEMPORARY_SUFFIX)


def drop_partial(layout: Layout, etag: Etag) -> int | None:
    """Remove a partial that nobody has open; the bytes it took, or None when it was left alone."""
    lock_path, data_path = layout.partial_lock(etag), layout.partial_data(etag)
    with ExitStack() as held:
        lock_fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held.callback(os.close, lock_fd)
        if not _try_lock(lock_fd) or os.fstat(lock_fd).st_nlink == 0:
            return None
        stored_bytes = 0
        try:
            data_fd = os.open(data_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        else:
            held.callback(os.close, data_fd)
            if not _try_lock(data_fd):
                return None
            stored_bytes = os.fstat(data_fd).st_blocks * _BLOCK_BYTES
        data_path.unlink(missing_ok=True)
        layout.partial_map(etag).unlink(missing_ok=True)
        lock_path.unlink(missing_ok=True)
        return stored_bytes


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entries(layout: Layout) -> Iterator[tuple[Path, os.stat_result]]:
    for path in layout.partial_dir.iterdir():
        try:
            yield path, path.stat()
        except FileNotFoundError:
            continue
