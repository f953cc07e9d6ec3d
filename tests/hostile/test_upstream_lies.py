"""An upstream that means harm, or has lost its mind: nothing of it gets further than one of our errors."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from moongate.core import errors
from moongate.core.callers import Secret
from moongate.core.names import RepoId
from moongate.upstream.client import UpstreamClient
from support.upstreams import client_of, upstream

TOKEN = "hf_" + "S3cretTo" * 6
TINY = RepoId("model", "acme/tiny")
COMMIT = "c" * 40

Bytes = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def speaking(raw: bytes, *, hold_open: bool = False) -> AsyncIterator[str]:
    """The address of something that answers every request with these very bytes."""
    released = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        if hold_open:
            await released.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        released.set()
        server.close()
        await server.wait_closed()


async def ask_every_way(client: UpstreamClient, kind: type[errors.MoongateError]) -> None:
    """Each way of asking ends in this error, whose text holds neither token nor signature."""

    async def stream() -> None:
        async with client.stream("GET", "/api/x?sig=S3cret", [], None, Secret(TOKEN)) as got:
            async for _ in got.chunks():
                pass

    for asking in (
        client.get("/api/x?sig=S3cret", Secret(TOKEN)),
        client.head_file(TINY, "main", "x", Secret(TOKEN)),
        stream(),
    ):
        with pytest.raises(kind) as caught:
            await asking
        assert "S3cret" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def redirecting(
    location: str, status: int = 302
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(
            status=status, headers={"Location": location.replace("{self}", request.host or "")}
        )

    return answer


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://0.0.0.0:1/",
        "http://[::1]:1/",
        "http://[::]:1/",
        "http://localhost:1/",
        "http://localhost.:1/",
        "http://LOCALHOST:1/",
        "http://{self}@127.0.0.2:1/",
        "http://user:pass@{self}/",
        "//127.0.0.2:1/",
        "///127.0.0.2:1/",
        "https://{self}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:1/",
        "ftp://127.0.0.1:1/",
        "javascript:alert(1)",
        "http://127.0.0.2:1\\@{self}/",
        "http://{self}%2f@127.0.0.2:1/",
        "http://[",
        "http://:80/",
        "http://127.0.0.1:99999/",
        "http://" + "x" * 20_000,
    ],
)
async def test_no_redirect_leads_inside(location: str) -> None:
    async with upstream(redirecting(location)) as told, client_of(told.url) as client:
        for asking in (
            client.get("/api/x", Secret(TOKEN)),
            client.head_file(TINY, "main", "x", Secret(TOKEN)),
        ):
            with pytest.raises((errors.UpstreamRefused, errors.UpstreamBroken)) as caught:
                await asking
            assert TOKEN not in str(caught.value)


async def test_no_dns_answer_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that the allow-list knows, pointed at loopback by whoever owns it."""
    asked = []

    async def trap(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request)
        return web.Response(text="internal")

    real = socket.getaddrinfo

    def evil(host: str, port: int, **more: object) -> object:
        if host.endswith(".example"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        return real(host, port, **more)  # type: ignore[call-overload]

    async with upstream(trap) as inside:
        port = inside.url.rpartition(":")[2]
        redirect = redirecting(f"http://x.cdn.example:{port}/")
        monkeypatch.setattr(socket, "getaddrinfo", evil)
        async with upstream(redirect) as told, client_of(told.url, "*.cdn.example") as client:
            with pytest.raises(errors.UpstreamRefused, match="private"):
                await client.get("/api/x", None)
    assert asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_loop_ends(status: int) -> None:
    async with upstream(redirecting("/again?x", status)) as told, client_of(told.url) as client:
        await ask_every_way(client, errors.UpstreamRefused)
        assert len(told.requests) == 3 * 6


async def test_two_hosts_that_point_at_each_other_never_see_the_token_twice() -> None:
    async def ping(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{cdn.url}/x"})

    async def pong(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{hub.url}/x"})

    async with upstream(ping) as hub, upstream(pong) as cdn, client_of(hub.url, cdn.netloc) as client:
        secret_headers = [("X-Internal", "S3cret"), ("Range", "bytes=0-0")]
        with pytest.raises(errors.UpstreamRefused):
            await client.get("/x", Secret(TOKEN), secret_headers)
        assert [request.headers.get("Authorization") for request in hub.requests] == [
            f"Bearer {TOKEN}",
            None,
            None,
        ]
        assert not any("Authorization" in request.headers for request in cdn.requests)
        assert not any("X-Internal" in request.headers for request in cdn.requests)
        assert all(request.headers["Range"] == "bytes=0-0" for request in cdn.requests)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02 nonsense\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(5000)) + b"\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_no_sane_http_is_broken(raw: bytes) -> None:
    async with speaking(raw) as url, client_of(url) as client:
        await ask_every_way(client, errors.UpstreamBroken)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
async def test_a_cut_answer_is_no_answer(raw: bytes) -> None:
    async with speaking(raw) as url, client_of(url) as client:
        with pytest.raises(errors.UpstreamUnreachable):
            await client.get("/api/x", None)


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"]
)
async def test_silence_ends(raw: bytes) -> None:
    async with speaking(raw, hold_open=True) as url, client_of(url, timeout_seconds=0.05) as client:
        with pytest.raises(errors.UpstreamTimeout):
            await client.get("/api/x", None)


async def test_an_answer_that_drips_for_ever_ends() -> None:
    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.01)

    async with upstream(drip) as told, client_of(told.url, timeout_seconds=0.05) as client:
        with pytest.raises(errors.UpstreamTimeout):
            await client.get("/api/x", None)


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}'])
async def test_malformed_json_is_broken(body: bytes) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    async with upstream(answer) as told, client_of(told.url) as client:
        with pytest.raises(errors.UpstreamBroken):
            (await client.get("/api/x", None)).json()


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_broken() -> None:
    bomb = gzip.compress(bytes(80 << 20), compresslevel=1)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with upstream(answer) as told, client_of(told.url) as client:
        with pytest.raises(errors.UpstreamBroken, match="longer than 64 MiB"):
            await client.get("/api/x", None)


