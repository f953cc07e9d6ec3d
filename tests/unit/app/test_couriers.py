"""Bodies carried by threads: whole, to slow and leaving readers, dropped, of files that are too short."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from moongate.app.couriers import Couriers, ReaderStands
from moongate.app.sendfile import ClientGone, FileSender, Outlet, Sending
from moongate.core.errors import StoreError

MIB = 1 << 20
SIZE = 24 * MIB + 7


class _Span(NamedTuple):
    fd: int
    offset: int
    size_bytes: int


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(MIB) * 24 + b"the end"


@pytest.fixture
def fd(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
async def way() -> AsyncIterator[Callable[[], Any]]:
    """Makes an outlet, and the stream at its other end."""
    sender, writers, outlets = FileSender(), list[asyncio.StreamWriter](), list[Outlet]()

    async def make() -> tuple[Outlet, asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        _, writer = await asyncio.open_connection(sock=ours)
        reader, far = await asyncio.open_connection(sock=theirs, limit=MIB)
        writers.extend((writer, far))
        outlets.append(sender.outlet(writer.transport))  # type: ignore[arg-type]
        return outlets[-1], reader, far

    yield make
    for outlet in outlets:
        outlet.close()
    for writer in writers:
        writer.transport.abort()
    sender.close()


async def test_a_head_and_pieces_of_files_and_memory_arrive_in_order(
    way: Callable[[], Any], fd: int, content: bytes
) -> None:
    outlet, reader, _ = await way()
    pieces = [b"first", _Span(fd, 0, SIZE), b"second", _Span(fd, 5, 3), b"last"]
    sending = Sending(outlet, b"head", pieces)
    assert not sending.begin(), "no socket takes so much at once"
    wanted = b"headfirst" + content + b"second" + content[5:8] + b"last"
    finished = asyncio.ensure_future(sending.finish())
    assert await reader.readexactly(len(wanted)) == wanted
    await finished
    assert sending.sent_bytes == len(wanted) - len(b"head")


async def test_one_that_fits_needs_no_thread(way: Callable[[], Any], fd: int, content: bytes) -> None:
    outlet, reader, _ = await way()
    assert Sending(outlet, b"head", [_Span(fd, 10, 1000), b"!"]).begin()
    assert await reader.readexactly(1005) == b"head" + content[10:1010] + b"!"


async def test_readers_of_one_thread_do_not_wait_for_each_other(
    way: Callable[[], Any], fd: int, content: bytes
) -> None:
    """Ten readers that stand still, more than there are threads, and one that reads."""
    standing = []
    for _ in range(10):
        outlet, _, _ = await way()
        sending = Sending(outlet, b"", [_Span(fd, 0, SIZE)])
        sending.begin()
        standing.append(asyncio.ensure_future(sending.finish()))
    outlet, reader, _ = await way()
    sending = Sending(outlet, b"", [_Span(fd, 0, SIZE)])
    sending.begin()
    finished = asyncio.ensure_future(sending.finish())
    assert await reader.readexactly(SIZE) == content
    await finished
    assert not any(one.done() for one in standing)
    for one in standing:
        one.cancel()
    assert all(
        isinstance(one, asyncio.CancelledError)
        for one in await asyncio.gather(*standing, return_exceptions=True)
    )


async def test_a_reader_who_leaves_ends_it(way: Callable[[], Any], fd: int) -> None:
    outlet, reader, far = await way()
    sending = Sending(outlet, b"", [_Span(fd, 0, SIZE)])
    sending.begin()
    finished = asyncio.ensure_future(sending.finish())
    await reader.readexactly(1000)
    far.transport.abort()
    with pytest.raises(ClientGone):
        await finished
    assert sending.sent_bytes < SIZE


async def test_a_file_that_is_too_short_is_told(way: Callable[[], Any], tmp_path: Path, fd: int) -> None:
    outlet, reader, _ = await way()
    sending = Sending(outlet, b"", [_Span(fd, MIB, SIZE)])
    sending.begin()
    finished = asyncio.ensure_future(sending.finish())
    assert len(await reader.readexactly(SIZE - MIB)) == SIZE - MIB
    with pytest.raises(StoreError):
        await finished


async def test_who_stands_still_for_long_is_given_up(fd: int) -> None:
    class Standing:
        socket_fd = -1

        def step(self) -> int:
            return 0

    ours, theirs = socket.socketpair()
    load, told = Standing(), asyncio.get_running_loop().create_future()
    load.socket_fd = ours.fileno()
    loop = asyncio.get_running_loop()
    couriers = Couriers(stall_seconds=0.0, look_seconds=0.0)
    couriers.carry(load, lambda error: loop.call_soon_threadsafe(told.set_result, error))
    assert isinstance(await told, ReaderStands)
    couriers.close()
    ours.close()
    theirs.close()


async def test_stopping_tells_those_who_wait(way: Callable[[], Any], fd: int) -> None:
    ours, theirs = socket.socketpair()
    couriers, told = Couriers(), list[Exception | None]()

    class Full:
        socket_fd = ours.fileno()

        def step(self) -> int:
            return 0

    couriers.carry(Full(), told.append)
    couriers.close()
    assert [type(error) for error in told] == [ReaderStands]
    ours.close()
    theirs.close()
