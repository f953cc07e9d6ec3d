"""Requests that upstream answers itself: streamed there and back, nothing kept, nothing held in memory.

Rules: hop-by-hop headers stay on their side; cookies pass neither way; the client's own credential goes to
the origin and nowhere else; one of our own tokens is never sent upstream. Bodies keep their Content-Encoding.
Only short answers to writes are read here, since the addresses they name must be ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiohttp import hdrs, web

from moongate.app.exchange import Exchange
from moongate.app.replies import Reply, streamed
from moongate.app.sendfile import BrokenOff
from moongate.core.callers import Caller, Secret
from moongate.core.errors import Absent, MoongateError, NotAllowed, UpstreamUnreachable
from moongate.core.names import RepoId
from moongate.wire.links import next_header, next_link, rewrite_next, with_own_addresses

_PIECE_BYTES = 256 << 10
_SHORT_BYTES = 64 << 10

_FORWARDED_UP = frozenset((
    "accept", "accept-encoding", "accept-language", "cache-control", "content-encoding", "content-length",
    "content-type", "git-protocol", "if-match", "if-modified-since", "if-none-match", "if-range", "range",
    "user-agent", "x-amzn-trace-id",
))  # fmt: skip
_NEVER_DOWN = frozenset((
    "alt-svc", "connection", "content-security-policy", "date", "keep-alive", "nel", "proxy-authenticate",
    "report-to", "server", "set-cookie", "strict-transport-security", "te", "trailer", "transfer-encoding",
    "upgrade", "via", "x-powered-by", "x-request-id",
))  # fmt: skip


class UpstreamStream(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def chunks(self) -> AsyncIterator[bytes]: ...


class Streams(Protocol):
    """What this room needs of `upstream.UpstreamClient`."""

    def stream(
        self,
        method: str,
        path_qs: str,
        headers: Iterable[tuple[str, str]],
        body: AsyncIterator[bytes] | None,
        credential: Secret | None,
    ) -> AbstractAsyncContextManager[UpstreamStream]: ...


class Passing:
    """Passes exchanges through. One per process."""

    def __init__(
        self,
        streams: Streams,
        *,
        offline: bool,
        upstream_origin: str,
        base_url: Callable[[web.BaseRequest], str],
        read_credential: Callable[[Caller, RepoId | None], Secret | None],
        changed: Callable[[RepoId | None, Caller], Awaitable[None]],
        is_hosted: Callable[[RepoId], bool] = lambda repo: False,
    ) -> None:
        """`is_hosted`: whether a repository lives here; then nothing about it is passed on.

        `read_credential`: what a caller's reads of a repository are asked with: theirs, or by a grant.

        `changed` is told of a write that upstream accepted, before the client is: so the client sees it.
        """
        self._streams = streams
        self._offline = offline
        self._origin = upstream_origin
        self._base_url = base_url
        self._read_credential = read_credential
        self._changed = changed
        self._is_hosted = is_hosted

    async def pass_through(
        self, exchange: Exchange, *, reads: bool = False, body: bytes | None = None
    ) -> web.StreamResponse:
        """Upstream's answer to this request, streamed.

        reads: the method is a POST and yet nothing is written (git fetches by POST).
        body: what to send, when the request's body was read already.

        Raises:
            Absent: it is about a repository that lives here.
            NotAllowed: one of our own tokens tried to write; only the user's Hub token may.
            UpstreamError: upstream did not answer. Once its answer is on its way, the connection breaks.
        """
        if exchange.repo is not None and self._is_hosted(exchange.repo):
            raise Absent("This repository lives here, where nothing is served at this address.")
        if self._offline:
            raise UpstreamUnreachable("this gateway is offline, and this is not kept here")
        request = exchange.request
        credential = self._credential(exchange, reads or exchange.is_read)
        writes = not reads and not exchange.is_read
        headers = [(name, value) for name, value in request.headers.items() if name.lower() in _FORWARDED_UP]
        if writes:
            headers = [pair for pair in headers if pair[0].lower() != "accept-encoding"]  # we read the answer
        exchange.outcome = "pass"
        async with self._streams.stream(
            exchange.method,
            exchange.path_qs,
            headers,
            _whole(body) if body is not None else await _body_of(request),
            credential,
        ) as upstream:
            if writes and upstream.status < 400:
                await self._changed(exchange.repo, exchange.caller)
            headers_down = self._headers_down(exchange, upstream.headers)
            if writes and exchange.path.startswith("/api/") and _is_short_json(upstream.headers):
                return await self._readdressed(exchange, upstream, headers_down)
            response = streamed(exchange, upstream.status, headers_down)
            await response.prepare(request)
            exchange.status = upstream.status
            if exchange.method != "HEAD":
                await self._copy(exchange, upstream, response)
            await response.write_eof()
            return response

    async def _readdressed(
        self, exchange: Exchange, upstream: UpstreamStream, headers: list[tuple[str, str]]
    ) -> Reply:
        body = b"".join([piece async for piece in upstream.chunks()])
        body = with_own_addresses(body, self._origin, self._base_url(exchange.request))
        headers = [pair for pair in headers if pair[0].lower() not in ("content-length", "etag")]
        return Reply(upstream.status, headers, body, request_id=exchange.request_id)

    async def _copy(self, exchange: Exchange, upstream: UpstreamStream, response: web.StreamResponse) -> None:
        try:
            async for piece in upstream.chunks():
                await response.write(piece)
                exchange.sent_bytes += len(piece)
        except MoongateError as error:
            transport = exchange.request.transport
            if transport is not None:
                transport.abort()
            raise BrokenOff(error) from error

    def _credential(self, exchange: Exchange, reads: bool) -> Secret | None:
        caller = exchange.caller
        if reads:
            return self._read_credential(caller, exchange.repo)
        if caller.kind == "token":
            where = exchange.repo or "This"
            raise NotAllowed(
                f"{where} is on the Hub, not hosted here. Writing there needs your own Hub token, for this "
                "gateway's tokens only read"
            )
        return caller.credential

    def _headers_down(self, exchange: Exchange, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        base_url = self._base_url(exchange.request)
        down = [("X-Moongate-Cache", "pass")]
        for name, value in headers.items():
            lower = name.lower()
            if lower in _NEVER_DOWN or lower.startswith(("x-xet-", "access-control-")):
                continue
            if lower == "link":
                url = next_link({"link": value})
                target = rewrite_next(url, self._origin, base_url) if url else None
                if target is None:
                    continue
                value = next_header(target)  # noqa: PLW2901 - the same header, in our words
            elif lower == "location":
                # a redirect within upstream goes through us, whichever way it is written
                value = value.removeprefix(self._origin)  # noqa: PLW2901
                if value.startswith("/") and not value.startswith("//"):
                    value = base_url + value  # noqa: PLW2901
            down.append((name, value))
        return down


def _is_short_json(headers: Mapping[str, str]) -> bool:
    said = {name.lower(): value for name, value in headers.items()}
    length = said.get("content-length", "")
    return (
        "json" in said.get("content-type", "")
        and "content-encoding" not in said
        and length.isdigit()
        and int(length) <= _SHORT_BYTES
    )


async def accept_body(request: web.BaseRequest) -> None:
    """Tells a client that waits for permission (`Expect: 100-continue`) to go on."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # what counts is whether the answer itself has begun
        request.writer.output_size = 0


async def _body_of(request: web.BaseRequest) -> AsyncIterator[bytes] | None:
    if not request.body_exists:
        return None
    await accept_body(request)
    return body_pieces(request)


async def body_pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The request's body as it comes; a client that falls silent in the middle of it is cut off.

    Raises:
        ConnectionResetError: it fell silent, or left.
    """
    silence_seconds, transport = request.protocol.keepalive_timeout, request.transport
    while True:
        try:
            async with asyncio.timeout(silence_seconds):
                piece = await request.content.read(_PIECE_BYTES)
        except TimeoutError:
            if transport is not None:
                transport.abort()
            raise ConnectionResetError("the client fell silent in the middle of its request") from None
        except RuntimeError:
            if request.protocol.connected:
                raise
            raise ConnectionResetError("the client left in the middle of its request") from None
        if not piece:
            return
        yield piece


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body
