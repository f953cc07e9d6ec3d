"""Sending a reply over a connection, byte-exactly: metered, throttled, cut, flipped or stalled as asked.

File bodies go from disk to socket with sendfile, on a duplicate of the connection's descriptor, so that every
byte is counted when the kernel takes it and a fault can strike between any two.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from aiohttp import web

from moongate.double.content import Content, DiskContent, MemoryContent
from moongate.double.faults import FaultDesk, Shape
from moongate.double.meters import Meters, RequestRecord
from moongate.double.reply import Reply

_PIECE_BYTES = 4 << 20
_YIELD_BYTES = 16 << 20
_SMALL_BYTES = 64 << 10
_POLL_SECONDS = 0.02


class Ended(Exception):
    """The connection ended before the answer did: by a fault, by the client, or by closing time."""


class Bucket:
    """A token bucket: at most `bytes_per_second`, in pieces small enough to look smooth."""

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self.piece_bytes = max(1024, min(256 << 10, int(bytes_per_second * 0.005)))
        self._free = float(self.piece_bytes)
        self._at = time.monotonic()

    async def take(self, most: int) -> int:
        """Wait for a piece's worth of allowance; how many bytes may go now."""
        wanted = min(most, self.piece_bytes)
        self._refill()
        while self._free < wanted:
            await asyncio.sleep((wanted - self._free) / self.bytes_per_second)
            self._refill()
        self._free -= wanted
        return wanted

    def put_back(self, count: int) -> None:
        """Of what was taken so much was not sent."""
        self._free += count

    def _refill(self) -> None:
        now = time.monotonic()
        limit = max(self.piece_bytes, self.bytes_per_second * 0.02)
        self._free = min(limit, self._free + (now - self._at) * self.bytes_per_second)
        self._at = now


