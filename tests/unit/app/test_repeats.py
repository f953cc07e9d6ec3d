"""Requests that come again in the same bytes: answered as the first was, and never as somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage

from moongate.app.connection import _Connection, _LaneParser
from moongate.app.door import DoorRules
from moongate.app.lane import FastLane
from moongate.app.repeats import NO_RANGE, LastHead
from moongate.app.tokens import mint
from support.house import House, open_house

LARGE = bytes(range(256)) * 2048
URL = "/acme/tiny/resolve/main/model.safetensors"
INFO = "/api/models/acme/tiny"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, lane_seconds=600.0) as opened:
        opened.hub.contents = {"model.safetensors": LARGE}
        opened.hub.lfs = {"model.safetensors"}
        opened.hub.files_in_memory = True
        opened.hub.memory = opened.hub.answer_value
        yield opened


class Client:
    """One connection that says these very bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def of(cls, house: House) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", house.port))

    async def ask(self, *lines: str, path: str = URL, method: str = "GET") -> tuple[int, bytes]:
        head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""))
        self._writer.write(head.encode("utf-8", "surrogateescape"))
        told = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 60)).decode().lower()
        length = int(told.partition("content-length: ")[2].partition("\r\n")[0])
        body = b"" if method == "HEAD" else await asyncio.wait_for(self._reader.readexactly(length), 60)
        return int(told.split()[1]), body


@pytest.mark.parametrize("spelled", ["Range", "range"])
async def test_ranges_of_one_file_are_looked_up_once(house: House, spelled: str) -> None:
    client = await Client.of(house)
    await client.ask()  # the first one of a Host goes the ordinary way
    hits = house.hub.lane_hits
    for first, last in ((0, 0), (5, 90_000), (400_000, 524_287), (7, 8)):
        answer = await client.ask(f"{spelled}: bytes={first}-{last}")
        assert answer == (206, LARGE[first : last + 1])
    assert await client.ask() == (200, LARGE)
    assert await client.ask() == (200, LARGE)
    assert house.hub.lane_hits == hits + 1
    house.hub.forget()
    assert await client.ask(f"{spelled}: bytes=3-4") == (206, LARGE[3:5])
    assert house.hub.lane_hits == hits + 2


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=5-4", 200),
        ("bytes=524288-524290", 416),
        ("bytes=0-3,6-9", 206),
        ("bytes=-4", 206),
        ("bytes=10-99999999", 206),
        ("bytes=0-99999999999999999999999", 206),
    ],
)
async def test_odd_ranges_are_answered_as_ever(house: House, asked: str, status: int) -> None:
    client = await Client.of(house)
    for _ in range(3):
        assert (await client.ask("Range: bytes=1-2"))[1] == LARGE[1:3]
        first = await client.ask(f"Range: {asked}")
        assert first[0] == status
    second = await (await Client.of(house)).ask(f"range:  {asked}")
    assert second[0] == status
    assert len(second[1]) == len(first[1])


async def test_metadata_comes_again(house: House) -> None:
    client = await Client.of(house)
    told = [await client.ask(path=INFO, method=method) for method in ("GET", "HEAD", "GET", "HEAD", "GET")]
    assert told[0] == told[2] == told[4] == (200, house.hub.answer_value.body)
    assert told[1] == told[3] == (200, b"")
    assert house.hub.lane_hits == 2, "the first went the ordinary way, then one look for each method"
    assert len(house.log_text().splitlines()) == 5


async def in_the_lane(house: House) -> Client:
    """A client whose requests the lane answers: the first ones of a connection may go the ordinary way."""
    client = await Client.of(house)
    while not house.hub.lane_hits:
        assert (await client.ask("Range: bytes=1-2"))[1] == LARGE[1:3]
    return client


async def test_what_may_pass_no_longer_is_looked_up_anew(house: House) -> None:
    client = await in_the_lane(house)
    hits = house.hub.lane_hits
    house.hub.guard_serial, house.hub.changes = 1, 1
    assert (await client.ask("Range: bytes=1-2"))[1] == LARGE[1:3]
    assert house.hub.lane_hits == hits + 1
    house.hub.changes = 2
    assert (await client.ask("Range: bytes=1-2"))[1] == LARGE[1:3]
    assert house.hub.lane_hits == hits + 1, "somebody changed something that changes nothing here"


