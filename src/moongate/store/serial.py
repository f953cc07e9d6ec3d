"""A number that all processes of a home share: whoever changes what others remember raises it.

It stands in a small file that every process maps, so that looking costs no call and no lock. It only ever
tells that something changed; nothing is lost when two changes at once raise it by one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from moongate.core.errors import StoreError

_NUMBER_BYTES = 8


class Serial:
    """The number in a file, which is made when there is none. For any thread."""

    def __init__(self, path: Path) -> None:
        """Raises:
        StoreError: the file cannot be made or mapped.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._fd).st_size < _NUMBER_BYTES:
                os.ftruncate(self._fd, _NUMBER_BYTES)
            self._map = mmap.mmap(self._fd, _NUMBER_BYTES)
            self._number = memoryview(self._map).cast("Q")
            self.look: Callable[[], int] = partial(self._number.__getitem__, 0)
            """The number now, as cheaply as can be."""
        except OSError as error:
            raise StoreError(f"cannot keep a number in {path}: {error.strerror}") from error

    @property
    def value(self) -> int:
        return self.look()

    def raise_it(self) -> None:
        """Something changed that others may remember."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            self._number[0] += 1
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """May be called twice."""
        if self._fd >= 0:
            self._number.release()
            self._map.close()
            os.close(self._fd)
            self._fd = -1
