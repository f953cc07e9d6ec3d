"""Bytes of a file to a client's socket, by the kernel's sendfile, at the speed of the reader.

An answer up to `_INLINE_BYTES` is sent from the event loop, little by little. A longer one goes out in bursts
on a small thread pool; a reader that does not keep up is parked in the loop's poller between bursts and
costs neither a thread nor memory. A disk that has to be waited for blocks a pool thread, not the loop.

uvloop has no `sendfile` of its own, and asyncio's holds up every other request while it runs.
With TLS the bytes must pass through the library, so there they are read and written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from aiohttp import web

from moongate.core.errors import MoongateError, StoreError, StoreFull
from moongate.core.spans import ByteSpan

_INLINE_BYTES = 1 << 20
_TURN_BYTES = 512 << 10
_BURST_BYTES = 16 << 20
_CALL_BYTES = 4 << 20
_TLS_BYTES = 256 << 10
_THREADS = 4
_PATIENCE_MILLISECONDS = 4
_STALL_SECONDS = 600.0


class ClientGone(Exception):
    """The client went away; nobody is to blame."""


class BrokenOff(Exception):
    """The answer was cut because of `error`, after the headers were sent."""

    def __init__(self, error: MoongateError) -> None:
        super().__init__(error.message)
        self.error = error


class Body(Protocol):
    """What can be sent. Positions count from the start of the content; `base` is where `fd` begins."""

    @property
    def fd(self) -> int: ...
    @property
    def base(self) -> int: ...
    async def ready(self, position: int, end: int) -> int: ...
    def stream(self, position: int, end: int) -> AsyncIterator[bytes]: ...


class _Transport(Protocol):
    def abort(self) -> None: ...


class FileSender:
    """Sends spans of file bodies; one per process."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def send(
        self, request: web.BaseRequest, response: web.StreamResponse, body: Body, span: ByteSpan
    ) -> int:
        """Send `span` of the body after the response's headers, which must be prepared already.

        Returns the number of bytes sent. The response's end is the caller's.

        Raises:
            ClientGone: the client left.
            BrokenOff: the fill failed in the middle; the connection was aborted, so that no client takes what
                it has for the whole.
        """
        transport = request.transport
        if transport is None:
            raise ClientGone
        if transport.get_extra_info("sslcontext") is not None:
            return await self._send(_Written(response, body), transport, response, body, span)
        with _Socket(transport, body, self._pool) as sender:
            await sender.drained()
            return await self._send(sender, transport, response, body, span)

    async def _send(
        self,
        sender: _Sender,
        transport: _Transport,
        response: web.StreamResponse,
        body: Body,
        span: ByteSpan,
    ) -> int:
        position = span.start
        try:
            while position < span.end:
                count = await body.ready(position, span.end)
                position += await sender.send(position, count)
        except StoreFull:
            position += await _stream(response, body, ByteSpan(position, span.end), transport)
        except MoongateError as error:
            transport.abort()
            raise BrokenOff(error) from error
        return position - span.start


class _Sender(Protocol):
    async def send(self, position: int, count: int) -> int: ...


async def _stream(response: web.StreamResponse, body: Body, span: ByteSpan, transport: _Transport) -> int:
    """The rest of an answer for which the disk has no room."""
    sent = 0
    try:
        async for piece in body.stream(span.start, span.end):
            await _write(response, piece)
            sent += len(piece)
    except MoongateError as error:
        transport.abort()
        raise BrokenOff(error) from error
    return sent


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    try:
        await response.write(piece)
    except (ConnectionError, RuntimeError) as error:  # RuntimeError: "Cannot write to closing transport"
        raise ClientGone from error


class _Written:
    """Reads and writes, for transports that need to see the bytes."""

    def __init__(self, response: web.StreamResponse, body: Body) -> None:
        self._response = response
        self._fd, self._base = body.fd, body.base

    async def send(self, position: int, count: int) -> int:
        piece = await asyncio.to_thread(os.pread, self._fd, min(count, _TLS_BYTES), position - self._base)
        await _write(self._response, piece)
        return len(piece)


class _Socket:
    """The client's socket under a descriptor of our own, so that polling it leaves the transport alone."""

    def __init__(self, transport: asyncio.Transport, body: Body, pool: ThreadPoolExecutor) -> None:
        self._transport = transport
        self._fd, self._base = body.fd, body.base
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._out = -1
        self._patient = True

    def __enter__(self) -> _Socket:
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is None or self._transport.is_closing():
            raise ClientGone
        try:
            self._out = os.dup(sock.fileno())
        except OSError as error:
            raise ClientGone from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._out >= 0:
            os.close(self._out)
            self._out = -1

    async def drained(self) -> None:
        """Until the headers left the transport's own buffer: what follows goes around it."""
        if self._transport.get_write_buffer_size() == 0:
            return
        while self._transport.get_write_buffer_size() > 0:
            if self._transport.is_closing():
                raise ClientGone
            await self._writable()

    async def send(self, position: int, count: int) -> int:
        """Send some of it, at least a byte; how many."""
        if count <= _INLINE_BYTES:
            return await self._send_inline(position, count)
        sent, full = await self._loop.run_in_executor(
            self._pool, self._burst, position, min(count, _BURST_BYTES)
        )
        if full:
            await self._writable()
        return sent

    async def _send_inline(self, position: int, count: int) -> int:
        sent = 0
        while sent < count:
            more = self._sendfile(position + sent, min(count - sent, _TURN_BYTES))
            sent += more
            if more == 0:
                await self._writable()
            elif sent < count:
                await asyncio.sleep(0)
        return sent

    def _burst(self, position: int, count: int) -> tuple[int, bool]:
        """Send until the socket is full or the burst is done. Runs in a pool thread."""
        sent = 0
        while sent < count:
            more = self._sendfile(position + sent, min(count - sent, _CALL_BYTES))
            if more == 0 and not (self._patient and self._soon()):
                self._patient = sent >= _CALL_BYTES
                return sent, True
            sent += more
        self._patient = True
        return sent, False

    def _soon(self) -> bool:
        """Wait in this thread for a reader that keeps up: waking the loop for each bufferful costs more."""
        poll = select.poll()
        poll.register(self._out, select.POLLOUT)
        return bool(poll.poll(_PATIENCE_MILLISECONDS))

    def _sendfile(self, position: int, count: int) -> int:
        """Bytes that the socket took; 0 when it is full."""
        try:
            sent = os.sendfile(self._out, self._fd, position - self._base, count)
        except BlockingIOError:
            return 0
        except OSError as error:  # reset, broken pipe, or closed under us
            raise ClientGone from error
        if sent == 0:
            raise StoreError("a file in the store is shorter than it should be; run `moongate verify`")
        return sent

    async def _writable(self) -> None:
        """Until the socket takes more bytes, or has an error to tell."""
        ready: asyncio.Future[bool] = self._loop.create_future()
        self._loop.add_writer(self._out, _set, ready, True)
        timer = self._loop.call_later(_STALL_SECONDS, _set, ready, False)
        try:
            if not await ready:
                self._transport.abort()
                raise ClientGone
        finally:
            timer.cancel()
            with contextlib.suppress(OSError, ValueError):
                self._loop.remove_writer(self._out)


def _set(ready: asyncio.Future[bool], value: bool) -> None:
    if not ready.done():
        ready.set_result(value)
