"""What a handler answers: a status, headers and a body, before faults and the wire have their say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from moongate.double.content import Content, MemoryContent


@dataclass(slots=True)
class Reply:
    """An answer. `first` and `length_bytes` choose a span of the content; `etag` is what it is metered by.

    `chunked` sends no Content-Length; without `conditional` an If-None-Match is ignored; `content_length`
    overrides the true one (a fault lies with it).
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    content: Content = field(default_factory=lambda: MemoryContent(b""))
    first: int = 0
    length_bytes: int | None = None
    etag: str | None = None
    chunked: bool = False
    conditional: bool = True
    content_length: int | None = None

    @property
    def size_bytes(self) -> int:
        """How many body bytes there are to send."""
        return self.content.size_bytes - self.first if self.length_bytes is None else self.length_bytes


class Refusal(Exception):
    """An error answer, in the Hub's shape: JSON `error`, `X-Error-Code`, `X-Error-Message`."""

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})

    def reply(self) -> Reply:
        shown = "".join(sign if sign.isprintable() else "?" for sign in self.message)
        headers = {"X-Error-Message": shown} | self.headers
        if self.code:
            headers["X-Error-Code"] = self.code
        if self.status == 401:
            headers.setdefault("WWW-Authenticate", 'Bearer realm="Authentication required", charset="UTF-8"')
        return json_reply({"error": self.message}, self.status, headers)


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON answer, with the weak ETag the Hub's web server puts on its successes."""
    body = orjson.dumps(value)
    made = {"Content-Type": "application/json; charset=utf-8"}
    if status == 200:
        made["ETag"] = f'W/"{len(body):x}-{hashlib.sha1(body, usedforsecurity=False).hexdigest()[:27]}"'
    return Reply(status, made | dict(headers or {}), MemoryContent(body))


def text_reply(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    made = {"Content-Type": "text/plain; charset=utf-8"}
    return Reply(status, made | dict(headers or {}), MemoryContent(text.encode()))


def redirect_reply(location: str, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    """A redirect with the short text the Hub sends along (old clients take its length for the file's)."""
    word = {301: "Moved Permanently", 302: "Found", 303: "See Other"}.get(status, "Temporary Redirect")
    return text_reply(
        f"{word}. Redirecting to {location}", status, {"Location": location} | dict(headers or {})
    )


def content_reply(
    content: Content, span: tuple[int, int] | None, headers: Mapping[str, str], etag: str | None
) -> Reply:
    """A file: 200 and the whole of it, or 206 and the span."""
    made = {"Accept-Ranges": "bytes"} | dict(headers)
    if span is None:
        return Reply(200, made, content, etag=etag)
    first, last = span
    made["Content-Range"] = f"bytes {first}-{last}/{content.size_bytes}"
    return Reply(206, made, content, first, last - first + 1, etag)


def not_modified(asked: str | None, etag: str) -> bool:
    """Whether an If-None-Match value names this (unquoted) ETag."""
    names = [name.strip().removeprefix("W/").strip('"') for name in (asked or "").split(",")]
    return asked is not None and (etag in names or "*" in names)
