"""The xorbs of a double: bytes on disk, their chunks known to all of its repositories.

    {state_dir}/xet/xorbs/{xorb hash}       chunks back to back, without a footer

A chunk that any repository has is found here, so that the next file which has it too refers to it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moongate.double.content import DiskContent
from moongate.xet.decoding import decode_chunk
from moongate.xet.hashes import Leaf, XetHash, hash_hex
from moongate.xet.xorb import XorbLayout, read_headers


@dataclass(frozen=True, slots=True)
class StoredXorb:
    """A xorb as it is kept: its bytes, its chunks in order (hash and raw length), and where they lie."""

    hash: XetHash
    content: DiskContent
    leaves: tuple[Leaf, ...]
    layout: XorbLayout

    def raw(self, first: int, end: int) -> bytes:
        """The raw bytes of chunks `first` up to `end`."""
        span = self.layout.span(first, end)
        with self.content.path.open("rb") as stream:
            stream.seek(span.start)
            data = memoryview(stream.read(span.length))
        return b"".join(decode_chunk(data, chunk) for chunk in read_headers(data))


class Xorbs:
    """All xorbs by hash, and all chunks by theirs. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._xorbs: dict[XetHash, StoredXorb] = {}
        self._chunks: dict[XetHash, tuple[XetHash, int]] = {}

    def add(
        self, xorb: XetHash, data: bytes | bytearray | memoryview, leaves: Sequence[Leaf], layout: XorbLayout
    ) -> bool:
        """Keep a xorb whose hash is known to be right; False when it was there already."""
        with self._lock:
            if xorb in self._xorbs:
                return False
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / hash_hex(xorb)
            partial = path.with_suffix(".partial")
            partial.write_bytes(data)
            partial.replace(path)
            self._xorbs[xorb] = StoredXorb(xorb, DiskContent(path, len(data)), tuple(leaves), layout)
            for index, (chunk, _) in enumerate(leaves):
                self._chunks.setdefault(chunk, (xorb, index))
            return True

    def get(self, xorb: XetHash) -> StoredXorb | None:
        """The xorb of this hash; None when it is not here."""
        return self._xorbs.get(xorb)

    def where(self, chunk: XetHash) -> tuple[XetHash, int] | None:
        """The xorb that has a chunk, and the chunk's place in it; None when no xorb has it."""
        return self._chunks.get(chunk)

    def __iter__(self) -> Iterator[StoredXorb]:
        return iter(list(self._xorbs.values()))
