"""Content that is read by span: the whole of a file, a part of it, or bytes at hand; and a cursor over it.

The readers of untrusted formats stand on this. Nothing here believes a length: a read past the end is short
in `Ranged.read` and `Ended` in `Cursor.take`, and a cursor never holds more than its window and one request.
"""

from __future__ import annotations

from typing import Final, Protocol

from moongate.core.spans import ByteSpan

WINDOW_BYTES: Final = 64 << 10


class Ended(Exception):
    """More was wanted than there is; carries where it ran out."""

    def __init__(self, at: int) -> None:
        super().__init__(f"ended at {at}")
        self.at = at


class Ranged(Protocol):
    """Bytes of a known size, readable anywhere, as often as wanted."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, span: ByteSpan) -> bytes:
        """The bytes of `span`, fewer where the content ends before it."""
        ...


class Held:
    """Bytes in memory as `Ranged`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def read(self, span: ByteSpan) -> bytes:
        return self._data[span.start : span.end]


class Part:
    """A span of other content, counted from zero; a span that leaves the content is cut to it."""

    def __init__(self, whole: Ranged, span: ByteSpan) -> None:
        end = min(span.end, whole.size_bytes)
        self._whole = whole
        self._span = ByteSpan(min(span.start, end), end)

    @property
    def size_bytes(self) -> int:
        return self._span.length

    def read(self, span: ByteSpan) -> bytes:
        start = min(self._span.start + span.start, self._span.end)
        return self._whole.read(ByteSpan(start, max(start, min(self._span.start + span.end, self._span.end))))


class Cursor:
    """Reads content forwards through a small window; what is stepped over is not read."""

    def __init__(self, content: Ranged, at: int = 0, window_bytes: int = WINDOW_BYTES) -> None:
        self._content = content
        self._window_bytes = window_bytes
        self._data = b""
        self._base = at
        self._next = 0

    @property
    def at(self) -> int:
        return self._base + self._next

    @property
    def left(self) -> int:
        return max(0, self._content.size_bytes - self.at)

    def peek(self, length: int) -> bytes:
        """The next bytes, fewer where the content ends."""
        if len(self._data) - self._next < length:
            self._fill(length)
        return self._data[self._next : self._next + length]

    def take(self, length: int) -> bytes:
        """The next bytes, and past them.

        Raises:
            Ended: there are not as many.
        """
        end = self._next + length
        if end > len(self._data):
            self._fill(length)
            end = self._next + length
            if end > len(self._data):
                raise Ended(self.at)
        taken = self._data[self._next : end]
        self._next = end
        return taken

    def step(self, length: int) -> None:
        """Past bytes that nobody looks at.

        Raises:
            Ended: there are not as many.
        """
        if length > self.left:
            raise Ended(self.at)
        self._next += length
        if self._next > len(self._data):
            self.go(self.at)

    def line(self, longest: int) -> bytes:
        """The bytes up to a newline, and past it.

        Raises:
            Ended: no newline within `longest` bytes.
        """
        found = self._data.find(b"\n", self._next)
        if found < 0 or found - self._next > longest:
            found = self.peek(longest + 1).find(b"\n")
            if found < 0:
                raise Ended(self.at)
            found += self._next
        taken = self._data[self._next : found]
        self._next = found + 1
        return taken

    def go(self, at: int) -> None:
        """To any place."""
        if self._base <= at <= self._base + len(self._data):
            self._next = at - self._base
        else:
            self._data, self._base, self._next = b"", at, 0

    def window(self) -> tuple[bytes, int]:
        """What is at hand, and where in it the cursor stands; for whoever looks for patterns."""
        if self._next >= len(self._data):
            self._fill(1)
        return self._data, self._next

    def _fill(self, length: int) -> None:
        kept = self._data[self._next :]
        start = self.at + len(kept)
        more = self._content.read(ByteSpan(start, start + max(length - len(kept), self._window_bytes)))
        self._data, self._base, self._next = kept + more, self.at, 0
