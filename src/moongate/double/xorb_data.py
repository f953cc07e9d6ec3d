"""Xorbs on the CDN origin: ranged reads of URLs that are good for the ranges they were signed for.

One range is answered 206 as ever, several as multipart/byteranges; what lies outside the signed ranges is
403, and so is the whole xorb unless it was signed.
"""

from __future__ import annotations

import re
import secrets

from moongate.core.errors import BadName
from moongate.core.spans import ByteSpan
from moongate.double.ask import Ask
from moongate.double.content import MemoryContent
from moongate.double.reply import Reply, content_reply
from moongate.double.world import World
from moongate.double.xorbs import StoredXorb
from moongate.xet.hashes import XetHash, hash_hex, parse_hash

XORBS = "/xorbs/default/"
_RANGES = re.compile(r"bytes=\s*\d+-\d+(\s*,\s*\d+-\d+)*\s*")
_HEADERS = {"Content-Type": "application/octet-stream", "Cache-Control": "public, max-age=604800, immutable"}


def xorb_path(xorb: XetHash) -> str:
    """Where a xorb lies on the CDN."""
    return XORBS + hash_hex(xorb)


class XorbData:
    """Serves the xorbs of a double; signatures were checked before."""

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(self, ask: Ask) -> Reply | None:
        """The reply to a read of a xorb; None when there is no such xorb."""
        try:
            stored = self._world.xet.xorbs.get(parse_hash(ask.path.removeprefix(XORBS)))
        except BadName:
            return None
        return None if stored is None else self._serve(ask, stored)

    def _serve(self, ask: Ask, stored: StoredXorb) -> Reply:
        name, size_bytes = hash_hex(stored.hash), stored.content.size_bytes
        headers = _HEADERS | {"ETag": f'"{name}"'}
        if ask.whole:  # a fault has us ignore the range
            return content_reply(stored.content, None, headers, name)
        asked = _spans(ask.headers.get("Range", "")) or [ByteSpan(0, size_bytes)]
        signed = _spans(ask.get("X-Xet-Signed-Range") or "")
        if not all(any(ok.start <= one.start and one.end <= ok.end for ok in signed) for one in asked):
            return Reply(
                403, {"Content-Type": "text/xml"}, MemoryContent(b"<Error>outside the signed ranges</Error>")
            )
        if "Range" not in ask.headers:
            return content_reply(stored.content, None, headers, name)
        if len(asked) == 1:
            return content_reply(stored.content, (asked[0].start, asked[0].end - 1), headers, name)
        return _multipart(stored, asked, headers, name)


def _multipart(stored: StoredXorb, spans: list[ByteSpan], headers: dict[str, str], name: str) -> Reply:
    boundary = secrets.token_hex(12)
    body = bytearray()
    with stored.content.path.open("rb") as stream:
        for span in spans:
            content_range = span.content_range(stored.content.size_bytes)
            head = f"--{boundary}\r\nContent-Type: application/octet-stream\r\n"
            head += f"Content-Range: {content_range}\r\n\r\n"
            stream.seek(span.start)
            body += head.encode() + stream.read(span.length) + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    made = headers | {"Content-Type": f"multipart/byteranges; boundary={boundary}", "Accept-Ranges": "bytes"}
    return Reply(206, made, MemoryContent(bytes(body)), etag=name)


def _spans(text: str) -> list[ByteSpan]:
    """The ranges of a Range header with both ends given; none for anything else."""
    if not _RANGES.fullmatch(text):
        return []
    pairs = [one.strip().split("-") for one in text.partition("=")[2].split(",")]
    return [ByteSpan(int(first), int(last) + 1) for first, last in pairs if int(first) <= int(last)]
