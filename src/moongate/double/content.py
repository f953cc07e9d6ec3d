"""What a file's bytes are made of: memory for small ones, a path on disk for large ones.

A large file is never read whole into memory; its sha256 is computed once, or believed when given (which is
how a test declares a file whose bytes do not match its name).
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK_BYTES = 1 << 20
_MARK_EVERY_BYTES = 1 << 12


@dataclass(frozen=True, slots=True)
class MemoryContent:
    """Bytes held in memory."""

    data: bytes = field(repr=False)

    @property
    def size_bytes(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class DiskContent:
    """Bytes that stay in a file on disk."""

    path: Path
    size_bytes: int


Content = MemoryContent | DiskContent


def content_of(source: bytes | str | Path) -> Content:
    """Bytes stay in memory; a `str` or `Path` names a file on disk."""
    if isinstance(source, bytes):
        return MemoryContent(source)
    path = Path(source)
    return DiskContent(path, path.stat().st_size)


class LfsFile:
    """A file kept in LFS: bytes, or the path of a file on disk.

    `sha256` and `xet_hash` (64 hex each) are believed when given; else the first is computed, and the second
    is the file's true id in Xet, found when it is first asked for.
    """

    __slots__ = ("content", "sha256", "xet_hash")

    def __init__(
        self, source: bytes | str | Path, *, sha256: str | None = None, xet_hash: str | None = None
    ) -> None:
        self.content = content_of(source)
        self.sha256 = sha256 or sha256_of(self.content)
        self.xet_hash = xet_hash


def sha256_of(content: Content) -> str:
    """The sha256 of content, 64 hex; disk content is streamed."""
    if isinstance(content, MemoryContent):
        return hashlib.sha256(content.data).hexdigest()
    with content.path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def big_file(path: str | Path, size_bytes: int, seed: int = 0) -> LfsFile:
    """Write a deterministic, incompressible file of this size and give it as an LFS file, hashed on the way.

    Every 4 KiB page is unlike every other, so a byte served from the wrong place is noticed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    block = bytearray(random.Random(seed).randbytes(_BLOCK_BYTES))
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for start in range(0, size_bytes, _BLOCK_BYTES):
            for mark in range(0, _BLOCK_BYTES, _MARK_EVERY_BYTES):
                block[mark : mark + 8] = (start + mark).to_bytes(8, "little")
            piece = memoryview(block)[: min(_BLOCK_BYTES, size_bytes - start)]
            digest.update(piece)
            stream.write(piece)
            piece.release()
    return LfsFile(path, sha256=digest.hexdigest())
