"""Xet files against a Hub double's CAS: each chunk fetched once, proven before its file is complete."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.errors import (
    EntryAbsent,
    StoreFull,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamUnreachable,
    VerificationFailed,
)
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.double import (
    Cut,
    ExpireUrls,
    FlipByte,
    HubDouble,
    IgnoreRange,
    LfsFile,
    LieAboutTerms,
    Match,
    Stall,
    Status,
    Throttle,
    TooMany,
    Truncate,
    WrongLength,
)
from moongate.double.ask import Ask
from moongate.double.faults import Fault
from moongate.double.reply import Refusal, Reply
from moongate.double.world import World
from moongate.hub.xet_files import XetRules
from moongate.hub.xet_ranges import HOLD_BYTES, hold_of
from moongate.xet.hashes import file_hash, hash_hex
from support import xetting
from support.front import until
from support.xetting import XetHouse, file_at

MIB = 1 << 20
SIZE = 20 * MIB + 12_345
CDN = Match(origin="cdn", path="/xorbs/*")
CAS = Match(origin="cas")
HouseMaker = Callable[..., XetHouse]


@pytest.fixture(scope="module")
def base() -> bytes:
    return random.Random(1).randbytes(SIZE)


@pytest.fixture(scope="module")
def tuned(base: bytes) -> bytes:
    """The base with 5 % of it changed, in one piece."""
    start, changed = SIZE // 2, SIZE // 20
    return base[:start] + random.Random(2).randbytes(changed) + base[start + changed :]


@pytest.fixture
def double(tmp_path: Path, base: bytes, tuned: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setattr("moongate.double.packing.MAX_XORB_BYTES", 4 * MIB)  # several of them
    monkeypatch.setattr("moongate.hub.xet_fill._MAX_BACKOFF_SECONDS", 0.01)
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/base", xet=True).commit({"model.bin": LfsFile(base)})
    double.add_repo("acme/tuned", xet=True).commit({"model.bin": LfsFile(tuned)})
    with double.running():
        double.xet_file("acme/base", "model.bin")
        double.xet_file("acme/tuned", "model.bin")
        yield double


@pytest.fixture
async def house(tmp_path: Path, double: HubDouble) -> AsyncIterator[HouseMaker]:
    houses: list[XetHouse] = []

    def make(name: str = "home", rules: XetRules | None = None, **more: object) -> XetHouse:
        allowed = [double.cdn_netloc, double.cas_netloc]
        houses.append(XetHouse(tmp_path / name, double.url, allowed, rules=rules, **more))  # type: ignore[arg-type]
        return houses[-1]

    yield make
    for one in houses:
        await one.close()


def at(double: HubDouble, repo: str, content: bytes) -> FileAt:
    commit = double.repo(repo).resolve("main")
    assert commit is not None
    return file_at(repo, commit.hash, "model.bin", content, double.xet_file(repo, "model.bin").id)


@pytest.fixture
def file(double: HubDouble, base: bytes) -> FileAt:
    return at(double, "acme/base", base)


def file_id(file: FileAt) -> str:
    assert file.entry.xet_hash is not None
    return file.entry.xet_hash


def sent(double: HubDouble) -> int:
    return double.meters.bytes_sent(origin="cdn")


def stored(house: XetHouse) -> int:
    return house.segments.stored_bytes()


async def test_a_cold_file_is_fetched_once_and_proven(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))
    assert one.notes.proven_ids == [file_id(file)]
    first = sent(double)
    assert first < SIZE * 1.01
    assert await one.read_xet(file) == base
    assert sent(double) == first == stored(one)
    assert len(double.meters.requests(path="/v2/*", origin="cas")) == 1
    assert (await one.xets.reconstruction_of(file, ANONYMOUS)).verified


async def test_what_was_proven_is_known_by_its_chunks(house: HouseMaker, file: FileAt) -> None:
    """So that whoever uploads something like it is told what they need not send."""
    one = house()
    await one.read_xet(file)
    assert await one.xets.finished(file_id(file))
    row = one.index.get_reconstruction(file_id(file))
    assert row is not None
    told = {
        (term.xorb, run.first + at): leaf
        for term in row.terms
        for run in one.index.chunk_runs(term.xorb)
        for at, leaf in enumerate(run.leaves)
    }
    leaves = [told[term.xorb, number] for term in row.terms for number in range(term.start, term.end)]
    assert hash_hex(file_hash(leaves)) == row.file_id
    assert one.index.xorbs_with_chunk(leaves[0][0]) == [row.terms[0].xorb]


async def test_what_is_kept_needs_no_upstream(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    first = house()
    assert await first.read_xet(file) == base
    assert await first.xets.finished(file_id(file))
    await first.close()
    double.down()
    offline = house(rules=XetRules(offline=True))
    assert await offline.read_xet(file) == base
    assert await offline.read_plain(file) == base
    assert await offline.fills.finished(file.entry.etag)
    double.up()


async def test_many_readers_cost_one_copy(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    with double.failing(Throttle(20 * MIB, match=CDN)):
        answers = await asyncio.gather(*(one.read_xet(file) for _ in range(4)), one.read_plain(file))
    assert all(answer == base for answer in answers)
    assert await one.xets.finished(file_id(file))
    assert sent(double) == stored(one)
    assert one.notes.falls == []


async def test_a_fine_tune_costs_what_changed(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, tuned: bytes
) -> None:
    one = house()
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))
    before, other = sent(double), at(double, "acme/tuned", tuned)
    assert await one.read_xet(other) == tuned
    assert await one.xets.finished(file_id(other))
    assert 0 < sent(double) - before <= SIZE // 20 * 1.1 + 2 * HOLD_BYTES
    assert await one.read_plain(other) == tuned


async def test_two_files_at_once_fetch_what_they_share_once(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, tuned: bytes
) -> None:
    one, other = house(), at(double, "acme/tuned", tuned)
    got, got_other = await asyncio.gather(one.read_xet(file), one.read_xet(other))
    assert got == base
    assert got_other == tuned
    assert await one.xets.finished(file_id(file))
    assert await one.xets.finished(file_id(other))
    assert sent(double) == stored(one)


async def test_the_first_byte_does_not_wait_for_the_rest(
    double: HubDouble, house: HouseMaker, file: FileAt
) -> None:
    one = house()
    row = await one.xets.reconstruction_of(file, ANONYMOUS)
    first = row.fetches[0]
    with double.failing(Stall(100_000, match=CDN)):
        async with contextlib.aclosing(one.xets.open_range(row, first.xorb, first.chunks.span)) as bodies:
            async for body in bodies:
                count = await asyncio.wait_for(body.ready(body.span.start, body.span.end), 60)
                assert 0 < count <= 100_000
                assert body.outcome == "miss"
                break


async def test_a_demanded_range_comes_before_the_others(
    double: HubDouble, house: HouseMaker, file: FileAt
) -> None:
    one = house(rules=XetRules(connections=1))
    row = await one.xets.reconstruction_of(file, ANONYMOUS)
    middle = row.fetches[3]
    with double.failing(Throttle(MIB, match=CDN)):
        one.xets.ensure(row)
        await one.range_of(row, middle.xorb, ByteSpan(middle.chunks.span.start, MIB))
        assert not one.segments.has(row.fetches[1].xorb, 0, row.fetches[1].chunks.end)


async def test_a_range_alone_does_not_force_the_file(
    double: HubDouble, house: HouseMaker, file: FileAt
) -> None:
    one = house()
    row = await one.xets.reconstruction_of(file, ANONYMOUS)
    first = row.fetches[0]
    assert len(await one.range_of(row, first.xorb, first.chunks.span)) == first.chunks.span.length
    assert sent(double) == first.chunks.span.length
    with pytest.raises(EntryAbsent):
        await one.range_of(row, first.xorb, ByteSpan(0, first.chunks.span.end + 1))


async def test_a_small_plain_range_costs_little_and_the_file_comes_by_xet(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    assert await one.read_plain(file, 9 * MIB, 9 * MIB + 100) == base[9 * MIB : 9 * MIB + 100]
    assert sent(double) <= 2 * MIB
    assert double.meters.bytes_sent(origin="cas") == 0
    assert await one.read_plain(file) == base
    assert await one.fills.finished(file.entry.etag)
    assert await one.xets.finished(file_id(file))
    assert sent(double) <= SIZE * 1.01 + 2 * MIB
    assert one.notes.falls == []


# -- faults: never a wrong byte in a complete file, and recovery by itself ----------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999_99])
@pytest.mark.parametrize("number", [0, -1])
async def test_wrong_bytes_break_every_reader_off_and_nothing_is_kept(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, share: float, number: int
) -> None:
    one = house()
    row = await one.xets.reconstruction_of(file, ANONYMOUS)
    wrong = row.fetches[number]
    offset = int(wrong.chunks.span.length * share)
    match = Match(origin="cdn", path=f"/xorbs/*{hash_hex(wrong.xorb)}")
    with double.failing(FlipByte(offset, match=match)):
        ends = await asyncio.gather(*(one.read_xet(file) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(end, VerificationFailed | UpstreamUnreachable) for end in ends), ends
        assert not await one.xets.finished(file_id(file))
    assert stored(one) == 0
    assert one.xets.known(file_id(file)) is None
    assert [type(error) for error in one.notes.xet_failures] == [VerificationFailed]
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))


async def test_a_plain_reader_never_completes_a_wrong_file_and_the_next_goes_the_plain_road(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    row = await one.xets.reconstruction_of(file, ANONYMOUS)
    match = Match(origin="cdn", path=f"/xorbs/*{hash_hex(row.fetches[1].xorb)}")
    with double.failing(FlipByte(MIB, match=match)):
        with pytest.raises(VerificationFailed):
            await one.read_plain(file)
        assert not await one.fills.finished(file.entry.etag)
        assert await one.read_plain(file) == base


async def test_nobody_gets_the_end_before_the_proof(
    double: HubDouble, house: HouseMaker, file: FileAt
) -> None:
    one = house()
    row = await one.xets.reconstruction_of(file, ANONYMOUS)
    hold = hold_of(row)
    assert hold is not None
    xorb, held = hold
    last = next(one.chunks.span for one in row.fetches if one.xorb == xorb)
    first = Match(origin="cdn", path=f"/xorbs/*{hash_hex(row.fetches[0].xorb)}")
    with double.failing(Stall(MIB, match=first)):
        assert len(await one.range_of(row, xorb, ByteSpan(last.start, held.start))) == held.start - last.start
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.range_of(row, xorb, ByteSpan(held.start, held.start + 1)), 0.5)
    assert len(await one.range_of(row, xorb, held)) == held.length
    assert await one.xets.finished(file_id(file))


async def test_wrong_bytes_of_one_file_leave_proven_ones_alone(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, tuned: bytes
) -> None:
    one, other = house(), at(double, "acme/tuned", tuned)
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))
    before, kept = sent(double), stored(one)
    with double.failing(FlipByte(1000, match=CDN)):
        with pytest.raises(VerificationFailed):
            await one.read_xet(other)
        assert not await one.xets.finished(file_id(other))
    assert stored(one) == kept
    assert one.xets.is_here(file.entry.etag)
    assert await one.read_xet(other) == tuned
    assert sent(double) - before < SIZE // 5
    assert await one.read_xet(file) == base


@pytest.mark.parametrize("how", ["order", "repeat", "drop", "chunks", "length", "spans"])
async def test_a_reconstruction_that_lies_makes_no_file(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, how: str
) -> None:
    one = house()
    with double.failing(LieAboutTerms(how, match=CAS)):
        with pytest.raises((VerificationFailed, UpstreamBroken, UpstreamUnreachable)):
            await one.read_xet(file)
        await one.xets.finished(file_id(file))
        assert not one.xets.is_here(file.entry.etag)
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))


@pytest.mark.parametrize("how", ["order", "repeat", "drop", "chunks", "length", "spans"])
async def test_a_plain_reader_gets_no_wrong_byte_of_a_lie(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, how: str
) -> None:
    one = house()
    with double.failing(LieAboutTerms(how, match=CAS)):
        for _ in range(2):
            with contextlib.suppress(VerificationFailed):
                assert await one.read_plain(file) == base
                break
        else:
            pytest.fail("the plain road did not take over")


@pytest.mark.parametrize(
    "fault",
    [
        Cut(MIB + 17, match=CDN, every=2),
        Truncate(MIB, match=CDN, times=3),
        WrongLength(7, match=CDN, times=3),
        Status(500, match=CDN, times=3),
        Status(403, match=CDN, times=2),
        TooMany(retry_after_seconds=0, match=CDN, times=2),
        IgnoreRange(match=CDN),
        ExpireUrls(after_uses=1, match=CDN),
        Status(404, match=Match(origin="cas", path="/v2/*")),
        Status(503, match=CAS, times=2),
        Status(401, match=CAS, times=1),
    ],
)
async def test_passing_trouble_is_mended_in_mid_file(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, fault: object
) -> None:
    one = house()
    with double.failing(fault):  # type: ignore[arg-type]
        assert await one.read_xet(file) == base
        assert await one.xets.finished(file_id(file))
    assert one.notes.xet_failures == []


@dataclass(frozen=True, slots=True)
class RefuseParts(Fault):
    """Serve exactly the signed range, and no part of it."""

    def instead(self, ask: Ask, world: World) -> Reply | None:
        signed = ask.get("X-Xet-Signed-Range")
        return None if ask.headers.get("Range") == signed else Refusal(403, "not the signed range").reply()


async def test_a_storage_that_serves_signed_ranges_as_a_whole_is_good_enough(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    with double.failing(Cut(MIB + 17, match=CDN, every=2, times=3), RefuseParts(match=CDN)):
        assert await one.read_xet(file) == base
    assert one.notes.xet_failures == []


async def test_a_broken_connection_resumes_at_the_byte(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    with double.failing(Cut(MIB + 17, match=CDN, every=2)):
        assert await one.read_xet(file) == base
    assert sent(double) == stored(one)
    assert one.notes.retries


async def test_an_upstream_that_falls_silent_is_asked_again(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house(timeout_seconds=1.0)
    with double.failing(Stall(MIB, match=CDN, times=2)):
        assert await one.read_xet(file) == base
    assert one.notes.retries


async def test_a_long_wait_is_told_to_the_reader(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    with double.failing(TooMany(retry_after_seconds=777, match=CDN)):
        for _ in range(2):
            with pytest.raises(UpstreamBusy) as busy:
                await one.read_xet(file)
            assert 700 < busy.value.retry_after_seconds <= 777
            await one.xets.finished(file_id(file))
    assert len(double.meters.requests(path="/xorbs/*", origin="cdn")) <= 8


@pytest.mark.parametrize("fault", [Status(500, match=CDN), WrongLength(7, match=CDN), Status(403, match=CDN)])
async def test_lasting_trouble_ends_the_readers_and_the_next_ones_go_on(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, fault: object
) -> None:
    one = house()
    with double.failing(fault), pytest.raises((UpstreamUnreachable, UpstreamBroken)):  # type: ignore[arg-type]
        await one.read_xet(file)
    await one.xets.finished(file_id(file))
    assert await one.read_xet(file) == base


@pytest.mark.parametrize("when", ["before", "token", "cas", "cdn"])
async def test_the_plain_road_takes_over_when_the_cas_fails(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, when: str
) -> None:
    faults = {
        "before": Status(500, match=CAS),
        "token": Status(500, match=Match(path="*/xet-read-token/*")),
        "cas": LieAboutTerms("drop", match=CAS),
        "cdn": Status(500, match=CDN, skip=1),
    }
    one = house()
    with double.failing(faults[when]):
        assert await one.read_plain(file) == base
    assert await one.fills.finished(file.entry.etag)
    assert len(one.notes.falls) == 1
    assert one.notes.failures == []


async def test_the_plain_road_takes_over_when_the_cas_goes_away_in_mid_file(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house(rules=XetRules(connections=1))
    with double.failing(Throttle(8 * MIB, match=CDN), Status(403, match=CDN, skip=1)):
        reading = asyncio.create_task(one.read_plain(file))
        await asyncio.to_thread(double.meters.wait_for, lambda meters: meters.bytes_sent() > MIB)
        double.down("cas")
        assert await reading == base
    assert await one.fills.finished(file.entry.etag)
    assert len(one.notes.falls) == 1
    double.up("cas")


async def test_a_full_disk_is_told_and_a_plain_reader_still_served(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    def no_room(size_bytes: int) -> None:
        raise StoreFull("no room")

    one = house(make_room=no_room)
    with pytest.raises(StoreFull):
        await one.read_xet(file)
    assert sent(double) == 0
    source = one.xets.source(file, ANONYMOUS, lambda: one.plain(file), lambda: True)
    body = await one.fills.open(file.entry.etag, SIZE, lambda: source, ByteSpan(0, SIZE))
    with pytest.raises(StoreFull):
        await body.ready(0, SIZE)
    assert b"".join([piece async for piece in body.stream(0, SIZE)]) == base
    body.close()


async def test_chunks_that_were_lost_are_fetched_again(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))
    lost = next(one.segments.iterate())
    before = sent(double)
    one.segments.remove(lost, force=True)
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))
    assert sent(double) - before == lost.length


async def test_a_plain_reader_survives_the_loss_of_chunks(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))
    lost = next(one.segments.iterate())
    Path(lost.path).write_bytes(os.urandom(lost.length))
    assert await one.read_plain(file) == base
    assert not one.xets.is_here(file.entry.etag)


# -- connections, processes, threads -------------------------------------------------------------------------


async def test_a_limit_per_connection_is_overcome_by_more_connections(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    """More are tried while they help, by the clock: what else the machine does may hide it now and then."""
    for attempt in range(6):
        double.meters.reset()
        one = house(f"home {attempt}")
        row = await one.xets.reconstruction_of(file, ANONYMOUS)
        with double.failing(Throttle(3 * MIB, match=CDN)):
            one.xets.ensure(row)
            assert await one.xets.finished(file_id(file))
        asked = double.meters.requests(path="/xorbs/*", origin="cdn")
        if len({request.connection for request in asked}) > 3:
            return
    pytest.fail("it kept to a few connections")


async def test_stopping_keeps_progress_and_the_next_process_goes_on(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    first = house()
    with double.failing(Throttle(8 * MIB, match=CDN)):
        row = await first.xets.reconstruction_of(file, ANONYMOUS)
        first.xets.ensure(row)
        await asyncio.to_thread(
            double.meters.wait_for, lambda meters: meters.bytes_sent(origin="cdn") > 6 * MIB
        )
        await first.close()
    assert stored(first) > 0
    second = house()
    kept, before = stored(second), sent(double)
    assert await second.read_xet(file) == base
    assert sent(double) - before == stored(second) - kept


class OtherProcess:
    """Another process of the node, reading the same file."""

    def __init__(self, home: Path, double: HubDouble, file: FileAt) -> None:
        told = {
            "home": str(home),
            "upstream": double.url,
            "allowed": [double.cdn_netloc, double.cas_netloc],
            "repo": str(file.repo),
            "commit_hash": file.commit_hash,
            "path": file.entry.path,
            "etag": file.entry.etag,
            "size_bytes": file.entry.size_bytes,
            "xet_hash": file.entry.xet_hash,
        }
        self.process = subprocess.Popen(
            [sys.executable, xetting.__file__, json.dumps(told)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(xetting.__file__).parent.parent)},
        )

    def result(self) -> dict[str, object]:
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        answer: dict[str, object] = json.loads(out)
        return answer


@pytest.fixture
def other_process(tmp_path: Path, double: HubDouble, file: FileAt) -> Iterator[Callable[[], OtherProcess]]:
    started: list[OtherProcess] = []

    def start() -> OtherProcess:
        started.append(OtherProcess(tmp_path / "home", double, file))
        return started[-1]

    yield start
    for other in started:
        other.process.kill()
        other.process.wait()


async def test_processes_share_one_copy(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, other_process: Callable[[], OtherProcess]
) -> None:
    one = house()
    with double.failing(Throttle(4 * MIB, match=CDN)):
        others = [other_process() for _ in range(2)]
        mine = await one.read_xet(file)
        theirs = [await asyncio.to_thread(other.result) for other in others]
    assert mine == base
    assert {one["sha256"] for one in theirs} == {file.entry.etag}
    assert all(one["proven"] for one in theirs)
    assert sent(double) == stored(one)


async def test_what_one_process_finds_wrong_breaks_off_the_readers_of_all(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes
) -> None:
    """Two houses on one store and index know as much of each other as two processes do."""
    houses = [house(), house()]
    with double.failing(FlipByte(MIB, match=CDN), Throttle(8 * MIB, match=CDN)):
        ends = await asyncio.gather(*(one.read_xet(file) for one in houses), return_exceptions=True)
        assert all(isinstance(end, VerificationFailed | UpstreamUnreachable) for end in ends), ends
        for one in houses:
            await one.xets.finished(file_id(file))
    got = await asyncio.gather(*(one.read_xet(file) for one in houses))
    assert all(content == base for content in got)


async def test_a_process_that_cannot_ask_follows_the_one_that_can(
    double: HubDouble, house: HouseMaker, file: FileAt
) -> None:
    """A data URL names no caller, so another process may not know how to ask for a gated file."""
    asking, following = house(), house()
    row = await asking.xets.reconstruction_of(file, ANONYMOUS)
    asking.xets.ensure(row)
    last = row.fetches[-1]
    got = await following.range_of(row, last.xorb, last.chunks.span)
    assert len(got) == last.chunks.span.length
    assert sent(double) == stored(asking)
    assert following.notes.xet_fetched_bytes == 0


async def test_a_process_whom_upstream_refuses_follows_the_one_it_answers(
    double: HubDouble, house: HouseMaker, base: bytes
) -> None:
    """Not knowing for whom a data URL was made, a process may try as nobody, and be refused."""
    token = "hf_AliceAliceAliceAliceAliceAlice"
    double.add_user("alice", token, grants=["acme/gated"])
    double.add_repo("acme/gated", xet=True, gated="auto").commit({"model.bin": LfsFile(base)})
    file = at(double, "acme/gated", base)
    asking, following = house(), house()
    asking.index.put_files(file.repo, file.commit_hash, [file.entry])
    row = await asking.xets.reconstruction_of(file, Caller("upstream", credential=Secret(token)))
    last = row.fetches[-1]
    with double.failing(Throttle(4 * MIB, match=CDN)):
        reading = asyncio.create_task(following.range_of(row, last.xorb, last.chunks.span))
        await asyncio.to_thread(
            double.meters.wait_for,
            lambda meters: any(one.status == 401 for one in meters.requests(path="/api/models/acme/*")),
        )
        asking.xets.ensure(row)
        assert len(await reading) == last.chunks.span.length
    assert following.notes.xet_fetched_bytes == 0
    assert not following.notes.xet_failures


async def test_a_killed_process_is_replaced_and_its_progress_stands(
    double: HubDouble, house: HouseMaker, file: FileAt, base: bytes, other_process: Callable[[], OtherProcess]
) -> None:
    one = house(rules=XetRules(proof_lease_seconds=1.0))
    with double.failing(Throttle(3 * MIB, match=CDN)):
        other = other_process()
        await asyncio.to_thread(
            double.meters.wait_for, lambda meters: meters.bytes_sent(origin="cdn") > 4 * MIB
        )
        reading = asyncio.create_task(one.read_xet(file))
        other.process.send_signal(signal.SIGKILL)
        other.process.wait()  # nobody here can have taken over: the loop stands still
        kept, before = stored(one), sent(double)
    assert kept > 0
    assert await reading == base
    assert await one.xets.finished(file_id(file))
    assert sent(double) - before == stored(one) - kept


async def test_the_threads_are_gone_when_the_file_is_proven(
    house: HouseMaker, file: FileAt, base: bytes
) -> None:
    one = house()
    assert await one.read_xet(file) == base
    assert await one.xets.finished(file_id(file))
    await one.xets.stop()
    # A thread tells that it is through before its very last step.
    until(lambda: not any(thread.name.startswith("xet") for thread in threading.enumerate()))
