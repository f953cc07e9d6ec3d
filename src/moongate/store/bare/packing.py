"""Objects as a pack, a bounded piece at a time.

Source: git `Documentation/gitformat-pack.txt`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Final

from moongate.wire.git_objects import ObjectKind

_KINDS: Final[dict[ObjectKind, int]] = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_MOST_BYTES = 16 << 20
_MOST_OBJECTS = 10_000


class Packer:
    """Collects objects and hands them on as packs of some megabytes each."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        """`take` is given every pack; what it raises ends the packing."""
        self._take = take
        self._pieces: list[bytes] = []
        self._held_bytes = 0

    def add(self, kind: ObjectKind, body: bytes) -> None:
        piece = _head(_KINDS[kind], len(body)) + zlib.compress(body, 1)
        self._pieces.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes >= _MOST_BYTES or len(self._pieces) >= _MOST_OBJECTS:
            self.flush()

    def flush(self) -> None:
        """Hands on what is held. Again is free."""
        if self._pieces:
            pieces, self._pieces, self._held_bytes = self._pieces, [], 0
            self._take(pack_of(pieces))


def pack_of(pieces: list[bytes]) -> bytes:
    """A pack of these objects, each with its head and compressed."""
    body = b"PACK" + (2).to_bytes(4) + len(pieces).to_bytes(4) + b"".join(pieces)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _head(kind: int, size_bytes: int) -> bytes:
    """Four bits of the size beside the kind, then seven a byte, the low ones first."""
    byte, rest = (kind << 4) | (size_bytes & 15), size_bytes >> 4
    head = bytearray()
    while rest:
        head.append(byte | 0x80)
        byte, rest = rest & 0x7F, rest >> 7
    head.append(byte)
    return bytes(head)