async def test_what_is_recalled_is_not_sent_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client, looked = await in_the_lane(house), list[bytes]()
    real = FastLane.again

    def again(self: FastLane, last: LastHead[Any], head: bytes) -> object:
        answer = real(self, last, head)
        looked.append(b"again" if answer is not None else b"anew")
        return answer

    monkeypatch.setattr(FastLane, "again", again)
    await client.ask("Range: bytes=1-2")
    house.hub.is_idle = False
    await client.ask("Range: bytes=1-2")
    assert looked == [b"again", b"anew"], "the ordinary way says why"


async def test_a_revoked_token_is_noticed(tmp_path: Path) -> None:
    async with open_house(tmp_path, rules=DoorRules(loopback=False), lane_seconds=600.0) as house:
        house.hub.contents = {"model.safetensors": LARGE}
        house.hub.files_in_memory = True
        secret, row = mint(house.tokens, "ada", "read", None, "", 0.0)
        client, line = await Client.of(house), f"Authorization: Bearer {secret.reveal()}"
        for _ in range(3):
            assert (await client.ask(line, "Range: bytes=1-2"))[1] == LARGE[1:3]
        house.tokens.put_token(replace(row, revoked_at=1.0))
        assert (await client.ask(line, "Range: bytes=1-2"))[0] == 401


async def test_a_head_counts_only_when_all_of_it_came_at_once() -> None:
    """Else bytes that came before it, a token among them, would be taken for nothing."""

    class Overheard:
        def __init__(self) -> None:
            self.told: list[tuple[str, bytes]] = []

        def answered_in_lane(self, message: RawRequestMessage, head: bytes) -> bool:
            self.told.append((message.path, head))
            return True

    whole = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    cases: Sequence[tuple[Sequence[bytes], Sequence[bytes]]] = [
        ([whole, whole], [whole, whole]),
        ([b"GET /a HTTP/1.1\r\nAuthorization: x\r\nX: ", whole, whole], [b"", whole]),
        ([whole + b"GET /a HTTP/1.1\r\nX: ", whole], [b"", b""]),
        ([whole[:-2], whole[-2:], whole, whole], [b"", b"", whole]),
    ]
    for pieces, expected in cases:
        overheard = Overheard()
        loop = asyncio.get_running_loop()
        real = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
        parser = _LaneParser(real, cast(_Connection, overheard))
        for piece in pieces:
            parser.feed_data(piece)
        assert [head for _, head in overheard.told] == expected


def test_only_a_plain_range_is_cut_out() -> None:
    last: LastHead[str] = LastHead()
    head = b"GET /a HTTP/1.1\r\nX-Range: bytes=1-2\r\n%bHost: h\r\n\r\n"
    assert last.asks(b"") is None
    last.note(head % b"Range: bytes=1-2\r\n", "bytes=1-2", "known")
    last.note(head % b"Range: bytes=1-2,4-5\r\n", "bytes=1-2,4-5", "several")
    assert last.known == "known"
    assert last.asks(head % b"Range: bytes=77-88\r\n") == (77, 88)
    odd = (b"1-", b"-1", b"1-2,4-5", b"+1-2", b"1_0-20", b"1 -2", b"\xb2-\xb3", b"1" * 30 + b"-" + b"1" * 30)
    for other in (b"", *(b"Range: bytes=%b\r\n" % one for one in odd)):
        assert last.asks(head % other) is None
    assert last.asks(head.replace(b"=1-2", b"=1-3") % b"Range: bytes=1-2\r\n") is None
    start = head.partition(b"%b")[0] + b"Range: bytes="
    for cut in (start, start + b"1-2", start[:-1]):
        assert last.asks(cut) is None
    last.note(head % b"", None, "whole")
    assert (last.known, last.asks(head % b"")) == ("whole", NO_RANGE)
    assert last.asks(head % b"Range: bytes=77-88\r\n") is None
    long = b"GET /a HTTP/1.1\r\nX: " + b"x" * 5000 + b"\r\n\r\n"
    last.note(long, None, "long")
    assert (last.known, last.asks(long)) == ("whole", None)


async def test_a_trace_that_is_no_text_costs_nobody_a_line(house: House) -> None:
    odd, plain = await Client.of(house), await Client.of(house)
    for _ in range(4):
        assert (await odd.ask("X-Amzn-Trace-Id: \udcff", "Range: bytes=0-99999"))[0] == 206
        assert (await plain.ask("Range: bytes=0-99999"))[0] == 206
    lines = house.log_text().splitlines()
    assert len(lines) == 8
    assert sum("\\\\udcff" in line for line in lines) == 4
