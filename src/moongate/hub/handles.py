"""Descriptors of sealed content that is being read, shared by the readers of one process.

What many small ranges are asked of is opened once in `_LIFETIME_SECONDS`, not once a range. That is
short because an open descriptor keeps eviction off the file, and a removed file's bytes on the disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_LIFETIME_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Handle:
    """An open sealed file. Give it back with `release`, once for each `acquire`."""

    fd: int
    size_bytes: int
    users: int = 0
    retired: bool = False

    def again(self) -> bool:
        """One more user of what is open, as `acquire` would give it; False: ask that one."""
        if self.retired:
            return False
        self.users += 1
        return True

    def release(self) -> None:
        self.users -= 1
        if self.retired:
            self.close_if_unused()

    def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            os.close(self.fd)


class Handles(Generic[Key]):
    """The open sealed files of one process, by what names them. For one event loop; not thread-safe."""

    def __init__(self, opened: Callable[[Key], int | None]) -> None:
        """opened: a descriptor of this content, which is closed here; None when it is not here."""
        self._opened = opened
        self._open: dict[Key, Handle] = {}

    def acquire(self, key: Key) -> Handle | None:
        """An open descriptor of this content; None when it is not here."""
        handle = self._open.get(key)
        if handle is None:
            fd = self._opened(key)
            if fd is None:
                return None
            handle = self._open[key] = Handle(fd, os.fstat(fd).st_size)
            asyncio.get_running_loop().call_later(_LIFETIME_SECONDS, self._retire, key, handle)
        handle.users += 1
        return handle

    def __contains__(self, key: Key) -> bool:
        return key in self._open

    def close(self) -> None:
        """Let go of everything that nobody reads; the rest closes with its last reader."""
        for key, handle in list(self._open.items()):
            self._retire(key, handle)

    def _retire(self, key: Key, handle: Handle) -> None:
        if handle.retired:
            return
        handle.retired = True
        del self._open[key]
        handle.close_if_unused()
