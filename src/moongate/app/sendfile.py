"""Bytes of a file to a client's socket, by the kernel's sendfile, at the speed of the reader.

An answer up to `_INLINE_BYTES` is sent from the event loop, as fast as the socket takes it. A longer one goes
out in bursts on a small thread pool; a reader that does not keep up is parked in the loop's poller between
bursts and costs neither a thread nor memory. There a slow disk blocks a pool thread, not the loop. What needs
nothing of the loop until its end is carried by threads of its own (`couriers`).

uvloop has no `sendfile` of its own, and asyncio's holds up every other request while it runs.
With TLS the bytes must pass through the library, so there they are read and written.

A body that comes in pieces (`PiecedBody`: a file kept as chunks) goes the same way, each piece by sendfile or
from memory; what it loses in the middle comes from the body that it names instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from moongate.app.couriers import Couriers, ReaderStands
from moongate.app.replies import FileReply
from moongate.core.errors import MoongateError, StoreError, StoreFull
from moongate.core.spans import ByteSpan

_INLINE_BYTES = 1 << 20
_TURN_BYTES = 1 << 20
_BURST_BYTES = 16 << 20
_CALL_BYTES = 4 << 20
_TLS_BYTES = 256 << 10
_THREADS = 4
_PATIENCE_MILLISECONDS = 4
_STALL_SECONDS = 600.0
_HEAD_FLAGS = int(socket.MSG_MORE | socket.MSG_DONTWAIT)
_MOST_VIEWS = 512


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


class FilePiece(Protocol):
    """Bytes of an open file, to be sent as they are."""

    @property
    def fd(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...


class FileSpan(NamedTuple):
    """Such bytes."""

    fd: int
    offset: int
    size_bytes: int


Piece: TypeAlias = FilePiece | memoryview


@runtime_checkable
class PiecedBody(Protocol):
    """What is sent piece by piece: see `hub.assembled.AssembledBody`."""

    async def ready(self, position: int, end: int) -> int: ...
    def pieces(self, position: int, end: int) -> Iterator[Sequence[Piece]]: ...
    def pause(self) -> None: ...
    async def instead(self, span: ByteSpan) -> OtherBody: ...


class OtherBody(Body, Protocol):
    """A body that was opened to go on with; it is closed here."""

    def close(self) -> None: ...


class FileSender:
    """Sends spans of file bodies; one per process."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")
        self._couriers = Couriers()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._couriers.close()

    def outlet(self, transport: asyncio.Transport) -> Outlet:
        """A way into a client's socket, for who writes heads too and sends many bodies. No TLS. Close it.

        Raises:
            ClientGone: the client left.
        """
        return Outlet(transport, self._pool, self._couriers)

    async def send(
        self, request: web.BaseRequest, response: web.StreamResponse, body: Body | PiecedBody, span: ByteSpan
    ) -> int:
        """Send `span` of the body: with the head of a `FileReply`, or after a response prepared before.

        Returns the number of body bytes sent. The response's end is the caller's.

        Raises:
            ClientGone: the client left.
            BrokenOff: the fill failed in the middle; the connection was aborted, so that no client takes what
                it has for the whole.
        """
        transport = request.transport
        if transport is None:
            raise ClientGone
        head = response.take_head(request) if isinstance(response, FileReply) else b""
        if isinstance(body, PiecedBody):
            return await self._send_pieces(transport, head, request, body, span)
        return await self._send_file(transport, head, request, body, span)

    async def _send_file(
        self, transport: asyncio.Transport, head: bytes, request: web.BaseRequest, body: Body, span: ByteSpan
    ) -> int:
        if transport.get_extra_info("sslcontext") is not None:
            return await self._send(_Written(request.writer), head, request, body, span)
        with contextlib.closing(self.outlet(transport)) as outlet:
            return await self._send(outlet, head, request, body, span)

    async def _send_pieces(
        self,
        transport: asyncio.Transport,
        head: bytes,
        request: web.BaseRequest,
        body: PiecedBody,
        span: ByteSpan,
    ) -> int:
        position = span.start
        try:
            with contextlib.closing(_PieceOutlet(transport, body, self._pool, self._couriers)) as outlet:
                written = _WrittenPieces(request.writer, body)
                out = written if transport.get_extra_info("sslcontext") is not None else outlet
                await out.begin(head)
                while position < span.end:
                    count = await body.ready(position, span.end)
                    position += await out.send_pieces(position, count)
                return span.length
        except StoreError:  # chunks were lost: the rest comes in another way
            pass
        except MoongateError as error:
            raise _broken_off(request, error) from error
        try:
            other = await body.instead(ByteSpan(position, span.end))
        except MoongateError as error:
            raise _broken_off(request, error) from error
        try:
            rest = ByteSpan(position, span.end)
            return position - span.start + await self._send_file(transport, b"", request, other, rest)
        finally:
            other.close()

    async def _send(
        self, out: _Way, head: bytes, request: web.BaseRequest, body: Body, span: ByteSpan
    ) -> int:
        position = span.start
        try:
            await out.begin(head)
            while position < span.end:
                count = await body.ready(position, span.end)
                position += await out.send(body.fd, position - body.base, count)
        except StoreFull:
            position += await _stream(request, body, ByteSpan(position, span.end))
        except MoongateError as error:
            raise _broken_off(request, error) from error
        return position - span.start


