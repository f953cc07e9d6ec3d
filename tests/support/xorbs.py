"""Small real xorbs, and files made of their chunks, for tests of the store."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from moongate.core.digests import Etag
from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange, union
from moongate.xet.hashes import Leaf, XetHash, chunk_hash, file_hash, hash_hex, xorb_hash
from moongate.xet.reconstruction import Term
from moongate.xet.xorb import XorbLayout, encode_chunk, layout_of, read_headers


@dataclass(frozen=True)
class Xorb:
    """A xorb with the raw bytes of its chunks."""

    hash: XetHash
    data: bytes
    raw: tuple[bytes, ...]
    leaves: tuple[Leaf, ...]
    layout: XorbLayout

    def span(self, first: int, end: int) -> ByteSpan:
        return self.layout.span(first, end)

    def bytes_of(self, first: int, end: int) -> bytes:
        span = self.span(first, end)
        return self.data[span.start : span.end]


def make_xorb(seed: int, chunks: int = 8, most_bytes: int = 300) -> Xorb:
    """A xorb of so many small chunks; some compress, some do not."""
    dice = random.Random(seed)
    raw = tuple(
        dice.randbytes(dice.randint(1, most_bytes)) if dice.random() < 0.5 else b"%d" % seed * 40
        for _ in range(chunks)
    )
    data = b"".join(encode_chunk(one) for one in raw)
    leaves = tuple((chunk_hash(one), len(one)) for one in raw)
    return Xorb(xorb_hash(leaves), data, raw, leaves, layout_of(read_headers(memoryview(data))))


def sha256(content: bytes) -> Etag:
    return Etag(hashlib.sha256(content).hexdigest())


def contents(xorbs: Sequence[Xorb], parts: Sequence[tuple[int, int, int]]) -> bytes:
    """What a file of these parts (number of the xorb, first chunk, end) contains."""
    return b"".join(b"".join(xorbs[number].raw[first:end]) for number, first, end in parts)


@dataclass(frozen=True)
class XetContent:
    """A file in Xet: what it contains, and what a CAS would tell of it."""

    file_id: str
    etag: Etag
    content: bytes
    terms: tuple[Term, ...]
    needs: dict[XetHash, list[ChunkRange]]


def xet_content(xorbs: Sequence[Xorb], parts: Sequence[tuple[int, int, int]]) -> XetContent:
    """The file of these parts; it needs the chunks of its terms and no others."""
    leaves = [leaf for number, first, end in parts for leaf in xorbs[number].leaves[first:end]]
    needs: dict[XetHash, list[ChunkRange]] = {}
    for number, first, end in parts:
        xorb = xorbs[number]
        needs.setdefault(xorb.hash, []).append(ChunkRange(first, end, xorb.span(first, end)))
    content = contents(xorbs, parts)
    return XetContent(
        file_id=hash_hex(file_hash(leaves)),
        etag=sha256(content),
        content=content,
        terms=tuple(
            Term(xorbs[number].hash, xorbs[number].layout.raw_bytes(first, end), first, end)
            for number, first, end in parts
        ),
        needs={xorb: union(ranges) for xorb, ranges in needs.items()},
    )
