"""Packing a file for Xet: cut into chunks, each kept once, new ones packed in xorbs, the file told as terms.

Content is streamed: what is held in memory is one xorb that grows, whatever the file's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from moongate.double.content import Content, MemoryContent
from moongate.double.xorbs import Xorbs
from moongate.xet.chunker import Chunker
from moongate.xet.hashes import Leaf, XetHash, chunk_hash, file_hash, xorb_hash
from moongate.xet.reconstruction import Term
from moongate.xet.xorb import MAX_XORB_BYTES, MAX_XORB_CHUNKS, Compression, XorbLayout, encode_chunk

_BLOCK_BYTES = 8 << 20


@dataclass(slots=True)
class _Growing:
    """A xorb that is not full yet; its hash is known when it is closed."""

    data: bytearray = field(default_factory=bytearray)
    leaves: list[Leaf] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    raw_bytes: int = 0
    hash: XetHash | None = None

    def fits(self, stored_bytes: int, raw_bytes: int) -> bool:
        return (
            len(self.leaves) < MAX_XORB_CHUNKS
            and len(self.data) + stored_bytes <= MAX_XORB_BYTES
            and self.raw_bytes + raw_bytes <= MAX_XORB_BYTES
        )

    def add(self, leaf: Leaf, stored: bytes) -> int:
        self.data += stored
        self.leaves.append(leaf)
        self.ends.append(len(self.data))
        self.raw_bytes += leaf[1]
        return len(self.leaves) - 1


_Place = tuple[XetHash | _Growing, int, int]  # the xorb, the chunk's place in it, its raw length


class Packer:
    """Packs one file."""

    def __init__(self, xorbs: Xorbs, compression: Compression) -> None:
        self._xorbs = xorbs
        self._compression = compression
        self._leaves: list[Leaf] = []
        self._places: list[_Place] = []
        self._own: dict[XetHash, tuple[_Growing, int]] = {}
        self._open = _Growing()

    def pack(self, content: Content) -> tuple[XetHash, tuple[Term, ...]]:
        """The file's id and its terms; its new chunks are in xorbs now."""
        for chunk in _chunks(content):
            self._take(chunk)
        self._close()
        return file_hash(self._leaves), tuple(self._terms())

    def _take(self, raw: bytes) -> None:
        leaf = chunk_hash(raw), len(raw)
        self._leaves.append(leaf)
        known: tuple[XetHash | _Growing, int] | None = self._xorbs.where(leaf[0]) or self._own.get(leaf[0])
        if known is None:
            stored = encode_chunk(raw, self._compression)
            if not self._open.fits(len(stored), len(raw)):
                self._close()
            known = self._own[leaf[0]] = self._open, self._open.add(leaf, stored)
        self._places.append((*known, len(raw)))

    def _close(self) -> None:
        full, self._open = self._open, _Growing()
        if full.leaves:
            full.hash = xorb_hash(full.leaves)
            layout = XorbLayout(tuple(full.ends), tuple(accumulate(length for _, length in full.leaves)))
            self._xorbs.add(full.hash, full.data, full.leaves, layout)
            full.data = bytearray()

    def _terms(self) -> Iterator[Term]:
        current: Term | None = None
        for place, index, length in self._places:
            xorb = place.hash if isinstance(place, _Growing) else place
            if xorb is None:
                raise RuntimeError("a xorb was left open")
            if current is not None and (current.xorb, current.end) == (xorb, index):
                unpacked_bytes = current.unpacked_bytes + length
                if unpacked_bytes <= MAX_XORB_BYTES:
                    current = Term(xorb, unpacked_bytes, current.start, index + 1)
                    continue
            if current is not None:
                yield current
            current = Term(xorb, length, index, index + 1)
        if current is not None:
            yield current


def _chunks(content: Content) -> Iterator[bytes]:
    chunker, pending = Chunker(), bytearray()
    for block in _blocks(content):
        pending += block
        yield from _take(pending, chunker.feed(block))
    yield from _take(pending, chunker.finish())


def _take(pending: bytearray, lengths: list[int]) -> Iterator[bytes]:
    start = 0
    for length in lengths:
        yield bytes(pending[start : start + length])
        start += length
    del pending[:start]


def _blocks(content: Content) -> Iterator[bytes]:
    if isinstance(content, MemoryContent):
        for start in range(0, content.size_bytes, _BLOCK_BYTES):
            yield content.data[start : start + _BLOCK_BYTES]
        return
    with content.path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block
