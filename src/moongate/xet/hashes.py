"""Xet's hashes: chunk, node, xorb, file and term, and the odd way in which they are spelled.

Rules of this file:
- A `XetHash` is 32 raw bytes. Its *hex string* reverses the bytes in each group of eight; that string goes
  into URLs, JSON, headers and node lines. Every other input takes raw bytes.
- A tree's node has 3 to 9 children, but for a tail of 1 or 2; a child whose hash is 0 modulo 4 ends a group.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from typing import NewType

from blake3 import blake3

from moongate.core.errors import BadName

XetHash = NewType("XetHash", bytes)
"""32 raw bytes: the hash of a chunk, a xorb, a file or a range of chunks."""

Leaf = tuple[XetHash, int]
"""A chunk or a node: its hash, and the number of raw bytes below it."""

ZERO = XetHash(bytes(32))

_DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_TERM_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_MOST_CHILDREN = 9
_HEX = re.compile(r"[0-9a-f]{64}")
_FOUR = struct.Struct("<4Q")


def chunk_hash(data: bytes | memoryview) -> XetHash:
    """The hash of one chunk's raw bytes."""
    return XetHash(blake3(data, key=_DATA_KEY).digest())


def xorb_hash(chunks: Sequence[Leaf]) -> XetHash:
    """The hash of a xorb: the root over its chunks; zeros when it has none."""
    return _root(chunks)


def file_hash(chunks: Sequence[Leaf]) -> XetHash:
    """The hash of a file, its Xet id: over all its chunks in order, whatever xorbs they lie in."""
    if not chunks:
        return ZERO
    return XetHash(blake3(_root(chunks), key=bytes(32)).digest())


class FileHasher:
    """`file_hash` of chunks that come one after the other, in memory that does not grow with the file."""

    def __init__(self) -> None:
        self._levels: list[list[Leaf]] = [[]]
        self._counts = [0]

    def add(self, chunk: Leaf) -> None:
        """The next chunk of the file."""
        self._add(0, chunk)

    def digest(self) -> XetHash:
        """The file's hash; nothing may be added any more."""
        if not self._counts[0]:
            return ZERO
        level = 0
        while self._counts[level] > 1:
            if self._levels[level]:
                self._close(level)
            level += 1
        return XetHash(blake3(self._levels[level][0][0], key=bytes(32)).digest())

    def _add(self, level: int, node: Leaf) -> None:
        if level == len(self._levels):
            self._levels.append([])
            self._counts.append(0)
        group = self._levels[level]
        group.append(node)
        self._counts[level] += 1
        if len(group) == _MOST_CHILDREN or (len(group) > 2 and _ends_group(node)):
            self._close(level)

    def _close(self, level: int) -> None:
        group, self._levels[level] = self._levels[level], []
        self._add(level + 1, _node(group))


def term_hash(chunks: Iterable[XetHash]) -> XetHash:
    """The verification hash of a term: over the hashes of its chunks."""
    return XetHash(blake3(b"".join(chunks), key=_TERM_KEY).digest())


def packing_hash(xorb: XetHash, ends: Iterable[int]) -> XetHash:
    """A name for one way to pack a xorb: its hash says what its chunks are, and not where each of them ends.

    A hash of our own: no client and no other CAS knows it.
    """
    packed = b"".join(end.to_bytes(4, "little") for end in ends)
    return XetHash(blake3(xorb + packed, derive_key_context="moongate 2026-11 xorb packing").digest())


def keyed_chunk_hash(chunk: XetHash, key: bytes) -> XetHash:
    """A chunk hash as a dedup answer shows it; a key of zeros means plainly."""
    return chunk if key == ZERO else XetHash(blake3(chunk, key=key).digest())


def hash_hex(value: XetHash) -> str:
    """The hex string of a hash."""
    return "{:016x}{:016x}{:016x}{:016x}".format(*_FOUR.unpack(value))


def parse_hash(text: str) -> XetHash:
    """The hash of a hex string.

    Raises:
        BadName: it is not 64 lower-case hex digits.
    """
    if not _HEX.fullmatch(text):
        raise BadName("not a Xet hash: 64 hex digits expected")
    return XetHash(_FOUR.pack(*(int(text[start : start + 16], 16) for start in range(0, 64, 16))))


def _root(leaves: Sequence[Leaf]) -> XetHash:
    if not leaves:
        return ZERO
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0][0]


def _parents(level: list[Leaf]) -> list[Leaf]:
    parents, start = [], 0
    while start < len(level):
        count = _group_length(level, start)
        parents.append(_node(level[start : start + count]))
        start += count
    return parents


def _group_length(level: list[Leaf], start: int) -> int:
    left = len(level) - start
    if left <= 2:
        return left
    most = min(_MOST_CHILDREN, left)
    for index in range(2, most):
        if _ends_group(level[start + index]):
            return index + 1
    return most


def _ends_group(node: Leaf) -> bool:
    return node[0][24] % 4 == 0


def _node(children: list[Leaf]) -> Leaf:
    lines = "".join(f"{hash_hex(child)} : {length}\n" for child, length in children)
    return XetHash(blake3(lines.encode(), key=_NODE_KEY).digest()), sum(length for _, length in children)
