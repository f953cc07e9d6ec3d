"""Content as the file object that other scanners want."""

from __future__ import annotations

import io

from moongate.core.spans import ByteSpan
from moongate.weights.ranged import Ranged


class Stream(io.RawIOBase):
    """Reads content from wherever it is sought to."""

    def __init__(self, content: Ranged) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._content.read(ByteSpan(self._at, self._at + len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def opened(content: Ranged) -> io.BufferedReader:
    return io.BufferedReader(Stream(content))
