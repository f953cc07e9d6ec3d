"""Replies whose bytes are known before they start: answers, errors, pages.

`Reply` writes status line, headers and body in one go, and skips what a general response must do (header
dictionaries, cookies, compression); that is half of the cost of a small answer. Every header a reply
carries is checked for line breaks here, so nothing from upstream can add a header of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

import orjson
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from moongate.app.exchange import Exchange, Outcome
from moongate.core.errors import UpstreamBroken
from moongate.wire.headers import EXPOSED_HEADERS, header_text

Headers = Iterable[tuple[str, str]]

JSON_TYPE = ("Content-Type", "application/json; charset=utf-8")
SERVER = ("Server", "moongate")

CORS = (("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", EXPOSED_HEADERS))
SHARED = (*CORS, ("Vary", "Authorization"))
"""On every answer of the Hub's routes: pages may read it, and caches between must tell callers apart."""
_OURS_ALONE = frozenset({"access-control-allow-origin", "access-control-expose-headers", "server", "date"})

CRLF = "\r\n"
_COMMON = "".join(f"{name}: {value}\r\n" for name, value in (SERVER, *SHARED))
_OWN = "".join(f"{name}: {value}\r\n" for name, value in (SERVER, ("X-Content-Type-Options", "nosniff")))
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_BODILESS = frozenset({204, 304})

_date: tuple[int, bytes] = (0, b"")


class Reply(web.StreamResponse):
    """A whole answer. `headers` need no Content-Length, Date, Server or Connection; those are added.

    shared: other origins' pages may read it (the Hub's routes); the admin API and pages are not.
    length_bytes: the length to announce, when the answer is to a HEAD and the body was not made.
    """

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes,
        *,
        request_id: str = "",
        shared: bool = True,
        length_bytes: int | None = None,
    ) -> None:
        super().__init__(status=status)
        size_bytes = len(body) if length_bytes is None else length_bytes
        mark = f"X-Request-Id: {request_id}\r\n" if request_id else ""
        self._head = head_bytes(status, headers, size_bytes, shared=shared) + mark.encode()
        self.body = b"" if status in _BODILESS else body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes everything; nothing is left for `write_eof`."""
        if self._eof_sent:
            return None
        self._keep_alive = request.keep_alive and self._keep_alive is not False
        connection = _connection_line(request, self._keep_alive)
        body = b"" if request.method == "HEAD" else self.body
        writer = request.writer
        self._eof_sent = True
        await writer.write(b"%b%b%b\r\n%b" % (self._head, date_line(), connection, body))
        return writer


class FileReply(web.StreamResponse):
    """The head of an answer whose body goes to the socket past aiohttp; `FileSender` sends both together.

    `headers` need no Content-Length, Date, Server or Connection; `size_bytes` is the body's length.
    """

    def __init__(self, status: int, headers: Headers, size_bytes: int, request_id: str) -> None:
        super().__init__(status=status)
        self._head = head_bytes(status, headers, size_bytes) + f"X-Request-Id: {request_id}\r\n".encode()

    def take_head(self, request: web.BaseRequest) -> bytes:
        """The head, for whoever sends it now; nothing is left for aiohttp to write."""
        self._keep_alive = request.keep_alive
        self._eof_sent = True
        head = b"%b%b%b\r\n" % (self._head, date_line(), _connection_line(request, request.keep_alive))
        request.writer.output_size += len(head)  # from now on an error can only break the connection off
        return head

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def _connection_line(request: web.BaseRequest, keep_alive: bool) -> bytes:
    if not keep_alive:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if request.version < (1, 1) else b""


def head_bytes(status: int, headers: Headers, size_bytes: int, *, shared: bool = True) -> bytes:
    """Status line and headers of an answer, but for those that differ each time (Date, Connection, id).

    Raises:
        UpstreamBroken: a header holds a line break.
    """
    length = b"" if status in _BODILESS else b"Content-Length: %d\r\n" % size_bytes
    return head_start(status, headers, shared=shared) + length


def head_start(status: int, headers: Headers, *, shared: bool = True) -> bytes:
    """As `head_bytes`, without Content-Length.

    Raises:
        UpstreamBroken: a header holds a line break.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise UpstreamBroken("an answer carries a header with a line break")
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status{CRLF}"
    return f"{first}{_COMMON if shared else _OWN}{text}".encode("latin-1", "replace")


def json_reply(status: int, value: object, request_id: str = "", headers: Headers = ()) -> Reply:
    """A JSON answer of our own, not readable by other origins' pages."""
    return Reply(status, (JSON_TYPE, *headers), orjson.dumps(value), request_id=request_id, shared=False)


def error_reply(
    status: int, code: str, message: str, request_id: str, headers: Headers = (), *, shared: bool = True
) -> Reply:
    """An error as the Hub words it: JSON `error`, `X-Error-Code`, `X-Error-Message`."""
    coded = (JSON_TYPE, ("X-Error-Code", code), ("X-Error-Message", header_text(message)), *headers)
    return Reply(status, coded, orjson.dumps({"error": message}), request_id=request_id, shared=shared)


def streamed(exchange: Exchange, status: int, headers: Headers) -> web.StreamResponse:
    """A response whose body follows in pieces; the headers must say its length, or it goes out in chunks."""
    given: CIMultiDict[str] = CIMultiDict(SHARED)
    given["Server"] = SERVER[1]
    given["X-Request-Id"] = exchange.request_id
    for name, value in headers:
        if name.lower() not in _OURS_ALONE:
            given.add(name, value)
    return web.StreamResponse(status=status, headers=given)


def freshness(outcome: Outcome, age_seconds: float) -> tuple[tuple[str, str], ...]:
    """How an answer came about, for the client: hit, miss, stale or pass, and how old it is."""
    mark = ("X-Moongate-Cache", outcome)
    if outcome == "stale":
        return (mark, ("Age", str(int(age_seconds))), ("Warning", '110 - "response is stale"'))
    return (mark,)


def date_line() -> bytes:
    """The Date header of this second."""
    global _date  # noqa: PLW0603 - made once a second, not once a reply
    now = int(time.time())
    if _date[0] != now:
        _date = (now, f"Date: {formatdate(now, usegmt=True)}\r\n".encode())
    return _date[1]