class _Way(Protocol):
    async def begin(self, head: bytes) -> None: ...
    async def send(self, fd: int, offset: int, count: int) -> int: ...


class Sending:
    """An answer on its way into a socket: its head, and a body of pieces of whole files and of memory."""

    def __init__(
        self, out: Outlet, head: bytes, pieces: Sequence[FilePiece | bytes], sent_bytes: int = 0
    ) -> None:
        """`sent_bytes`: what went of the body before these pieces."""
        self._out = out
        self._head = head
        self._left = deque(pieces)
        self._done = 0  # bytes of the first piece
        self.sent_bytes = sent_bytes
        """Of the body."""

    def begin(self) -> bool:
        """Send the head and as much of the body as a turn allows, without waiting; whether that was all.

        Raises:
            ClientGone: the client left.
            StoreError: a file is shorter than it should be.
        """
        self._head = self._head[self._out.send_head(self._head) :]
        while not self._head and self._left and self.sent_bytes < _TURN_BYTES:
            if not self._put(_TURN_BYTES - self.sent_bytes):
                break
        return not self._head and not self._left

    @property
    def socket_fd(self) -> int:
        """Where it goes."""
        return self._out.fd

    def step(self) -> int | None:
        """Send some of what is left, as much as the socket takes at once; None when that was all.

        Raises:
            As `begin`.
        """
        if self._head:
            sent = self._out.send_head(self._head)
            self._head = self._head[sent:]
            return sent
        sent = 0
        while self._left and sent < _CALL_BYTES:
            more = self._put(_CALL_BYTES - sent)
            sent += more
            if not more or self._done:  # the socket is full
                break
        return sent if self._left else None

    async def finish(self) -> None:
        """Have the rest sent. Cancelled, it returns when no thread has anything of it any more.

        Raises:
            As `begin`.
        """
        await self._out.carry(self)

    def _put(self, most: int) -> int:
        """Send some of the first piece, if the socket takes it at once; how much."""
        piece = self._left[0]
        if isinstance(piece, bytes):
            flags = _HEAD_FLAGS if len(self._left) > 1 else int(socket.MSG_DONTWAIT)
            sent = self._out.send_bytes(piece[self._done :], flags)
        else:
            left = piece.size_bytes - self._done
            sent = self._out.sendfile(piece.fd, piece.offset + self._done, min(left, most))
        self._took(sent)
        return sent

    def _took(self, count: int) -> None:
        self.sent_bytes += count
        self._done += count
        piece = self._left[0]
        if self._done == (len(piece) if isinstance(piece, bytes) else piece.size_bytes):
            self._left.popleft()
            self._done = 0


async def _stream(request: web.BaseRequest, body: Body, span: ByteSpan) -> int:
    """The rest of an answer for which the disk has no room."""
    sent = 0
    try:
        async for piece in body.stream(span.start, span.end):
            await _write(request.writer, piece)
            sent += len(piece)
    except MoongateError as error:
        raise _broken_off(request, error) from error
    return sent


async def _write(writer: AbstractStreamWriter, piece: bytes) -> None:
    try:
        await writer.write(piece)
    except (ConnectionError, RuntimeError) as error:  # RuntimeError: "Cannot write to closing transport"
        raise ClientGone from error


