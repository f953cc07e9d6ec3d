"""Fills against a Hub double: one copy from upstream, never a wrong file, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import (
    EntryAbsent,
    GatedRepo,
    MoongateError,
    StoreFull,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamUnreachable,
    VerificationFailed,
)
from moongate.double import (
    Cut,
    ExpireUrls,
    FlipByte,
    HubDouble,
    IgnoreRange,
    LfsFile,
    Match,
    RedirectLoop,
    RedirectTo,
    Stall,
    Status,
    Throttle,
    TooMany,
    Truncate,
    WrongContentRange,
    WrongLength,
)
from moongate.hub.fill import FillRules
from support import filling as support_filling
from support.filling import MIB, Filling, kept_bytes
from support.front import until

SIZE = 40 * MIB + 12_345
CDN = Match(origin="cdn")


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def double(tmp_path: Path, content: bytes) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    repo = double.add_repo("acme/big")
    repo.commit({"big.bin": LfsFile(content), "small.json": b'{"a": 1}', "empty": b""})
    double.add_repo("acme/gated", gated=True).commit({"big.bin": LfsFile(content)})
    with double.running():
        yield double


@pytest.fixture
def filling(tmp_path: Path, double: HubDouble, content: bytes) -> Filling:
    return Filling(
        tmp_path / "home",
        double.url,
        double.cdn_netloc,
        "/acme/big/resolve/main/big.bin",
        Etag(hashlib.sha256(content).hexdigest()),
        len(content),
    )


def sent(double: HubDouble, filling: Filling) -> int:
    return double.meters.bytes_sent(etag=filling.etag)


async def test_a_cold_read_gives_the_bytes_and_seals_them(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    assert await filling.read() == content
    assert await filling.sealed()
    assert sent(double, filling) == SIZE
    assert await filling.read() == content
    assert sent(double, filling) == SIZE
    assert filling.notes.kept == [filling.etag]


async def test_many_readers_of_all_kinds_cost_one_copy(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    spans = [(0, SIZE), (0, SIZE), (SIZE // 2, SIZE), (5, 6), (10 * MIB, 11 * MIB), (SIZE - 10, SIZE)] * 4
    answers = await asyncio.gather(*(filling.read(start, end) for start, end in spans))
    assert all(answer == content[start:end] for answer, (start, end) in zip(answers, spans, strict=True))
    assert await filling.sealed()
    assert sent(double, filling) == SIZE


async def test_a_small_range_costs_a_block_and_does_not_force_the_file(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    for start in (20 * MIB + 7, SIZE - 100):
        assert await filling.read(start, start + 100) == content[start : start + 100]
    assert not await filling.sealed()
    assert sent(double, filling) <= 3 * MIB
    assert await filling.read() == content
    assert await filling.sealed()
    assert sent(double, filling) == SIZE


async def test_the_rest_follows_when_enough_was_asked_for(filling: Filling, content: bytes) -> None:
    filling.fills.rules = replace(filling.fills.rules, whole_after=0.1)
    for start in range(0, 10 * MIB, 2 * MIB):
        await filling.read(start, start + 10)
    await filling.read(30 * MIB, 30 * MIB + 10)
    assert await filling.sealed()


async def test_a_reader_in_the_middle_is_served_before_the_rest(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    with double.failing(Throttle(1 * MIB, match=CDN)):
        first = asyncio.create_task(filling.read())
        await asyncio.to_thread(double.meters.wait_for, lambda meters: meters.bytes_sent(origin="cdn") > 0)
        middle = 30 * MIB
        assert await filling.read(middle, middle + 1000) == content[middle : middle + 1000]
        assert sent(double, filling) < SIZE // 2
    assert await first == content
    assert sent(double, filling) == SIZE


async def test_a_reader_that_leaves_stops_nothing(double: HubDouble, filling: Filling) -> None:
    with double.failing(Throttle(20 * MIB, match=CDN)):
        async with filling.body() as body:
            await body.ready(0, SIZE)
    assert await filling.sealed()
    assert sent(double, filling) == SIZE


@pytest.mark.parametrize("offset", [0, SIZE // 2, SIZE - 1])
async def test_wrong_bytes_break_every_reader_off_and_nothing_is_kept(
    double: HubDouble, filling: Filling, content: bytes, offset: int
) -> None:
    got: list[int] = []

    async def reader() -> None:
        async with filling.body() as body:
            position = 0
            while position < SIZE:
                position += await body.ready(position, SIZE)
            got.append(position)

    with double.failing(FlipByte(offset, match=CDN)):
        ends = await asyncio.gather(*(reader() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(end, VerificationFailed) for end in ends), ends
    assert got == []
    assert not await filling.sealed()
    assert list(filling.layout.partial_dir.iterdir()) == []
    assert [type(error) for error in filling.notes.failures] == [VerificationFailed]
    assert filling.notes.wrong == [filling.etag], "told before the readers knew"
    assert await filling.read() == content


async def test_no_reader_completes_an_unverified_file_even_from_its_end(
    double: HubDouble, filling: Filling
) -> None:
    """Small ranges, from the last block to the first: one of them waits for the hash, and fails with it."""
    given = 0

    async def from_the_end() -> None:
        nonlocal given
        for start in range((SIZE // MIB) * MIB, -1, -MIB):
            await filling.read(start, min(SIZE, start + MIB))
            given += 1

    with double.failing(FlipByte(SIZE // 2, match=CDN)), pytest.raises(VerificationFailed):
        await from_the_end()
    assert 0 < given < SIZE // MIB + 1


async def test_a_broken_connection_resumes_at_the_byte(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    with double.failing(Cut(MIB + 17, match=CDN, every=2)):  # shorter than any span but the last ones
        assert await filling.read() == content
    assert sent(double, filling) == SIZE
    assert filling.notes.retries


async def test_an_upstream_that_falls_silent_is_asked_again(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    filling.timeout_seconds = 1.0
    with double.failing(Stall(2 * MIB, match=CDN, times=1)):
        assert await filling.read() == content


async def test_expired_urls_are_renewed_in_mid_download(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    with double.failing(ExpireUrls(after_uses=1, match=CDN)):
        assert await filling.read() == content
    assert len(double.meters.requests("/acme/big/resolve/main/big.bin")) > 1
    assert sent(double, filling) == SIZE


@pytest.mark.parametrize(
    "fault", [TooMany(1, match=CDN, times=1), TooMany(reset_seconds=1, match=CDN, times=1)]
)
async def test_upstream_is_left_alone_for_as_long_as_it_says(
    double: HubDouble, filling: Filling, content: bytes, fault: TooMany
) -> None:
    with double.failing(fault):
        assert await filling.read() == content
    refused, then = double.meters.requests(origin="cdn")[:2]
    assert refused.status == 429
    assert then.started - refused.started >= 1.0


async def test_a_long_wait_is_told_to_the_reader_and_kept(double: HubDouble, filling: Filling) -> None:
    with double.failing(TooMany(3600, match=CDN)):
        with pytest.raises(UpstreamBusy) as caught:
            await filling.read()
        assert caught.value.retry_after_seconds > 3000
        asked = len(double.meters.requests(origin="cdn"))
        with pytest.raises(UpstreamBusy):
            await filling.read()
        assert len(double.meters.requests(origin="cdn")) == asked


async def test_a_server_without_ranges_is_read_once_from_the_start(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    with double.failing(IgnoreRange(match=CDN)):
        assert await filling.read() == content
    assert await filling.sealed()


async def test_a_limit_per_connection_is_overcome_by_more_connections(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    """More are tried while they help, by the clock: what else the machine does may hide it now and then."""
    for attempt in range(6):
        double.meters.reset()
        one = replace(filling, home=filling.home / str(attempt))
        with double.failing(Throttle(4 * MIB, match=CDN)):
            assert await one.read() == content
        assert sent(double, filling) == SIZE
        if len(double.meters.bytes_by("connection")) > 4:
            return
    pytest.fail("it kept to a few connections")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Status(404, code="EntryNotFound", match=Match(path="*/resolve/*")), EntryAbsent),
        (Status(500, match=CDN), UpstreamUnreachable),
        (WrongContentRange(5, match=CDN), UpstreamBroken),
        (WrongContentRange(0, 5, match=CDN), UpstreamBroken),
        (WrongLength(7, match=CDN), UpstreamBroken),
        (Truncate(1000, match=CDN), UpstreamBroken),
        (RedirectLoop(match=CDN), UpstreamRefused),
        (RedirectTo("http://169.254.169.254/latest", match=CDN), UpstreamRefused),
        (RedirectTo("http://localhost:22/", match=CDN), UpstreamRefused),
        (RedirectTo("file:///etc/passwd", match=CDN), UpstreamRefused),
    ],
)
async def test_upstream_failures_end_the_readers_with_the_right_error(
    double: HubDouble,
    filling: Filling,
    content: bytes,
    fault: object,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("moongate.hub.leader._MAX_BACKOFF_SECONDS", 0.01)
    with double.failing(fault), pytest.raises(error):  # type: ignore[arg-type]
        await filling.read()
    assert not await filling.sealed()
    assert await filling.read() == content


async def test_a_gated_file_is_refused_by_upstream(double: HubDouble, filling: Filling) -> None:
    filling.path_qs = "/acme/gated/resolve/main/big.bin"
    with pytest.raises(GatedRepo):
        await filling.read()


async def test_lfs_objects_are_found_by_their_batch(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    filling.path_qs, filling.lfs_oid = "/acme/big.git/info/lfs/objects/batch", filling.etag
    assert await filling.read() == content


async def test_small_and_empty_files(double: HubDouble, filling: Filling) -> None:
    for name, data in (("small.json", b'{"a": 1}'), ("empty", b"")):
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        filling.path_qs, filling.etag, filling.size_bytes = (
            f"/acme/big/resolve/main/{name}",
            Etag(oid),
            len(data),
        )
        assert await filling.read() == data
        assert await filling.sealed()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_in_a_fill_is_an_error_and_no_hang(filling: Filling) -> None:
    def broken(size_bytes: int) -> None:
        raise RuntimeError("a bug")

    filling.fills.make_room = broken
    with pytest.raises(MoongateError, match="broke inside"):
        await filling.read()
    filling.fills.make_room = support_filling.no_limit
    await filling.read()
    assert await filling.sealed()


async def test_a_full_disk_streams_from_upstream_and_still_verifies(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    def no_room(size_bytes: int) -> None:
        raise StoreFull("no room")

    filling.fills.make_room = no_room

    async def passed() -> bytes:
        async with filling.body() as body:
            with pytest.raises(StoreFull):
                await body.ready(0, SIZE)
            return b"".join([piece async for piece in body.stream(0, SIZE)])

    assert await passed() == content
    with double.failing(FlipByte(SIZE // 2, match=CDN)), pytest.raises(VerificationFailed):
        await passed()
    assert not await filling.sealed()
    assert filling.notes.wrong == [filling.etag]


async def test_stopping_keeps_progress_and_the_next_process_goes_on(
    double: HubDouble, filling: Filling, content: bytes
) -> None:
    with double.failing(Throttle(20 * MIB, match=CDN)):
        async with filling.body() as body:
            position = 0
            while position < 8 * MIB:
                position += await body.ready(position, SIZE)
            await filling.fills.stop()
    before = sent(double, filling)
    again = replace(filling)
    assert await again.read() == content
    assert sent(double, filling) - before <= SIZE - 8 * MIB


async def test_an_offline_gateway_fetches_nothing(
    filling: Filling, double: HubDouble, content: bytes
) -> None:
    filling.fills.rules = FillRules(offline=True)
    with pytest.raises(UpstreamUnreachable):
        await filling.read()
    assert sent(double, filling) == 0


class OtherProcess:
    """Another process of the node, reading the same file."""

    def __init__(self, filling: Filling) -> None:
        told = {
            "home": str(filling.home),
            "upstream": filling.upstream,
            "cdn_netloc": filling.cdn_netloc,
            "path_qs": filling.path_qs,
            "etag": filling.etag,
            "size_bytes": filling.size_bytes,
        }
        self.process = subprocess.Popen(
            [sys.executable, support_filling.__file__, json.dumps(told)], stdout=subprocess.PIPE, text=True
        )

    def result(self) -> dict[str, object]:
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        answer: dict[str, object] = json.loads(out)
        return answer


@pytest.fixture
def other_process(filling: Filling) -> Iterator[Callable[[], OtherProcess]]:
    started: list[OtherProcess] = []

    def start() -> OtherProcess:
        started.append(OtherProcess(filling))
        return started[-1]

    yield start
    for other in started:
        other.process.kill()
        other.process.wait()


async def test_processes_share_one_copy(
    double: HubDouble, filling: Filling, content: bytes, other_process: Callable[[], OtherProcess]
) -> None:
    with double.failing(Throttle(8 * MIB, match=CDN)):
        others = [other_process() for _ in range(2)]
        mine = await filling.read()
        theirs = [await asyncio.to_thread(other.result) for other in others]
    assert mine == content
    assert {one["sha256"] for one in theirs} == {filling.etag}
    assert sent(double, filling) == SIZE


async def test_a_killed_leader_is_replaced_and_its_progress_stands(
    double: HubDouble, filling: Filling, content: bytes, other_process: Callable[[], OtherProcess]
) -> None:
    with double.failing(Throttle(4 * MIB, match=CDN)):
        other = other_process()
        await asyncio.to_thread(
            double.meters.wait_for, lambda meters: meters.bytes_sent(origin="cdn") > 6 * MIB
        )
        reading = asyncio.create_task(filling.read())
        async with filling.body() as body:
            await body.ready(0, SIZE)
        other.process.send_signal(signal.SIGKILL)
        other.process.wait()  # nobody here can have taken over: the loop stands still
        kept, before = kept_bytes(filling.layout, filling.etag, SIZE), sent(double, filling)
        assert kept > MIB
    assert await reading == content
    assert sent(double, filling) - before == SIZE - kept


async def test_the_threads_are_gone_when_the_file_is_whole(filling: Filling, content: bytes) -> None:
    assert await filling.read() == content
    assert await filling.sealed()
    # A thread tells that it is through before its very last step.
    until(lambda: not any(thread.name.startswith("fill") for thread in threading.enumerate()))
