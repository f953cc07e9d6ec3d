"""One request as the double reads it: routed on the raw path, decoded segment by segment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

import orjson
from aiohttp import web

from moongate.double.reply import Refusal
from moongate.double.users import User

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_BODY_LIMIT_BYTES = 64 << 20


@dataclass(slots=True)
class Ask:
    """A request at one of the double's doors; `origin` is hub, cdn, cas or control."""

    origin: str
    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    request: web.BaseRequest = field(repr=False)
    connection: int
    user: User | None = None
    whole: bool = False

    @property
    def segments(self) -> list[str]:
        """The raw path segments, without the leading empty one."""
        return self.path.split("/")[1:]

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query_string}" if self.query_string else self.path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query_string, keep_blank_values=True)

    def get(self, name: str) -> str | None:
        """The last value of a query key, also when written `name[]`."""
        values = self.all(name)
        return values[-1] if values else None

    def all(self, name: str) -> list[str]:
        """Every value of a query key, repeated or written `name[]`."""
        return [value for key, value in self.query if key in (name, f"{name}[]")]

    def flag(self, name: str) -> bool:
        """A boolean of the query, as `true`, `True`, `1` or a bare key."""
        return (self.get(name) or "").lower() in ("true", "1", "yes") or self.get(name) == ""

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number of the query, at most `most`.

        Raises:
            Refusal: 400 when it is not a number.
        """
        text = self.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise Refusal(400, f'"{name}" must be a number')
        return min(int(text), most)

    def span(self, size_bytes: int) -> tuple[int, int] | None:
        """The asked range as first and last byte, None for the whole (also for what we do not understand).

        Raises:
            Refusal: 416 when it lies past the end.
        """
        found = _RANGE.fullmatch(self.headers.get("Range", "").replace(" ", "").lower())
        if self.whole or found is None or found.group(0) == "bytes=-":
            return None
        first, last = found.groups()
        if not first:
            start, end = max(0, size_bytes - int(last)), size_bytes - 1
        else:
            start, end = int(first), min(int(last), size_bytes - 1) if last else size_bytes - 1
            if last and int(last) < int(first):
                return None
        if start >= size_bytes or (not first and int(last) == 0):
            raise Refusal(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{size_bytes}"})
        return start, end

    async def body(self, most_bytes: int = _BODY_LIMIT_BYTES) -> bytes:
        """The request body.

        Raises:
            Refusal: 413 when it is larger than any the double needs.
        """
        pieces = bytearray()
        async for piece in self.request.content.iter_any():
            pieces += piece
            if len(pieces) > most_bytes:
                raise Refusal(413, "request entity too large")
        return bytes(pieces)

    async def json(self) -> dict[str, object]:
        """The request body as a JSON object.

        Raises:
            Refusal: 400 when it is none.
        """
        try:
            value = orjson.loads(await self.body() or b"{}")
        except orjson.JSONDecodeError:
            raise Refusal(400, "Invalid JSON body") from None
        if not isinstance(value, dict):
            raise Refusal(400, "Expected a JSON object")
        return value


def decode(segments: list[str]) -> str:
    """Raw segments as a path: each decoded by itself, then joined."""
    return "/".join(unquote(segment) for segment in segments)


def split_revision(segments: list[str]) -> tuple[str, list[str]]:
    """The revision at the head of raw segments, and what follows."""
    if len(segments) >= 3 and segments[0] == "refs" and segments[1] in ("pr", "convert", "heads", "tags"):
        return decode(segments[:3]), segments[3:]
    return unquote(segments[0]) if segments else "", segments[1:]
