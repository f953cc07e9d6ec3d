"""What a fill draws from: anything that gives spans of a file's bytes to worker threads.

`upstream.ranged.FileSource` is one; `hub.xet_source.XetSource` is another.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from moongate.core.spans import ByteSpan


class ByteBody(Protocol):
    """The bytes of one span, from `position` on. Read until `remaining` is 0, then `finish`."""

    position: int
    remaining: int

    def readinto(self, buffer: memoryview) -> int:
        """At least one byte, as soon as there is one; at most `remaining`.

        Raises:
            UpstreamError: the bytes stopped coming. What was read stands; ask for the rest.
        """

    def finish(self) -> None:
        """Done with this body, also before its end."""


@runtime_checkable
class MovableBody(ByteBody, Protocol):
    """A body whose bytes the kernel can move to a file, past our memory."""

    def move(self, fd: int, count: int) -> int:
        """Move at most `count` bytes to the same position of a file; how many, or 0: these must be read.

        Raises:
            UpstreamError: the bytes stopped coming.
            OSError: the file takes no more.
        """


class ByteConnection(Protocol):
    """One worker's way to the bytes. Not thread-safe but for `abort`."""

    def open(self, span: ByteSpan) -> ByteBody:
        """The bytes of this span; a body may begin before it, and then its start must be skipped."""

    def close(self) -> None:
        """Close everything. May be called twice."""

    def abort(self) -> None:
        """Called by another thread: a read that is under way ends with an error, and no new one begins."""


class ByteSource(Protocol):
    """One file; shared by the worker threads of a fill."""

    @property
    def size_bytes(self) -> int: ...

    def connect(self) -> ByteConnection:
        """A fresh connection for one worker thread. Opens nothing yet."""
