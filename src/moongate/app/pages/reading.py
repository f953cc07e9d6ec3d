"""Small parts of files, for pages: through the same door as any client's read."""

from __future__ import annotations

from typing import TypeVar

from moongate.core.callers import Caller
from moongate.core.errors import BadRequest
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.content import Content
from moongate.weights.reading import Reader

Facts = TypeVar("Facts")


async def read_span(content: Content, file: FileAt, caller: Caller, span: ByteSpan) -> bytes:
    """The bytes of a span, fetched when they are not here. Access was checked by whoever had the file.

    Raises:
        As `Content.open` and the body's `ready`.
    """
    if not span:
        return b""
    body = await content.open(file, caller, span)
    try:
        pieces, at = [], span.start
        while at < span.end:
            count = await body.ready(at, span.end)
            piece = body.read(at, count)
            if not piece:
                break
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)
    finally:
        body.close()


async def read_text(content: Content, file: FileAt, caller: Caller, most_bytes: int) -> tuple[str, bool]:
    """The beginning of a text, and whether there is more."""
    end = min(file.entry.size_bytes, most_bytes)
    data = await read_span(content, file, caller, ByteSpan(0, end))
    return data.decode("utf-8", "replace"), end < file.entry.size_bytes


async def facts_of(
    content: Content, file: FileAt, caller: Caller, reader: Reader[Facts], most_bytes: int
) -> tuple[Facts, bytes]:
    """The facts of a weight file, and the last span that its reader asked for.

    Raises:
        BadHeader: the header is not what it should be.
        BadRequest: it is longer than `most_bytes` in all.
        Otherwise as `read_span`.
    """
    data, asked_bytes = b"", 0
    try:
        span = next(reader)
        while True:
            asked_bytes += span.length
            if asked_bytes > most_bytes:
                raise BadRequest("the header is too long to be looked at here")
            data = await read_span(content, file, caller, span)
            span = reader.send(data)
    except StopIteration as done:
        facts: Facts = done.value
        return facts, data
