"""Webhooks: what is announced, how it is signed, and that it arrives after all."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from moongate.core.errors import UpstreamError, UpstreamRefused
from moongate.core.names import RepoId
from moongate.core.webhooks import HookRow
from moongate.hub.audit import Actor, AuditEvent, NoAudit
from moongate.policy.announcing import KINDS, AnnouncingAudit, Outbox
from moongate.policy.courier import PAUSES_SECONDS, Courier
from moongate.store.index import Index
from moongate.upstream.posting import Poster

DENIED = AuditEvent(
    "file.deny", Actor("eve", "token"), RepoId("model", "acme/tiny"), path="a.bin", digest="d" * 64,
    effect="deny", rule="dangerous", reason="it runs code",
)  # fmt: skip
NOW = 1_800_000_000.0


class Receiver:
    """A real server that answers as it is told to."""

    def __init__(self) -> None:
        self.status = 204
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status, headers={"Location": self.url})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "index.sqlite3") as index:
        yield index


def add(index: Index, url: str, *kinds: str) -> None:
    index.put_hook(HookRow("h-1", url, "secret", kinds, 1.0, "ada"))


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


async def courier(index: Index, clock: Clock, *allowed: str) -> tuple[Courier, Poster]:
    poster = Poster(allowed, 5.0, "moongate/test")
    return Courier(index, poster, clock), poster


async def test_a_denial_arrives_as_a_signed_cloud_event(index: Index, receiver: Receiver) -> None:
    clock = Clock()
    add(index, receiver.url, "file.denied")
    audit = AnnouncingAudit(NoAudit(), Outbox(index, "https://models.example.com", clock))
    await audit.recorded(DENIED)
    audit.record(AuditEvent("recall.create", Actor("ada", "token")))
    audit.note(DENIED)
    sender, poster = await courier(index, clock, "127.0.0.1")

    assert await sender.deliver_due() == 1
    await poster.close()

    (headers, body), event = receiver.got[0], json.loads(receiver.got[0][1])
    assert {name: event[name] for name in ("specversion", "type", "source", "time", "subject")} == {
        "specversion": "1.0",
        "type": "io.moongate.file.denied",
        "source": "https://models.example.com",
        "time": "2027-01-15T08:00:00.000Z",
        "subject": "acme/tiny",
    }
    assert event["data"]["rule"] == "dangerous"
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    at, proof = headers["Moongate-Signature"].removeprefix("t=").split(",v1=")
    wanted = hmac.new(b"secret", f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert (at, proof) == (str(int(NOW)), wanted)


async def test_what_is_not_taken_is_tried_again_after_a_restart_and_given_up_in_the_end(
    index: Index, receiver: Receiver
) -> None:
    clock = Clock()
    add(index, receiver.url)
    Outbox(index, "here", clock).put(DENIED)
    receiver.status = 500
    for pause in PAUSES_SECONDS:
        sender, poster = await courier(index, clock, "127.0.0.1")
        clock.now += 121  # the lease of the courier that was killed runs out
        assert await sender.deliver_due() == 1
        assert index.deliveries_of("h-1")[0].why == "status 500"
        assert index.deliveries_of("h-1")[0].next_at == clock.now + pause
        assert await sender.deliver_due() == 0
        await poster.close()
        clock.now += pause
    sender, poster = await courier(index, clock, "127.0.0.1")
    clock.now += 121
    await sender.deliver_due()
    await poster.close()

    assert len(receiver.got) == len(PAUSES_SECONDS) + 1
    assert len({json.loads(body)["id"] for _, body in receiver.got}) == 1
    assert index.deliveries_of("h-1")[0].state == "given-up"


async def test_two_processes_send_an_event_once(index: Index, receiver: Receiver) -> None:
    clock = Clock()
    add(index, receiver.url)
    Outbox(index, "here", clock).put(DENIED)
    one, one_poster = await courier(index, clock, "127.0.0.1")
    other, other_poster = await courier(index, clock, "127.0.0.1")

    assert [await one.deliver_due(), await other.deliver_due()] == [1, 0]
    await one_poster.close()
    await other_poster.close()


async def test_a_redirect_is_not_followed(index: Index, receiver: Receiver) -> None:
    clock = Clock()
    add(index, receiver.url)
    Outbox(index, "here", clock).put(DENIED)
    receiver.status = 307
    sender, poster = await courier(index, clock, "127.0.0.1")
    await sender.deliver_due()
    await poster.close()

    assert len(receiver.got) == 1
    assert index.deliveries_of("h-1")[0].why == "status 307"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/hook", "https://127.0.0.1/hook", "https://[::1]/hook", "https://169.254.169.254/x",
        "https://2130706433/", "https://[::ffff:10.0.0.1]/", "http://example.com/", "ftp://example.com/",
        "https://user:pw@example.com/", "https://localhost/hook",
    ],
)  # fmt: skip
async def test_private_and_plain_addresses_are_refused_unless_they_are_named(url: str) -> None:
    poster = Poster((), 5.0, "moongate/test")
    with pytest.raises(UpstreamError):
        await poster.post(url, {}, b"{}")
    await poster.close()


async def test_a_named_host_may_be_private(receiver: Receiver) -> None:
    poster = Poster(("127.0.0.1",), 5.0, "moongate/test")
    poster.check(receiver.url)
    assert await poster.post(receiver.url, {}, b"{}") == 204
    with pytest.raises(UpstreamRefused, match="webhook_allowed_hosts"):
        poster.check("http://127.0.0.2/")
    await poster.close()


def test_every_kind_has_a_name() -> None:
    assert "request.opened" in KINDS
    assert "recall.started" in KINDS