def _broken_off(request: web.BaseRequest, error: MoongateError) -> BrokenOff:
    """Cut the connection, so that nobody takes what was sent for the whole; the error to raise."""
    if request.transport is not None:
        request.transport.abort()
    return BrokenOff(error)


class _Written:
    """Reads and writes, for transports that need to see the bytes."""

    def __init__(self, writer: AbstractStreamWriter) -> None:
        self._writer = writer

    async def begin(self, head: bytes) -> None:
        if head:
            await _write(self._writer, head)

    async def send(self, fd: int, offset: int, count: int) -> int:
        piece = await asyncio.to_thread(os.pread, fd, min(count, _TLS_BYTES), offset)
        await _write(self._writer, piece)
        return len(piece)


class _WrittenPieces:
    """As `_Written`, for a body in pieces."""

    def __init__(self, writer: AbstractStreamWriter, body: PiecedBody) -> None:
        self._writer = writer
        self._body = body

    async def begin(self, head: bytes) -> None:
        if head:
            await _write(self._writer, head)

    async def send_pieces(self, position: int, count: int) -> int:
        piece = await asyncio.to_thread(self._read, position, min(count, _TLS_BYTES))
        await _write(self._writer, piece)
        return len(piece)

    def _read(self, position: int, count: int) -> bytes:
        found = [
            bytes(piece)
            if isinstance(piece, memoryview)
            else os.pread(piece.fd, piece.size_bytes, piece.offset)
            for pieces in self._body.pieces(position, position + count)
            for piece in pieces
        ]
        return b"".join(found)


