"""A number that all processes of a home share: whoever changes what others remember raises it.

It stands in a small file that every process maps, so that looking costs no call and no lock. It only ever
tells that something changed; nothing is lost when two changes at once raise it by one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from pathlib import Path

from moongate.core.errors import StoreError

_NUMBER = struct.Struct("<Q")


class Serial:
    """The number in a file, which is made when there is none. For any thread."""

    def __init__(self, path: Path) -> None:
        """Raises:
        StoreError: the file cannot be made or mapped.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if os.fstat(self._fd).st_size < _NUMBER.size:
                os.ftruncate(self._fd, _NUMBER.size)
            self._map = mmap.mmap(self._fd, _NUMBER.size)
        except OSError as error:
            raise StoreError(f"cannot keep a number in {path}: {error.strerror}") from error

    @property
    def value(self) -> int:
        number: int = _NUMBER.unpack_from(self._map)[0]
        return number

    def raise_it(self) -> None:
        """Something changed that others may remember."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            _NUMBER.pack_into(self._map, 0, self.value + 1)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """May be called twice."""
        if self._fd >= 0:
            self._map.close()
            os.close(self._fd)
            self._fd = -1
