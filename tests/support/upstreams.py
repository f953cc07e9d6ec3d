"""Small upstreams that answer as a test tells them, and the client that asks them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from moongate.upstream.client import UpstreamClient
from moongate.upstream.guard import AddressGuard

Answering = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Told:
    """An upstream on loopback: its address and the requests it has had."""

    url: str
    requests: list[web.BaseRequest] = field(default_factory=list)

    @property
    def netloc(self) -> str:
        return self.url.removeprefix("http://")


@asynccontextmanager
async def upstream(answer: Answering) -> AsyncIterator[Told]:
    """An upstream that answers every request so."""
    told = Told("")

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        told.requests.append(request)
        return await answer(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    told.url = f"http://{host}:{port}"
    try:
        yield told
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(
    origin: str, *allowed: str, timeout_seconds: float = 30.0, offline: bool = False, **environment: str
) -> AsyncIterator[UpstreamClient]:
    """A client of that origin in that environment (proxies), closed at the end."""
    guard = AddressGuard(origin, allowed, environment)
    client = UpstreamClient(
        origin, guard, timeout_seconds=timeout_seconds, user_agent="moongate/test", offline=offline
    )
    try:
        yield client
    finally:
        await client.close()