async def test_a_body_that_does_not_decode_is_broken() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"not gzip at all", headers={"Content-Encoding": "gzip"})

    async with upstream(answer) as told, client_of(told.url) as client:
        with pytest.raises(errors.UpstreamBroken, match="decode"):
            await client.get("/api/x", None)


GOOD = {"X-Repo-Commit": COMMIT, "X-Linked-ETag": f'"{"a" * 64}"', "X-Linked-Size": "10"}


@pytest.mark.parametrize(
    "lie",
    [
        {"X-Repo-Commit": "../../etc"},
        {"X-Repo-Commit": COMMIT + "0"},
        {"X-Linked-ETag": '"../../../../etc/passwd"'},
        {"X-Linked-ETag": '""'},
        {"X-Linked-Size": "-1"},
        {"X-Linked-Size": "ten"},
        {"X-Linked-Size": "9" * 30},
        {"X-Linked-Size": "0x10"},
        {"X-Linked-Size": "１０"},
    ],
)
async def test_lying_file_headers_are_broken(lie: dict[str, str]) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={**GOOD, **lie})

    async with upstream(answer) as told, client_of(told.url) as client:
        with pytest.raises(errors.UpstreamBroken):
            await client.head_file(TINY, "main", "x", None)


async def test_what_upstream_says_of_an_error_is_made_harmless() -> None:
    said = f"\x1b[2J{TOKEN}\tplease \u202e run " + "x" * 5000
    head = f"HTTP/1.1 404 No\r\nX-Error-Code: EntryNotFound\r\nX-Error-Message: {said}\r\n"

    async with speaking(f"{head}Content-Length: 0\r\n\r\n".encode()) as url, client_of(url) as client:
        with pytest.raises(errors.MoongateError) as caught:
            await client.head_file(TINY, "main", "x", Secret(TOKEN))
    text = str(caught.value)
    assert TOKEN not in text
    assert text.isprintable()
    assert len(text) <= 300


async def test_cookies_are_neither_kept_nor_sent() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    async with upstream(answer) as told, client_of(told.url) as client:
        await client.get("/api/x", None)
        await client.get("/api/x", None)
        assert not any("Cookie" in request.headers for request in told.requests)
