"""Connections: aiohttp's server with our limits, and a fast lane that answers without a task.

A long answer of the lane is sent past aiohttp; meanwhile the connection reads no further request, counts as
busy, and closes only after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from moongate.app.exchange import Exchange, begin
from moongate.app.lane import FastLane, LongAnswer, PiecedAnswer, Repeat
from moongate.app.repeats import LastHead
from moongate.app.replies import error_reply
from moongate.app.sendfile import ClientGone, FileSpan, Outlet, Sending
from moongate.core.errors import MoongateError

MAX_TARGET_BYTES = 8190
MAX_FIELD_BYTES = 16 * 1024

_LINGER_SECONDS = 5.0

log = structlog.get_logger("moongate.server")


class FrontDoor(web.Server):
    """aiohttp's low-level server with our limits, a fast lane, our words for malformed ones, and a drain."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Any],
        lane: FastLane | None = None,
        silence_seconds: float = 75.0,
        note: Callable[[Exchange], None] = lambda _: None,
        draining: Callable[[], None] = lambda: None,
    ) -> None:
        """`silence_seconds`: how long a client may take for the head of its next request, and between pieces
        of a body. `note` hears of requests that never reached the handler: not HTTP, or too long. `draining`
        is called when no more requests are taken, so that answers without an end can end.
        """
        self.lane = lane
        self.note = note
        self._draining = draining
        super().__init__(
            handler,
            access_log=None,
            logger=logging.getLogger("moongate.http"),
            keepalive_timeout=silence_seconds,
            lingering_time=min(_LINGER_SECONDS, silence_seconds),
            max_line_size=MAX_TARGET_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            auto_decompress=False,
        )

    def accept(self) -> RequestHandler:
        """The protocol of a new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    async def drain(self, seconds: float) -> None:
        """Closes idle connections at once and busy ones after their response, or after so many seconds."""
        self._draining()
        self.pre_shutdown()
        await self.shutdown(seconds)


class _Connection(RequestHandler):
    __slots__ = (
        "_close_wanted",
        "_early",
        "_lane",
        "_last_head",
        "_outlet",
        "_reading",
        "_sending",
        "_taken_out",
    )

    def __init__(self, manager: FrontDoor, **options: Any) -> None:
        super().__init__(manager, **options)
        self._lane = manager.lane
        self._sending: asyncio.Task[None] | None = None
        self._outlet: Outlet | None = None
        self._early = b""
        self._close_wanted = False
        self._last_head: LastHead[Repeat] = LastHead()
        self._taken_out = _LaneParser(self._parser, self)
        if self._lane is not None:
            self._parser = cast(Any, self._taken_out)

    def data_received(self, data: bytes) -> None:
        """Takes bytes in: those of a client that was faster than the end of its last answer a turn later.

        Else a quick client would never meet an idle connection, and never get into the lane.
        """
        if self._early:
            self._early += data
        elif self._lane is not None and self._waiter is None and self._is_winding_up():
            self._early = data
            self._loop.call_soon(self._take_early)
        elif not self._answered_again(data):
            super().data_received(data)

    def _answered_again(self, data: bytes) -> bool:
        """Answers a request that was asked before in the same bytes, but for its range."""
        lane, transport = self._lane, self.transport
        if lane is None or transport is None or self._last_head.known is None:
            return False
        if not (self._taken_out.is_between and self._is_idle(transport)):
            return False
        try:
            answer = lane.again(self._last_head, data)
        except Exception as error:
            log.error("the fast lane failed", exc_info=error)
            return False
        if answer is None:
            return False
        self._give(lane, transport, answer)
        return True

    def _is_idle(self, transport: asyncio.Transport) -> bool:
        """Whether an answer can be given at once: nothing comes before it on this connection."""
        waiter = self._waiter
        free = waiter is not None and not waiter.done() and not self._messages and self._sending is None
        return free and not transport.get_write_buffer_size()

    def _is_winding_up(self) -> bool:
        """Whether the last request was answered; asked while aiohttp does not wait for the next one."""
        return self._current_request is None and not self._messages

    def _take_early(self) -> None:
        data, self._early = self._early, b""
        if self.transport is not None:
            super().data_received(data)

    def answered_in_lane(self, message: RawRequestMessage, head: bytes) -> bool:
        """Answers a request at once, if nothing comes before it on this connection and the lane can.

        `head`: see `FastLane.answer`.
        """
        transport, lane = self.transport, self._lane
        if lane is None or transport is None or not self._is_idle(transport):
            return False
        peer = self.peername
        try:
            answer = lane.answer(message, peer[0] if isinstance(peer, tuple) else None, head, self._last_head)
        except Exception as error:
            # the ordinary way answers, with a coded error if need be
            log.error("the fast lane failed", path=message.path[:512], exc_info=error)
            return False
        if answer is None:
            return False
        self._give(lane, transport, answer)
        return True

    def _give(
        self, lane: FastLane, transport: asyncio.Transport, answer: bytes | LongAnswer | PiecedAnswer
    ) -> None:
        if isinstance(answer, bytes):
            transport.write(answer)
        else:
            self._send(lane, transport, answer)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def _send(self, lane: FastLane, transport: asyncio.Transport, answer: LongAnswer | PiecedAnswer) -> None:
        """Sends what the socket takes at once; the rest is carried, while no further request is read."""
        assert lane.sender is not None  # noqa: S101 - a lane without one makes no long answers
        sent = 0
        try:
            if self._outlet is None:
                self._outlet = lane.sender.outlet(transport)
            if isinstance(answer, LongAnswer):
                size_bytes = answer.end - answer.start
                head, sent = self._outlet.start(answer.head, answer.body.fd, answer.start, size_bytes)
                if sent == size_bytes:
                    lane.sent(answer, sent)
                    return
                left = FileSpan(answer.body.fd, answer.start + sent, size_bytes - sent)
                rest = Sending(self._outlet, head, [left], sent)
            else:
                rest = Sending(self._outlet, answer.head, answer.pieces)
                if rest.begin():
                    lane.sent(answer, rest.sent_bytes)
                    return
        except (ClientGone, MoongateError) as error:
            self._broken_off(lane, answer, sent, error)
            return
        transport.pause_reading()
        self._reading = lane.begins(answer, transport)
        self._sending = self._loop.create_task(self._send_rest(lane, transport, answer, rest))

    async def _send_rest(
        self, lane: FastLane, transport: asyncio.Transport, answer: LongAnswer | PiecedAnswer, rest: Sending
    ) -> None:
        try:
            await rest.finish()
        except (ClientGone, MoongateError, asyncio.CancelledError) as error:
            self._sending = None
            lane.ended(self._reading)
            self._broken_off(lane, answer, rest.sent_bytes, error)
            return
        self._sending = None
        lane.ended(self._reading)
        lane.sent(answer, rest.sent_bytes)
        if self.transport is None:
            self._close_outlet()
            return
        if self._close_wanted or transport.is_closing():
            super().close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        transport.resume_reading()

    def _close_outlet(self) -> None:
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    def _broken_off(
        self, lane: FastLane, answer: LongAnswer | PiecedAnswer, sent_bytes: int, error: BaseException
    ) -> None:
        why = (
            f"{type(error).__name__}: {error.message}" if isinstance(error, MoongateError) else "client left"
        )
        lane.sent(answer, sent_bytes, why)
        if self.transport is None:
            self._close_outlet()
        else:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Lets go of the socket for good, or once the answer that is on its way notices."""
        super().connection_lost(exc)
        if self._sending is None:
            self._close_outlet()

    def close(self) -> None:
        """Closes after the answer that is on its way, or now."""
        self._close_wanted = True
        if self._sending is None:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Waits for the answer that is on its way, then closes."""
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=timeout)
            if self._sending is not None:
                self._sending.cancel()
        await super().shutdown(timeout)

    def _process_keepalive(self) -> None:
        if self._sending is not None:  # a connection with an answer on its way is not idle
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What a request that is not HTTP, or too long, is told.

        Raises:
            ConnectionError: the exchange was broken off and is logged already; nothing can be told any more.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        exchange = begin(request)
        if isinstance(exc, LineTooLong):
            if exc.args[1] == MAX_TARGET_BYTES:
                status, code, words = 414, "UriTooLong", f"The URL is longer than {MAX_TARGET_BYTES} bytes."
            else:
                status, code, words = (
                    431,
                    "HeaderTooLong",
                    f"A header is longer than {MAX_FIELD_BYTES} bytes.",
                )
        elif isinstance(exc, BadHttpMessage) and "Too many headers" in exc.message:
            status, code, words = 431, "HeaderTooLong", "There are too many headers."
        elif status < 500:
            status, code, words = 400, "BadRequest", "This is not a well-formed HTTP request."
        else:
            log.error("connection failed", exc_info=exc)
            code, words = "InternalError", "Something broke inside the gateway."
        if request.writer.output_size:
            raise ConnectionResetError("an answer was already on its way")
        exchange.method, exchange.path, exchange.route = "-", "-", "malformed"
        exchange.error, exchange.status = code, status
        cast(FrontDoor, self._manager).note(exchange)
        reply = error_reply(status, code, words, exchange.request_id)
        reply.force_close()
        return reply


class _LaneParser:
    """The connection's parser, with the requests taken out that the fast lane answered.

    is_between: whether whatever comes next begins a request.
    """

    __slots__ = ("_connection", "_real", "is_between", "message_consumed")

    def __init__(self, real: Any, connection: _Connection) -> None:
        self._real = real
        self._connection = connection
        self.is_between = True
        self.message_consumed = real.message_consumed

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        began, self.is_between = self.is_between, False
        messages, upgraded, tail = self._real.feed_data(data)
        whole = bool(messages) and messages[-1][1] is EMPTY_PAYLOAD and data.endswith(b"\r\n\r\n")
        self.is_between = whole and not upgraded
        plain = len(messages) == 1 and not upgraded and messages[0][1] is EMPTY_PAYLOAD
        head = data if began and self.is_between else b""
        if plain and self._connection.answered_in_lane(messages[0][0], head):
            self.message_consumed()
            return (), False, tail
        return messages, upgraded, tail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
