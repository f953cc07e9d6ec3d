"""Bytes: never a complete file that is not the file, and never twice from upstream."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.double import Cut, FlipByte, HubDouble, Match, MoveRef, Stall, Throttle, big_file
from moongate.store.layout import Layout
from support.filling import kept_bytes
from support.front import until
from support.gateway import Gateway
from support.raw import ask
from support.readers import Reading, read, read_all

MIB = 1 << 20
SIZE = 24 * MIB + 4321
CDN = Match(origin="cdn")
FAST = Throttle(60e6, match=CDN)  # slow enough for readers to meet in the middle
SLOW = Throttle(12e6, match=CDN)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    with double.running():
        yield double


def gateway(tmp_path: Path, hub: HubDouble, workers: int = 1, **settings: object) -> Gateway:
    env = {f"MOONGATE_{name.upper()}": str(value) for name, value in settings.items()}
    env.setdefault("MOONGATE_UPSTREAM_TIMEOUT_SECONDS", "2")
    return Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc, workers=workers, env=env)


def metric(running: Gateway, name: str) -> float:
    lines = ask(running.url, "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def every_road(repo: str, oid: str) -> list[tuple[str, tuple[str, ...]]]:
    """All ways to one large file: whole and in pieces, by name, by LFS and as a layer."""
    file = f"/{repo}/resolve/main/model.gguf"
    tail = (f"Range: bytes={SIZE - 3 * MIB}-",)
    return [
        *[(file, ())] * 6,
        *[(f"/{repo}/resolve/v1/model.gguf", ())] * 2,
        *[(f"/v2/{repo}/blobs/sha256:{oid}", ())] * 2,
        *[(f"/{repo}.git/info/lfs/objects/{oid}", ())] * 2,
        *[(file, tail)] * 2,
        (file, ("Range: bytes=0-99",)),
        (file, (f"Range: bytes={10 * MIB}-{22 * MIB}",)),
        (file, (f"Range: bytes=0-{12 * MIB}",)),
        (file, (f"Range: bytes=0-99,{5 * MIB}-{5 * MIB + 99},{20 * MIB}-{21 * MIB}",)),
        (f"/v2/{repo}/blobs/sha256:{oid}", tail),
        (f"/{repo}.git/info/lfs/objects/{oid}", (f"Range: bytes={SIZE - 10}-",)),
    ]


def here(running: Gateway, right: bytes) -> int:
    """How much of a file of these bytes is kept, also of one that is still on its way."""
    return kept_bytes(Layout(running.home), Etag(hashlib.sha256(right).hexdigest()), len(right))


def given_out(readings: list[Reading]) -> int:
    """How many different bytes of the file all readers got together."""
    seen = bytearray(SIZE)
    for reading in readings:
        for start, data in reading.spans.items():
            seen[start : start + len(data)] = b"\x01" * len(data)
    return seen.count(1)


def test_1_twenty_readers_of_a_file_that_is_wrong(tmp_path: Path, hub: HubDouble) -> None:
    repo = hub.add_repo("acme/big-GGUF")
    repo.commit({"model.gguf": big_file(tmp_path / "big", SIZE, seed=1)})
    repo.tag("v1")
    right = (tmp_path / "big").read_bytes()
    oid = hashlib.sha256(right).hexdigest()
    sent = bytearray(right)
    sent[7 * MIB + 5] ^= 0xFF
    wanted = every_road(repo.id, oid)
    with gateway(tmp_path, hub, upstream_timeout_seconds=30) as running:
        assert ask(running.url, f"/v2/{repo.id}/manifests/latest").status == 200
        assert ask(running.url, f"/{repo.id}/resolve/main/model.gguf", "HEAD").status == 200
        with hub.failing(SLOW, FlipByte(7 * MIB + 5, match=CDN)), ExitStack() as stalled:
            # Nothing comes before all have asked: who asks later reads another fill, which holds other bytes.
            stalled.enter_context(hub.failing(Stall(match=CDN)))

            def all_asked() -> None:
                assert ask(running.url, "/api/moongate/v1/usage").status == 200
                stalled.close()

            readings = read_all(running.port, wanted, all_asked)
        for (target, headers), reading in zip(wanted, readings, strict=True):
            is_range = bool(headers)
            completed = reading.whole and reading.status < 400
            assert is_range or not completed, f"a wrong file was completed: {target}"
            for start, data in reading.spans.items():
                assert data in (right[start : start + len(data)], sent[start : start + len(data)])
        assert given_out(readings) < SIZE, "together they have the whole wrong file"
        # Nothing is kept, and everywhere it says why.
        assert ask(running.url, "/api/moongate/v1/usage").json()["blobs"] == 0
        until(lambda: ask(running.url, "/api/moongate/v1/failures").json()["failures"])
        failure = ask(running.url, "/api/moongate/v1/failures").json()["failures"][0]
        assert (failure["etag"], failure["repo"], failure["path"]) == (oid, repo.id, "model.gguf")
        assert "not that content" in failure["why"]
        assert metric(running, 'moongate_fills_failed_total{error="VerificationFailed"}') >= 1
        until(lambda: "VerificationFailed" in running.log_tail())
        # And the next readers all get the file.
        hub.meters.reset()
        for (target, headers), reading in zip(wanted, read_all(running.port, wanted), strict=True):
            assert reading.whole, (target, headers, reading.status)
            for start, data in reading.spans.items():
                assert data == right[start : start + len(data)]
        until(lambda: ask(running.url, "/api/moongate/v1/usage").json()["blobs"] == 1)
        assert hub.meters.bytes_sent(etag=oid) == SIZE, "it was fetched more than once"


def test_2_one_copy_through_every_door_with_two_workers(tmp_path: Path, hub: HubDouble) -> None:
    file = big_file(tmp_path / "big", SIZE, seed=2)
    right = (tmp_path / "big").read_bytes()
    oid = hashlib.sha256(right).hexdigest()
    model, data, other = hub.add_repo("acme/big"), hub.add_repo("acme/rows", "dataset"), hub.add_repo("bert")
    for repo in (model, data, other):
        repo.commit({"model.gguf": file, "readme.md": repo.id})
    model.tag("v1")
    model.commit({"readme.md": "changed"})
    bases = [
        "/acme/big/resolve/main",
        "/acme/big/resolve/v1",
        "/datasets/acme/rows/resolve/main",
        "/bert/resolve/main",
    ]
    ranges = [(), (f"Range: bytes={20 * MIB}-",), (f"Range: bytes=0-{9 * MIB}",), ("Range: bytes=0-0,5-9",)]
    wanted = [(f"{base}/model.gguf", asked) for base in bases for asked in ranges]
    with gateway(tmp_path, hub, workers=2) as running, hub.failing(FAST):
        for (target, headers), reading in zip(wanted, read_all(running.port, wanted), strict=True):
            assert reading.whole, (target, headers, reading.status, reading.headers)
            for start, data in reading.spans.items():
                assert data == right[start : start + len(data)]
        until(lambda: ask(running.url, "/api/moongate/v1/usage").json()["blobs"] == 1)
        assert hub.meters.bytes_sent(etag=oid) == SIZE
        rows = ask(running.url, "/api/moongate/v1/repos").json()["repos"]
        kept = {row["repo"]: row["stored_bytes"] for row in rows}
        assert kept["acme/big"] == kept["datasets/acme/rows"] == kept["bert"] == SIZE


def test_3_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path, hub: HubDouble) -> None:
    repo = hub.add_repo("acme/big")
    repo.commit({"w.bin": big_file(tmp_path / "big", SIZE, seed=3)})
    right = (tmp_path / "big").read_bytes()
    target = "/acme/big/resolve/main/w.bin"
    running = gateway(tmp_path, hub, fill_connections=2)
    running.start()
    with hub.failing(SLOW):
        reader = threading.Thread(target=read, args=(running.port, target), daemon=True)
        reader.start()
        until(lambda: here(running, right) > 10 * MIB)
        running.kill()
        reader.join(60)
    kept, before = here(running, right), hub.meters.bytes_sent(origin="cdn")
    assert 10 * MIB < kept < SIZE
    with running:
        reading = read(running.port, target)
        assert reading.whole
        assert reading.body == right
    assert hub.meters.bytes_sent(origin="cdn") - before == SIZE - kept


def test_4_a_branch_that_moves_mixes_no_commits(tmp_path: Path, hub: HubDouble) -> None:
    """It moves while its file is being fetched, over connections that are cut and made anew."""
    repo = hub.add_repo("acme/moving")
    first = repo.commit({"w.bin": big_file(tmp_path / "one", SIZE, seed=4), "config.json": '{"version": 1}'})
    repo.branch("other")
    second = repo.commit(
        {"w.bin": big_file(tmp_path / "two", SIZE, seed=5), "config.json": '{"version": 2}'}, branch="other"
    )
    contents = {first: (tmp_path / "one").read_bytes(), second: (tmp_path / "two").read_bytes()}
    with gateway(tmp_path, hub, ref_ttl_seconds=0) as running:
        with hub.failing(
            FAST,
            Cut(3 * MIB, match=CDN, every=2),
            MoveRef(repo.id, second, match=Match(path="/acme/moving/resolve/*", method="GET"), times=1),
        ):
            readings = read_all(running.port, [("/acme/moving/resolve/main/w.bin", ())] * 6)
        readings += read_all(running.port, [("/acme/moving/resolve/main/w.bin", ())] * 2)
        for reading in readings:
            assert reading.whole
            assert reading.body == contents[reading.headers["x-repo-commit"]]
        # Which of those that came together were first is theirs.
        assert first in [reading.headers["x-repo-commit"] for reading in readings[:6]]
        assert readings[-1].headers["x-repo-commit"] == second
        config = ask(running.url, "/acme/moving/resolve/main/config.json")
        assert (json.loads(config.body)["version"], config.headers["x-repo-commit"]) == (2, second)
        old = ask(running.url, f"/acme/moving/resolve/{first}/config.json")
        assert json.loads(old.body)["version"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_5_told_to_stop_it_finishes_what_it_is_at(
    tmp_path: Path, hub: HubDouble, number: signal.Signals, workers: int
) -> None:
    hub.add_repo("acme/big").commit({"w.bin": big_file(tmp_path / "big", SIZE, seed=6)})
    target, began, got = "/acme/big/resolve/main/w.bin", threading.Event(), list[Reading]()
    running = gateway(tmp_path, hub, workers=workers)
    running.start()
    port = running.port
    with hub.failing(Throttle(30e6, match=CDN)):
        reader = threading.Thread(target=lambda: got.append(read(port, target, began=began)))
        reader.start()
        assert began.wait(60)
        assert running.stop(number) == 0
        reader.join()
    assert got[0].whole
    assert got[0].body == (tmp_path / "big").read_bytes()


def test_6_interrupted_twice_it_stops_at_once_and_keeps_its_progress(tmp_path: Path, hub: HubDouble) -> None:
    hub.add_repo("acme/big").commit({"w.bin": big_file(tmp_path / "big", SIZE, seed=7)})
    right = (tmp_path / "big").read_bytes()
    target, began = "/acme/big/resolve/main/w.bin", threading.Event()
    running = gateway(tmp_path, hub, drain_seconds=600)
    running.start()
    with hub.failing(Throttle(2e6, match=CDN)):
        reader = threading.Thread(target=read, args=(running.port, target), kwargs={"began": began})
        reader.start()
        assert began.wait(60)
        until(lambda: here(running, right) > 3 * MIB)
        assert running.stop(signal.SIGINT, times=2) != 0
        reader.join(60)
    kept, before = here(running, right), hub.meters.bytes_sent(origin="cdn")
    assert 3 * MIB < kept < SIZE
    with running:
        assert read(running.port, target).body == right
    assert hub.meters.bytes_sent(origin="cdn") - before == SIZE - kept


@pytest.mark.parametrize("workers", [1, 2])
def test_7_who_has_wrong_bytes_cannot_come_for_the_rest(tmp_path: Path, hub: HubDouble, workers: int) -> None:
    """The right end of a file after a wrong beginning would be a wrong file that looks whole."""
    repo = hub.add_repo("acme/big-GGUF")
    big = big_file(tmp_path / "big", SIZE, seed=1)
    repo.commit({"model.gguf": big, "other.gguf": big_file(tmp_path / "other", SIZE, seed=2)})
    right = (tmp_path / "big").read_bytes()
    file = f"/{repo.id}/resolve/main/model.gguf"
    rest, closed = f"Range: bytes={20 * MIB}-", f"Range: bytes={20 * MIB}-{SIZE - 1}"

    def asked(*headers: str) -> int:
        reading = read(running.port, file, *headers)
        assert reading.whole
        assert all(right[start : start + len(data)] == data for start, data in reading.spans.items())
        return reading.status

    with gateway(tmp_path, hub, workers=workers) as running:
        for _ in range(4):
            other = read(running.port, file.replace("model", "other"), rest)
            assert (other.status, other.whole) == (206, True), "nobody has wrong bytes"
        with hub.failing(Throttle(6e6, match=CDN), FlipByte(7 * MIB + 5, match=CDN)):
            wrong = read(running.port, file)
        assert not wrong.whole
        assert wrong.body
        for _ in range(8):  # by each worker, while it comes, and once it is here
            assert asked(rest) == asked(rest.replace("bytes=", "BYTES = ,")) == 409
            assert asked(closed) == asked("Range: bytes=0-") == asked("Range: bytes=-9") == 206
            assert asked(rest, 'If-Range: "another"') == 200
        running.restart()
        assert asked(rest) == 409
