"""A pipe through which the kernel moves bytes from a socket to a file, without a copy in our memory."""

from __future__ import annotations

import contextlib
import fcntl
import os

_PIPE_BYTES = 1 << 20


class Pipe:
    """One worker's pipe. Linux only: where there is no `splice`, do not make one."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a smaller pipe moves less at a time, and works
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def take(self, sock_fd: int, count: int) -> int:
        """Bytes that came from the socket, at most `count`; 0 at its end.

        Raises:
            BlockingIOError: nothing came within the socket's own time limit.
            OSError: the connection broke.
        """
        return os.splice(sock_fd, self._in, min(count, _PIPE_BYTES))

    def give(self, fd: int, position: int, count: int) -> None:
        """Move what was taken to a position of a file.

        Raises:
            OSError: the file takes no more. What is left in the pipe is lost: close it.
        """
        while count:
            moved = os.splice(self._out, fd, count, offset_dst=position)
            position += moved
            count -= moved

    def close(self) -> None:
        """May be called twice."""
        if self._in >= 0:
            os.close(self._out)
            os.close(self._in)
            self._in = -1


def can_splice() -> bool:
    return hasattr(os, "splice")
