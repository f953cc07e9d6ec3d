"""`Incoming`: bytes that a client sends, in a temporary file until somebody knows what they are.

Nobody else sees the file. It goes when it is closed; a crash leaves it to `keeping.collect`.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from moongate.core.errors import StoreFull
from moongate.store.layout import Layout
from moongate.xet.decoding import decode_chunk
from moongate.xet.hashes import Leaf, XetHash, chunk_hash, xorb_hash
from moongate.xet.xorb import (
    MAX_STORED_BYTES,
    MAX_XORB_BYTES,
    MAX_XORB_CHUNKS,
    BadXorb,
    begins_footer,
    whole_chunks,
)

_READ_BYTES = 1 << 20


class Incoming:
    """Grows at its end. Close it; one thread at a time."""

    def __init__(self, layout: Layout) -> None:
        """Makes the file.

        Raises:
            StoreFull: it cannot be made.
        """
        self.path = str(layout.temporary(f"incoming.{uuid.uuid4().hex}"))
        self.size_bytes = 0
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFull(f"cannot keep what is sent: {error.strerror}") from error

    def append(self, data: bytes | memoryview) -> None:
        """Keep the next bytes.

        Raises:
            StoreFull: the disk has no room for them.
        """
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._fd, view)
                self.size_bytes += written
                view = view[written:]
        except OSError as error:
            raise StoreFull(f"the disk took no more bytes: {error.strerror}") from error

    def read(self, position: int, count: int) -> bytes:
        """The bytes there; fewer at the end."""
        return os.pread(self._fd, count, position)

    def shorten(self, size_bytes: int) -> None:
        """Drop what follows."""
        os.ftruncate(self._fd, size_bytes)
        self.size_bytes = size_bytes

    def close(self) -> None:
        """Drop the file, unless it was moved. May be called twice."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        try:
            os.unlink(self.path)  # noqa: PTH108 - paths of the store are text
        except FileNotFoundError:
            return


@dataclass(frozen=True, slots=True)
class WholeXorb:
    """What a whole xorb turned out to be: its hash, its chunks, and where each ends in its bytes."""

    hash: XetHash
    leaves: tuple[Leaf, ...]
    ends: tuple[int, ...]


def read_xorb(incoming: Incoming) -> WholeXorb:
    """The xorb that was sent, every chunk of it decoded and hashed; a footer behind them is left out.

    Raises:
        BadXorb: the bytes are no xorb, or more than a xorb may have.
    """
    leaves: list[Leaf] = []
    ends: list[int] = []
    at = raw_bytes = 0
    while at < incoming.size_bytes:
        data = memoryview(incoming.read(at, _READ_BYTES))
        if begins_footer(data):
            break
        chunks = whole_chunks(data)
        if not chunks:
            raise BadXorb(f"a chunk at byte {at} goes beyond the end of its xorb")
        for chunk in chunks:
            raw = decode_chunk(data, chunk)
            leaves.append((chunk_hash(raw), len(raw)))
            ends.append(at + chunk.end)
            raw_bytes += len(raw)
        at = ends[-1]
        if len(leaves) > MAX_XORB_CHUNKS or raw_bytes > MAX_XORB_BYTES or at > MAX_STORED_BYTES:
            raise BadXorb("a xorb of more than 64 MiB or 8192 chunks")
    if not leaves:
        raise BadXorb("a xorb without chunks")
    return WholeXorb(xorb_hash(leaves), tuple(leaves), tuple(ends))
