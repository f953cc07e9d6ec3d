"""A door of the double: one listening origin, from the raw request to the delivered reply.

The order is always the same: note the request, let faults answer instead, let the handler answer, let faults
rewrite the answer, add what every answer of that origin carries, deliver.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from aiohttp import web

from moongate.double.ask import Ask
from moongate.double.delivery import Delivery, Ended
from moongate.double.faults import Fault, FaultDesk, Shape
from moongate.double.meters import Meters, RequestRecord
from moongate.double.reply import Refusal, Reply, not_modified, redirect_reply
from moongate.double.users import token_of
from moongate.double.world import Moved, World

Handler = Callable[[Ask], Awaitable[Reply]]

_UNINTERESTING = {"connection", "host"}
_EXPOSED = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,"
    "X-Linked-Size,X-Linked-ETag,X-Xet-Hash"
)
_numbers = itertools.count(1)


class Door:
    """One origin (hub, cdn, cas or control): its listening socket and the requests that come in."""

    def __init__(
        self, origin: str, handler: Handler, world: World, meters: Meters, desk: FaultDesk, delivery: Delivery
    ) -> None:
        self.origin = origin
        self.host = "127.0.0.1"
        self.port = 0
        self._handler = handler
        self._world = world
        self._meters = meters
        self._desk = desk
        self._delivery = delivery
        self._connections: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        self._listening: asyncio.Server | None = None
        self._place: socket.socket | None = None
        self._server: web.Server | None = None

    async def open(self) -> None:
        """Listen; a port of 0 becomes the port found, so that closing and opening keeps it. Twice is once."""
        if self._listening is not None:
            return
        if self._server is None:
            self._server = web.Server(
                self._answer, access_log=None, max_line_size=1 << 16, max_field_size=1 << 16, max_headers=1000
            )
        loop = asyncio.get_running_loop()
        self._give_up_place()
        self._listening = await loop.create_server(self._server, self.host, self.port, backlog=1024)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and break off every connection; the port stays ours. Twice is once."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self._keep_place()
        for transport in list(self._connections):
            if not transport.is_closing():
                _shut(transport)

    async def end(self) -> None:
        """Close for good."""
        await self.close()
        self._give_up_place()
        if self._server is not None:
            await self._server.shutdown(0.2)
            self._server = None

    def _keep_place(self) -> None:
        """Let nobody who asks for any free port have this one: who calls us must find nobody there."""
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody was faster; opening will tell
            self._place.bind((self.host, self.port))

    def _give_up_place(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        ask = self._ask(request)
        record = self._record(ask)
        if self.origin != "control":
            self._meters.open(record)
        complete = False
        try:
            struck = self._desk.strike(ask) if self.origin != "control" else []
            record.faults = [type(fault).__name__ for _, fault in struck]
            reply = await self._reply(ask, [fault for _, fault in struck])
            record.user = ask.user.name if ask.user else None
            response = await self._delivery.send(request, reply, _shape(struck), record)
            complete = True
        except Ended:
            response = web.Response(status=500)  # never sent: the connection is gone
        finally:
            self._meters.close(record, complete)
        return response

    def _ask(self, request: web.BaseRequest) -> Ask:
        raw = request.raw_path
        if "://" in raw.partition("?")[0][:8]:
            raw = "/" + raw.split("://", 1)[1].partition("/")[2]
        path, _, query = raw.partition("#")[0].partition("?")
        transport = request.transport
        number = 0
        if transport is not None:
            number = self._connections.get(transport) or next(_numbers)
            self._connections[transport] = number
        return Ask(self.origin, request.method, path, query, request.headers, request, number)

    def _record(self, ask: Ask) -> RequestRecord:
        headers = {
            "".join(name): value for name, value in ask.headers.items() if name.lower() not in _UNINTERESTING
        }
        return RequestRecord(
            0,
            ask.origin,
            ask.connection,
            ask.method,
            ask.path,
            ask.query_string,
            headers,
            None,
            time.monotonic(),
        )

    async def _reply(self, ask: Ask, struck: list[Fault]) -> Reply:
        try:
            reply = await self._instead(ask, struck) or await self._handled(ask)
        except Refusal as refusal:
            reply = refusal.reply()
        except Moved as moved:
            old = re.compile(rf"/{re.escape(moved.old)}(?=[/.?]|$)")
            reply = redirect_reply(old.sub(f"/{moved.new}", ask.target, count=1), 307)
        if self.origin == "hub":
            self._dress(ask, reply)
        for fault in struck:
            fault.rewrite(ask, reply)
        return reply

    async def _instead(self, ask: Ask, struck: list[Fault]) -> Reply | None:
        for fault in struck:
            reply = fault.instead(ask, self._world)
            if reply is not None:
                return reply
        return None

    async def _handled(self, ask: Ask) -> Reply:
        if self.origin == "hub":
            self._identify(ask)
            if ask.method == "OPTIONS":
                return Reply(
                    204, {"Access-Control-Allow-Methods": "GET,HEAD,POST,PUT,DELETE", "Allow": "GET,HEAD"}
                )
        reply = await self._handler(ask)
        etag = reply.headers.get("ETag", "").removeprefix("W/").strip('"')
        asked = ask.headers.get("If-None-Match") if ask.method in ("GET", "HEAD") else None
        if reply.status == 200 and etag and reply.conditional and not_modified(asked, etag):
            return Reply(304, {k: v for k, v in reply.headers.items() if not k.startswith("Content-")})
        return reply

    def _identify(self, ask: Ask) -> None:
        token = token_of(ask.headers.get("Authorization"))
        if token is None:
            return
        ask.user = self._world.users.by_token(token)
        if ask.user is None and self._world.settings.reject_bad_tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")

    def _dress(self, ask: Ask, reply: Reply) -> None:
        common = {
            "X-Powered-By": "huggingface-moon",
            "X-Request-Id": f"Root=1-{next(_numbers):08x}-double",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "strict-origin-when-cross-origin",
            "Access-Control-Allow-Origin": ask.headers.get("Origin", "https://huggingface.co"),
            "Access-Control-Expose-Headers": _EXPOSED,
            "Access-Control-Max-Age": "86400",
            "Vary": "Origin",
        }
        reply.headers = common | reply.headers


def _shut(transport: asyncio.BaseTransport) -> None:
    """End a connection at once, also for a delivery that waits on its own descriptor of the same socket."""
    with suppress(OSError):
        transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _shape(struck: list[tuple[int, Fault]]) -> Shape:
    shape = Shape()
    for number, fault in struck:
        before = shape.stall_after_bytes
        fault.shape(shape)
        if shape.stall_after_bytes is not None and before is None:
            shape.stall_fault = number
    return shape
