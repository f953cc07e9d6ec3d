"""Bytes from upstream to a reader that are kept nowhere: what is left to do when the disk is full."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

from moongate.core.digests import Etag, Hasher, content_hasher
from moongate.core.errors import VerificationFailed
from moongate.core.spans import ByteSpan
from moongate.hub.sources import ByteSource

_PIECE_BYTES = 256 << 10


async def pass_through(
    source: ByteSource,
    etag: Etag,
    position: int,
    end: int,
    verify_from: int | None,
    failed: Callable[[VerificationFailed], None],
) -> AsyncIterator[bytes]:
    """Pieces of the file from `position` to `end`, each fetched when the last one was taken.

    verify_from: a descriptor that holds the bytes before `position`, when the reader got the file from its
        start and goes to its end. Then the last piece comes only if the hash of the whole is right.
    failed: told, in a thread, when it is not.

    Raises:
        VerificationFailed: the bytes are not the file's; the last piece was held back.
        UpstreamError: upstream broke off; nothing is retried, since the reader can ask for the rest.
    """
    hasher = (
        None if verify_from is None else await asyncio.to_thread(_hashed, verify_from, etag, position, source)
    )
    connection = source.connect()
    try:
        body = await asyncio.to_thread(connection.open, ByteSpan(position, end))
        buffer = memoryview(bytearray(_PIECE_BYTES))
        while body.position < end:
            at = body.position
            count = await asyncio.to_thread(body.readinto, buffer[: min(len(buffer), end - at)])
            piece = bytes(buffer[max(0, position - at) : count])
            if hasher is not None and piece:
                hasher.update(piece)
                if body.position == end and hasher.hexdigest() != etag:
                    error = VerificationFailed(f"what upstream sent for {etag} is not that content")
                    await asyncio.to_thread(failed, error)
                    raise error
            if piece:
                yield piece
    finally:
        connection.close()


def _hashed(fd: int, etag: Etag, position: int, source: ByteSource) -> Hasher:
    hasher = content_hasher(etag, source.size_bytes)
    at = 0
    while at < position and (piece := os.pread(fd, min(_PIECE_BYTES * 4, position - at), at)):
        hasher.update(piece)
        at += len(piece)
    return hasher
