"""Xorb data at the addresses that a reconstruction gave: signed ranges, one or several, sent from the store.

The address is the permission: it says which ranges of which xorb for which file, and until when. What is not
signed for is 403, and so is what can no longer be had by it; clients then ask the reconstruction anew.
Everything else that goes wrong before the first byte is a coded 5xx, which clients try again; after it the
connection is broken off.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Literal, Protocol, cast

from aiohttp import hdrs, web

from moongate.app.data_addresses import DataAddresses
from moongate.app.data_lane import DATA_TYPE, data_headers
from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.file_routes import INLINE_BYTES
from moongate.app.metrics import Metrics
from moongate.app.replies import FileReply, Reply, streamed
from moongate.app.sendfile import BrokenOff, FileSender, PiecedBody
from moongate.app.xet_routes import Offers
from moongate.core.digests import Etag
from moongate.core.errors import Absent, NotAllowed, StoreFull, UpstreamBusy, UpstreamError
from moongate.core.spans import ByteSpan
from moongate.hub.recalls import Recalls, cutter
from moongate.wire.cas_paths import Data
from moongate.wire.data_urls import asked_spans
from moongate.wire.ranges import multipart_frame
from moongate.xet.hashes import XetHash, parse_hash

_GONE = "These chunks are no longer had at this address; ask the reconstruction again."


_Bodies = contextlib.aclosing[AsyncGenerator[Any, None]]


class ChunkBody(Protocol):
    """A piece of a xorb to send: see `hub.xet_body.SegmentBody`."""

    @property
    def fd(self) -> int: ...
    @property
    def base(self) -> int: ...
    @property
    def span(self) -> ByteSpan: ...
    @property
    def outcome(self) -> Literal["hit", "miss"]: ...
    async def ready(self, position: int, end: int) -> int: ...
    def read(self, position: int, count: int) -> bytes: ...
    def stream(self, position: int, end: int) -> AsyncIterator[bytes]: ...


class Xorbs(Protocol):
    """What this room needs of `hub.xet_made.XetService`."""

    def known(self, file_id: str) -> Any: ...
    def made_for(self, key: str, file_id: str) -> Any: ...
    def is_out_of_reach(self, source: Any) -> bool: ...
    def went_away(self, file_id: str) -> None: ...
    def open_range(self, source: Any, xorb: XetHash, span: ByteSpan) -> AsyncIterator[Any]: ...


class Flows(Protocol):
    """What this room needs of `hub.guard.Guard`."""

    @property
    def serial(self) -> int: ...
    def may_flow(self, etag: Etag, told: str) -> bool: ...


class XorbRoutes:
    """The data addresses."""

    def __init__(
        self,
        xorbs: Xorbs,
        sender: FileSender,
        offers: Offers,
        metrics: Metrics,
        addresses: DataAddresses,
        recalls: Recalls,
        guard: Flows | None = None,
    ) -> None:
        """guard: says whether chunks may go to whoever was let pass by what an address tells."""
        self._recalls = recalls
        self._guard = guard
        self._xorbs = xorbs
        self._sender = sender
        self._offers = offers
        self._metrics = metrics
        self._addresses = addresses

    async def data(self, exchange: Exchange, route: Data) -> web.StreamResponse:
        """The ranges asked for, of those that the address is signed for.

        Raises:
            NotAllowed: the address is not ours, has expired, or is not for this.
        """
        allow(exchange, "GET", "HEAD")
        signed = self._addresses.read(route, exchange.query)
        spans = asked_spans(exchange.request.headers.get(hdrs.RANGE), signed.spans)
        row = self._xorbs.made_for(route.xorb, route.file_id) or self._xorbs.known(route.file_id)
        if row is None or self._xorbs.is_out_of_reach(row):
            raise NotAllowed(_GONE)
        self._recalls.refuse_content(row.etag, row.file_id)
        watch = _watch(self._guard, row.etag, signed.verdict)
        watch()
        headers = data_headers(route)
        xorb = parse_hash(route.xorb)
        if len(spans) > 1:
            with self._recalls.reading_content(row.file_id, cutter(exchange.request.transport)):
                return await self._several(exchange, row, xorb, spans, headers, watch)
        headers += [("Content-Type", DATA_TYPE), ("Content-Range", spans[0].content_range(None))]
        if exchange.method == "HEAD":
            return Reply(206, headers, b"", request_id=exchange.request_id, length_bytes=spans[0].length)
        with self._recalls.reading_content(row.file_id, cutter(exchange.request.transport)):
            return await self._one(exchange, row, xorb, spans[0], headers, watch)

    async def _one(
        self,
        exchange: Exchange,
        row: Any,
        xorb: XetHash,
        span: ByteSpan,
        headers: list[tuple[str, str]],
        watch: Callable[[], None],
    ) -> web.StreamResponse:
        async with self._opened(row, xorb, span, watch) as bodies:
            body, count = await self._first(row.file_id, bodies)
            exchange.outcome = body.outcome
            headers.append(("X-Moongate-Cache", body.outcome))
            if count == span.length <= INLINE_BYTES:
                data = body.read(span.start, count)
                if len(data) == count:
                    self._metrics.xet_served(count)
                    return Reply(206, headers, data, request_id=exchange.request_id)
            response: web.StreamResponse = FileReply(206, headers, span.length, exchange.request_id)
            exchange.status = 206
            await self._send(exchange, response, body, row.file_id)
            async for more in bodies:
                await self._send(exchange, _SENT, more, row.file_id)
            return response

    async def _several(
        self,
        exchange: Exchange,
        row: Any,
        xorb: XetHash,
        spans: Sequence[ByteSpan],
        headers: list[tuple[str, str]],
        watch: Callable[[], None],
    ) -> web.StreamResponse:
        """Each range as it was asked for in a part of its own: clients count on that."""
        frame = multipart_frame(spans, None, DATA_TYPE, secrets.token_hex(16))
        headers.append(("Content-Type", frame.content_type))
        if exchange.method == "HEAD":
            return Reply(206, headers, b"", request_id=exchange.request_id, length_bytes=frame.length_bytes)
        headers.append(("Content-Length", str(frame.length_bytes)))
        response: web.StreamResponse | None = None
        for head, span in zip(frame.heads, frame.spans, strict=True):
            async with self._opened(row, xorb, span, watch) as bodies:
                body, _ = await self._first(row.file_id, bodies)
                if response is None:
                    exchange.outcome = body.outcome
                    headers.append(("X-Moongate-Cache", body.outcome))
                    response = streamed(exchange, 206, headers)
                    await response.prepare(exchange.request)
                    exchange.status = 206
                await response.write(head)
                await self._send(exchange, response, body, row.file_id)
                async for more in bodies:
                    await self._send(exchange, response, more, row.file_id)
        assert response is not None  # noqa: S101 - there is at least one range
        await response.write(frame.tail)
        await response.write_eof()
        return response

    def _opened(self, row: Any, xorb: XetHash, span: ByteSpan, watch: Callable[[], None]) -> _Bodies:
        bodies = cast(AsyncGenerator[Any, None], self._xorbs.open_range(row, xorb, span))
        return contextlib.aclosing(_watched(bodies, watch))

    async def _first(self, file_id: str, bodies: AsyncGenerator[Any, None]) -> tuple[ChunkBody, int]:
        """The first piece of a range, and how much of it can be sent at once.

        Raises:
            NotAllowed: the file no longer has these chunks, or upstream fails or refuses: an address names no
                caller on whose behalf to ask. The reconstruction tells of another way.
        """
        try:
            body: ChunkBody = await anext(bodies)
            return body, await body.ready(body.span.start, body.span.end)
        except (Absent, NotAllowed, StopAsyncIteration) as error:
            raise NotAllowed(_GONE) from error
        except UpstreamBusy:
            raise
        except UpstreamError as error:
            self._xorbs.went_away(file_id)
            self._metrics.xet_made(type(error).__name__)
            raise NotAllowed(_GONE) from error
        except StoreFull:
            self._offers.withdraw()  # what cannot be kept can still be read plainly
            self._metrics.xet_withdrawn("StoreFull")
            raise

    async def _send(
        self, exchange: Exchange, response: web.StreamResponse, body: ChunkBody, file_id: str
    ) -> None:
        try:
            sent = await self._sender.send(exchange.request, response, body, body.span)
        except BrokenOff as broken:
            if isinstance(broken.error, UpstreamError) and not isinstance(broken.error, UpstreamBusy):
                self._xorbs.went_away(file_id)
                self._metrics.xet_made(type(broken.error).__name__)
            raise
        exchange.sent_bytes += sent
        self._metrics.xet_served(sent)


def _watch(guard: Flows | None, etag: Etag, told: str) -> Callable[[], None]:
    """Returns while chunks may flow that were let pass by what was told; cheap while nothing changes.

    Raises (the function that it makes):
        NotAllowed: they may no longer; the reconstruction tells who may have them.
    """
    seen: list[int] = []

    def watch() -> None:
        if guard is None or seen == [guard.serial]:
            return
        seen[:] = [guard.serial]
        if not guard.may_flow(etag, told):
            raise NotAllowed(_GONE)

    return watch


async def _watched(bodies: AsyncGenerator[Any, None], watch: Callable[[], None]) -> AsyncGenerator[Any, None]:
    async with contextlib.aclosing(bodies):
        async for body in bodies:
            yield body if isinstance(body, PiecedBody) else _Watched(body, watch)


class _Watched:
    """A body of which nothing more is given once the watch says so."""

    def __init__(self, body: ChunkBody, watch: Callable[[], None]) -> None:
        self._body = body
        self._watch = watch

    @property
    def fd(self) -> int:
        return self._body.fd

    @property
    def base(self) -> int:
        return self._body.base

    @property
    def span(self) -> ByteSpan:
        return self._body.span

    @property
    def outcome(self) -> Literal["hit", "miss"]:
        return self._body.outcome

    async def ready(self, position: int, end: int) -> int:
        count = await self._body.ready(position, end)
        self._watch()
        return count

    def read(self, position: int, count: int) -> bytes:
        return self._body.read(position, count)

    def stream(self, position: int, end: int) -> AsyncIterator[bytes]:
        return self._body.stream(position, end)


_SENT = web.StreamResponse()
"""Stands for a response whose head has been sent."""
