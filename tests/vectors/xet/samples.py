"""The inputs of the vectors: small enough to make anew each time."""

from __future__ import annotations

import numpy as np

from moongate.xet.chunker import chunk_lengths
from moongate.xet.hashes import Leaf, chunk_hash

HELLO = b"Hello, World!\n"


def random_megabyte() -> bytes:
    """1 000 000 bytes of splitmix64 from seed 0, values written little-endian."""
    with np.errstate(over="ignore"):
        state = np.arange(1, 125_001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))).astype("<u8").tobytes()


def chunks_of(data: bytes) -> list[bytes]:
    """A file's chunks."""
    chunks, at = [], 0
    for length in chunk_lengths(data):
        chunks.append(data[at : at + length])
        at += length
    return chunks


def leaves_of(data: bytes) -> list[Leaf]:
    """The hash and length of each of a file's chunks."""
    return [(chunk_hash(chunk), len(chunk)) for chunk in chunks_of(data)]