class Delivery:
    """Sends replies, and keeps one token bucket per connection, and one for all of them."""

    def __init__(self, meters: Meters, desk: FaultDesk) -> None:
        self._meters = meters
        self._desk = desk
        self._buckets: WeakKeyDictionary[asyncio.BaseTransport, Bucket] = WeakKeyDictionary()
        self._common: Bucket | None = None

    async def send(
        self, request: web.BaseRequest, reply: Reply, shape: Shape, record: RequestRecord
    ) -> web.StreamResponse:
        """Send a reply in this shape and count it.

        Raises:
            Ended: the connection was closed before the end, on purpose or not.
        """
        record.etag = record.etag or reply.etag
        if shape.delay_seconds:
            await asyncio.sleep(shape.delay_seconds)
        if shape.hang_up:
            self._close(request, reset=False)
        if shape.stall_after_bytes == -1:
            await self._stall(request, shape)
        response = self._head(request, reply)
        record.status = reply.status
        writer = await response.prepare(request)
        if request.method == "HEAD" or reply.status in (204, 304):
            return response
        if shape == Shape() and reply.size_bytes <= _SMALL_BYTES and isinstance(reply.content, MemoryContent):
            await self._send_small(response, reply, reply.content.data, record)
        else:
            if request.transport is not None and writer is not None:
                request.transport.set_write_buffer_limits(high=0)
                await writer.drain()
            await self._send_body(request, reply, shape, record)
        if reply.content_length is not None and reply.content_length != reply.size_bytes:
            self._close(request, reset=False)
        return response

    def _head(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if reply.chunked:
            if request.method != "HEAD":
                response.enable_chunked_encoding()
        elif reply.status not in (204, 304):
            known = reply.size_bytes if reply.content_length is None else reply.content_length
            response.headers["Content-Length"] = str(known)
        return response

    async def _send_small(
        self, response: web.StreamResponse, reply: Reply, whole: bytes, record: RequestRecord
    ) -> None:
        data = whole[reply.first : reply.first + reply.size_bytes]
        if data:
            self._meters.sent(record, len(data))
            await response.write(data)

    async def _send_body(
        self, request: web.BaseRequest, reply: Reply, shape: Shape, record: RequestRecord
    ) -> None:
        buckets = self._buckets_for(request, shape)
        stops = _stops(reply, shape)
        async with _wire(request, reply.content) as wire:
            if reply.chunked:
                await wire.frame(f"{reply.size_bytes:x}\r\n".encode())
            position, end, since_yield = reply.first, reply.first + reply.size_bytes, 0
            while True:
                sent = position - reply.first
                if shape.cut_after_bytes is not None and sent >= shape.cut_after_bytes:
                    wire.cut(shape.reset)
                    raise Ended
                if shape.stall_after_bytes is not None and sent >= shape.stall_after_bytes:
                    await self._stall(request, shape)
                if position >= end:
                    break
                flip = position in shape.flips
                stop = position + 1 if flip else min([s for s in stops if s > position] + [end])
                allowed = min(_PIECE_BYTES, stop - position)
                for bucket in buckets:
                    allowed = await bucket.take(allowed)
                count = await wire.send(position, allowed, flip)
                for bucket in buckets:
                    bucket.put_back(allowed - count)
                self._meters.sent(record, count)
                position += count
                since_yield += count
                if since_yield >= _YIELD_BYTES:
                    since_yield = 0
                    await asyncio.sleep(0)
            if reply.chunked:
                await wire.frame(b"\r\n")

    def _buckets_for(self, request: web.BaseRequest, shape: Shape) -> list[Bucket]:
        found = []
        if shape.bytes_per_second is not None and (transport := request.transport) is not None:
            found.append(_refitted(self._buckets.get(transport), shape.bytes_per_second))
            self._buckets[transport] = found[-1]
        if shape.bytes_per_second_together is not None:
            self._common = _refitted(self._common, shape.bytes_per_second_together)
            found.append(self._common)
        return found

    async def _stall(self, request: web.BaseRequest, shape: Shape) -> None:
        while self._desk.holds(shape.stall_fault):
            if request.transport is None or request.transport.is_closing():
                raise Ended
            await asyncio.sleep(_POLL_SECONDS)
        shape.stall_after_bytes = None

    @staticmethod
    def _close(request: web.BaseRequest, reset: bool) -> None:
        if request.transport is not None:
            if reset:
                _linger_off(request.transport.get_extra_info("socket"))
            request.transport.close()
        raise Ended


def _refitted(bucket: Bucket | None, bytes_per_second: float) -> Bucket:
    if bucket is None or bucket.bytes_per_second != bytes_per_second:
        return Bucket(bytes_per_second)
    return bucket


def _stops(reply: Reply, shape: Shape) -> list[int]:
    afters = [after for after in (shape.cut_after_bytes, shape.stall_after_bytes) if after is not None]
    return shape.flips + [reply.first + after for after in afters if after >= 0]


class _Wire:
    """One body on its way: where it comes from and the socket it goes to."""

    def __init__(
        self, request: web.BaseRequest, sock: socket.socket, content: Content, source: int | None
    ) -> None:
        self._request = request
        self._sock = sock
        self._source = source
        self._data = None if isinstance(content, DiskContent) else memoryview(content.data)

    async def send(self, position: int, most: int, flip: bool) -> int:
        """Send up to so many bytes from a position of the content; how many the kernel took."""
        while True:
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise Ended
            try:
                count = self._try(position, most, flip)
            except (BlockingIOError, InterruptedError):
                await self._writable()
                continue
            except OSError:
                transport.abort()
                raise Ended from None
            if count == 0:
                raise RuntimeError("a file served by the double became shorter while it was read")
            return count

    def _try(self, position: int, most: int, flip: bool) -> int:
        if self._data is not None:
            piece = self._data[position : position + most]
            return self._sock.send(bytes([piece[0] ^ 0xFF]) if flip else piece)
        if self._source is None:
            raise RuntimeError("a body has neither memory nor a file")
        if flip:
            return self._sock.send(bytes([os.pread(self._source, 1, position)[0] ^ 0xFF]))
        return os.sendfile(self._sock.fileno(), self._source, position, most)

    async def frame(self, data: bytes) -> None:
        """Send a few bytes of framing."""
        whole = _Wire(self._request, self._sock, MemoryContent(data), None)
        position = 0
        while position < len(data):
            position += await whole.send(position, len(data) - position, False)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._sock.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._sock.fileno())

    def cut(self, reset: bool) -> None:
        """End the connection here."""
        if reset:
            _linger_off(self._sock)
        if self._request.transport is not None:
            if reset:
                self._request.transport.abort()
            else:
                self._request.transport.close()


def _linger_off(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@asynccontextmanager
async def _wire(request: web.BaseRequest, content: Content) -> AsyncIterator[_Wire]:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise Ended
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    source = os.open(content.path, os.O_RDONLY) if isinstance(content, DiskContent) else None
    try:
        yield _Wire(request, sock, content, source)
    finally:
        sock.close()
        if source is not None:
            os.close(source)