class Outlet:
    """The client's socket under a descriptor of our own, so that polling it leaves the transport alone.

    The client sees the connection's end only once this is closed, too.
    """

    def __init__(self, transport: asyncio.Transport, pool: ThreadPoolExecutor, couriers: Couriers) -> None:
        """Raises:
        ClientGone: the client left.
        """
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is None or transport.is_closing():
            raise ClientGone
        try:
            self._out = os.dup(sock.fileno())
        except OSError as error:
            raise ClientGone from error
        self._socket = socket.socket(sock.family, sock.type, sock.proto, self._out)
        self._transport = transport
        self._pool = pool
        self._couriers = couriers
        self._loop = asyncio.get_running_loop()
        self._patient = True

    @property
    def fd(self) -> int:
        """The descriptor."""
        return self._out

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()

    async def begin(self, head: bytes) -> None:
        """Send the head, told to the kernel to leave with the first bytes of the body.

        What the transport still holds goes first: what follows goes around it.
        """
        while self._transport.get_write_buffer_size() > 0:
            if self._transport.is_closing():
                raise ClientGone
            await self.writable()
        while head:
            sent = self.send_head(head)
            head = head[sent:]
            if head:
                await self.writable()

    def send_head(self, head: bytes) -> int:
        """Bytes of the head that the socket took. They leave at once: it wakes the reader, who looks at them
        while the file's bytes are on their way.
        """
        return self.send_bytes(head)

    def send_bytes(self, data: bytes, flags: int = int(socket.MSG_DONTWAIT)) -> int:
        """Bytes that the socket took; 0 when it is full.

        Raises:
            ClientGone: the client left.
        """
        try:
            return self._socket.send(data, flags)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientGone from error

    def start(self, head: bytes, fd: int, offset: int, count: int) -> tuple[bytes, int]:
        """Send a head and as much of a file as a turn allows, without waiting.

        Returns what is left of the head, and how many bytes of the file left.

        Raises:
            ClientGone: the client left.
            StoreError: the file is shorter than it should be.
        """
        taken = self.send_head(head)
        if taken < len(head):
            return head[taken:], 0
        return b"", self.sendfile(fd, offset, min(count, _TURN_BYTES))

    async def carry(self, sending: Sending) -> None:
        """Have a courier send all that is left.

        Raises:
            ClientGone: the client left, or does not read.
            StoreError: a file is shorter than it should be.
        """
        through: asyncio.Future[None] = self._loop.create_future()

        def done(error: Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and nobody waits
                self._loop.call_soon_threadsafe(_settle, through, error)

        self._couriers.carry(sending, done)
        try:
            await asyncio.shield(through)
        except asyncio.CancelledError:
            self._couriers.drop(sending, ClientGone())
            with contextlib.suppress(ClientGone, StoreError):
                await through
            raise
        except ReaderStands as error:
            self._transport.abort()
            raise ClientGone from error

    async def send(self, fd: int, offset: int, count: int) -> int:
        """Send some bytes of a file, at least one; how many."""
        if count <= _INLINE_BYTES:
            return await self._send_inline(fd, offset, count)
        sent, full = await self._loop.run_in_executor(
            self._pool, self._burst, fd, offset, min(count, _BURST_BYTES)
        )
        if full:
            await self.writable()
        return sent

    async def _send_inline(self, fd: int, offset: int, count: int) -> int:
        sent = 0
        while sent < count:
            more = self.sendfile(fd, offset + sent, count - sent)
            sent += more
            if more == 0:
                await self.writable()
            elif sent < count:
                await asyncio.sleep(0)
        return sent

    def _burst(self, fd: int, offset: int, count: int) -> tuple[int, bool]:
        """Send until the socket is full or the burst is done. Runs in a pool thread."""
        sent = 0
        while sent < count:
            more = self.sendfile(fd, offset + sent, min(count - sent, _CALL_BYTES))
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

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Bytes that the socket took; 0 when it is full.

        Raises:
            ClientGone: the client left.
            StoreError: the file is shorter than it should be.
        """
        try:
            sent = os.sendfile(self._out, fd, offset, count)
        except BlockingIOError:
            return 0
        except OSError as error:  # reset, broken pipe, or closed under us
            raise ClientGone from error
        if sent == 0:
            raise StoreError("a file in the store is shorter than it should be; run `moongate verify`")
        return sent

    async def writable(self) -> None:
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


class _PieceOutlet(Outlet):
    """The client's socket, for a body in pieces."""

    def __init__(
        self, transport: asyncio.Transport, body: PiecedBody, pool: ThreadPoolExecutor, couriers: Couriers
    ) -> None:
        super().__init__(transport, pool, couriers)
        self._body = body

    async def send_pieces(self, position: int, count: int) -> int:
        """Send some of it, at least a byte; how many.

        Raises:
            StoreError: there are none from this position on.
            ClientGone: the client left.
        """
        sent, full = await self._loop.run_in_executor(
            self._pool, self._burst_pieces, position, min(count, _BURST_BYTES)
        )
        if full:
            self._body.pause()
            await self.writable()
        return sent

    def _burst_pieces(self, position: int, count: int) -> tuple[int, bool]:
        sent = 0
        try:
            for pieces in self._body.pieces(position, position + count):
                for some in _joined(pieces):
                    more, full = self._put(some)
                    sent += more
                    if full:
                        self._patient = sent >= _CALL_BYTES
                        return sent, True
        except StoreError:
            if not sent:
                raise
        self._patient = True
        return sent, False

    def _put(self, some: FilePiece | list[memoryview]) -> tuple[int, bool]:
        """Send a piece of a file, or neighbours in memory; how much, and whether the reader fell behind."""
        sent = 0
        length = sum(map(len, some)) if isinstance(some, list) else some.size_bytes
        while sent < length:
            if isinstance(some, list):
                more = self._sendmsg(some)
                some = _without(some, more)
            else:
                more = self.sendfile(some.fd, some.offset + sent, min(length - sent, _CALL_BYTES))
            if more == 0 and not (self._patient and self._soon()):
                return sent, True
            sent += more
        return sent, False

    def _sendmsg(self, views: list[memoryview]) -> int:
        try:
            return self._socket.sendmsg(views, (), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientGone from error


def _joined(pieces: Sequence[Piece]) -> Iterator[FilePiece | list[memoryview]]:
    """The pieces, neighbours in memory together."""
    views: list[memoryview] = []
    for piece in pieces:
        if views and (not isinstance(piece, memoryview) or len(views) == _MOST_VIEWS):
            yield views
            views = []
        if isinstance(piece, memoryview):
            views.append(piece)
        else:
            yield piece
    if views:
        yield views


def _without(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of them after so many bytes."""
    for at, view in enumerate(views):
        if count < len(view):
            return [view[count:], *views[at + 1 :]]
        count -= len(view)
    return []


def _settle(through: asyncio.Future[None], error: Exception | None) -> None:
    if through.done():
        return
    if error is None:
        through.set_result(None)
    else:
        through.set_exception(error)


def _set(ready: asyncio.Future[bool], value: bool) -> None:
    if not ready.done():
        ready.set_result(value)
