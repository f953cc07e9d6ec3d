"""`Lead`: the right to fetch one segment, and the way its bytes come in.

One process has it at a time; it dies with the process. What was appended stays, and the next leader goes on
behind it.
"""

from __future__ import annotations

import os
from typing import Protocol

from moongate.core.errors import StoreFull
from moongate.store.segments.folder import drop_if_empty, locked, try_flock, unlink
from moongate.store.segments.segment import LEAD_SUFFIX, Segment


class Movable(Protocol):
    """Bytes that the kernel can move to a file, past our memory."""

    def move(self, fd: int, count: int, base: int) -> int:
        """Move at most `count` bytes to where they belong in a file that begins at `base`; how many.

        Raises:
            OSError: the file takes no more.
        """


class Lead:
    """Appends to one segment. Close it, also after an error; one thread at a time."""

    def __init__(self, segment: Segment, folder: str, fd: int, lead_fd: int, position: int) -> None:
        self.segment = segment
        self.position = position
        """Bytes that are here: what comes next belongs at `segment.span.start + position` of the xorb."""
        self._folder = folder
        self._fd = fd
        self._lead_fd = lead_fd

    @property
    def remaining(self) -> int:
        """Bytes that are still to come."""
        return self.segment.length - self.position

    def append(self, data: bytes | memoryview) -> None:
        """Keep the next bytes; readers see them at once.

        Raises:
            ValueError: more than what remains.
            StoreFull: the disk has no room. What was kept before stays.
        """
        view = memoryview(data)
        if len(view) > self.remaining:
            raise ValueError(f"{len(view)} bytes for the last {self.remaining} of a segment")
        try:
            while view:
                written = os.pwrite(self._fd, view, self.position)
                self.position += written
                view = view[written:]
        except OSError as error:
            raise StoreFull(f"the disk took no more bytes: {error.strerror}") from error

    def move(self, body: Movable) -> int:
        """Keep the next bytes of a body that stands where these end; how many, or 0: they must be read.

        Raises:
            StoreFull: as `append`; and what the body raises.
        """
        try:
            count = body.move(self._fd, self.remaining, self.segment.span.start)
        except OSError as error:
            raise StoreFull(f"the disk took no more bytes: {error.strerror}") from error
        self.position += count
        return count

    def discard(self) -> None:
        """Keep nothing of it: its bytes are known to be wrong. The lead ends."""
        self._end(keep=False)

    def close(self, *, durable: bool = True) -> None:
        """Give up the lead; a complete segment is made durable first, if `durable`. May be called twice.

        Raises:
            StoreFull: it could not be made durable.
        """
        if self._fd < 0:
            return
        try:
            if durable and not self.remaining:
                os.fsync(self._fd)
        except OSError as error:
            raise StoreFull(f"cannot keep a segment: {error.strerror}") from error
        finally:
            self._end(keep=self.position > 0)

    def _end(self, *, keep: bool) -> None:
        if self._fd < 0:
            return
        with locked(self._folder) as there:
            if there:
                if not keep:
                    unlink(self.segment.path)
                unlink(self.segment.path + LEAD_SUFFIX)
                drop_if_empty(self._folder)
            for fd in (self._fd, self._lead_fd):
                os.close(fd)
            self._fd = self._lead_fd = -1


def begin(segment: Segment, folder: str) -> Lead | None:
    """Lead this segment, with the folder's lock held; None when somebody does, or when it is complete.

    Raises:
        StoreFull: its file cannot be made.
    """
    try:
        lead_fd = os.open(segment.path + LEAD_SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreFull(f"cannot begin a segment: {error.strerror}") from error
    if not try_flock(lead_fd):
        os.close(lead_fd)
        return None
    try:
        fd = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        position = os.fstat(fd).st_size
        if position > segment.length:  # nobody wrote that; nothing of it is believed
            os.ftruncate(fd, 0)
            position = 0
    except OSError as error:
        os.close(lead_fd)
        raise StoreFull(f"cannot begin a segment: {error.strerror}") from error
    if position == segment.length:
        os.close(fd)
        os.close(lead_fd)
        unlink(segment.path + LEAD_SUFFIX)
        return None
    return Lead(segment, folder, fd, lead_fd, position)
