"""`/-/live`: what the gateway does, as server-sent events, for as long as somebody looks.

One event every two seconds, and none where nothing changed. A stream ends by itself after some minutes, and
at once when the gateway stops; browsers come back on their own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import web

from moongate.app.exchange import Exchange
from moongate.app.pages.home import filling
from moongate.app.pages.pulse import Pulse
from moongate.app.replies import SERVER
from moongate.core.errors import NotAllowed
from moongate.web.words import share_words, size_words

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_EVERY_SECONDS: Final = 2.0
_ROUNDS: Final = 150
_MOST_STREAMS: Final = 64
_SILENT_ROUNDS: Final = 7


class Live:
    """The stream of states. Each process tells its own fills, and the counters of all."""

    def __init__(self, gateway: Gateway, pulse: Pulse) -> None:
        self._gateway = gateway
        self._pulse = pulse
        self._stopping = asyncio.Event()
        self._streams = 0

    def stop(self) -> None:
        """End every stream, and begin no other."""
        self._stopping.set()

    async def stream(self, exchange: Exchange) -> web.StreamResponse:
        """Sends states until the visitor leaves.

        Raises:
            NotAllowed: there are too many streams already.
        """
        if self._streams >= _MOST_STREAMS:
            raise NotAllowed("Too many pages follow this gateway already.")
        headers = {
            "Server": SERVER[1],
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Accel-Buffering": "no",
        }
        response = web.StreamResponse(headers=headers)
        exchange.status = 200
        await response.prepare(exchange.request)
        self._streams += 1
        try:
            await self._send(response)
        finally:
            self._streams -= 1
        response.force_close()
        await response.write_eof()
        return response

    async def _send(self, response: web.StreamResponse) -> None:
        before, silent = b"", 0
        await response.write(b"retry: 3000\n\n")
        for _ in range(_ROUNDS):
            said = orjson.dumps({**self._state(), **await asyncio.to_thread(self._pulse.state)})
            if said != before or silent >= _SILENT_ROUNDS:
                # the same again now and then: a visitor who is gone is noticed only by writing
                await response.write(b"event: state\ndata: %b\n\n" % said)
                before, silent = said, 0
            else:
                silent += 1
            try:
                await asyncio.wait_for(self._stopping.wait(), _EVERY_SECONDS)
            except TimeoutError:
                continue
            return

    def _state(self) -> dict[str, object]:
        totals = self._gateway.metrics.totals()
        return {
            "requests": f"{totals.requests:,.0f}",
            "share": share_words(totals.hits, totals.requests),
            "served": size_words(totals.served_bytes),
            "fetched": size_words(totals.fetched_bytes),
            "filling": [
                [
                    line.name,
                    f"{size_words(line.present_bytes)} of {size_words(line.size_bytes)}",
                    line.present_bytes / line.size_bytes if line.size_bytes else 0,
                ]
                for line in filling(self._gateway)
            ],
        }
