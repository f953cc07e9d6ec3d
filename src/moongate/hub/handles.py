"""Descriptors of sealed content that is being read, shared by the readers of one process.

A file that many small ranges are asked of is opened once in `_LIFETIME_SECONDS`, not once a range. That is
short because an open descriptor keeps eviction off the file, and a removed file's bytes on the disk.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from moongate.core.digests import Etag
from moongate.store.blobs import Blobs

_LIFETIME_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Handle:
    """An open sealed file. Give it back with `release`, once for each `acquire`."""

    fd: int
    size_bytes: int
    users: int = 0
    retired: bool = False

    def release(self) -> None:
        self.users -= 1
        self.close_if_unused()

    def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            os.close(self.fd)


class Handles:
    """The open sealed files of one process. For one event loop; not thread-safe."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._open: dict[Etag, Handle] = {}

    def acquire(self, etag: Etag) -> Handle | None:
        """An open descriptor of this content; None when it is not here."""
        handle = self._open.get(etag)
        if handle is None:
            fd = self._blobs.open(etag)
            if fd is None:
                return None
            handle = self._open[etag] = Handle(fd, os.fstat(fd).st_size)
            asyncio.get_running_loop().call_later(_LIFETIME_SECONDS, self._retire, etag, handle)
        handle.users += 1
        return handle

    def __contains__(self, etag: Etag) -> bool:
        return etag in self._open

    def close(self) -> None:
        """Let go of everything that nobody reads; the rest closes with its last reader."""
        for etag, handle in list(self._open.items()):
            self._retire(etag, handle)

    def _retire(self, etag: Etag, handle: Handle) -> None:
        if handle.retired:
            return
        handle.retired = True
        del self._open[etag]
        handle.close_if_unused()
