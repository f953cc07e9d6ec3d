"""The disk: what it does when it is full, what makes room, and what never has to give way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import FlipByte, HubDouble, LfsFile, Match, big_file
from support.front import until
from support.gateway import Gateway
from support.raw import ask
from support.readers import read, read_all
from support.wire_talk import WireTalk

MIB = 1 << 20
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    with double.running():
        yield double


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=40m,mode=0755", "moongate-test", str(folder)]
    mounted = subprocess.run(words, capture_output=True, check=False) if os.geteuid() == 0 else None
    if mounted is None or mounted.returncode:
        pytest.skip("a small disk takes root and the right to mount one")
    yield folder
    # A scanner that reads there may outlive its gateway for a moment.
    until(lambda: subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0)


def gateway(tmp_path: Path, hub: HubDouble, **settings: object) -> Gateway:
    env = {f"MOONGATE_{name.upper()}": str(value) for name, value in settings.items()}
    env.setdefault("MOONGATE_MIN_FREE_BYTES", "0")
    return Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc, env=env)


def blobs(running: Gateway) -> int:
    return int(ask(running.url, "/api/moongate/v1/usage").json()["blobs"])


def add(hub: HubDouble, tmp_path: Path, name: str, size: int, seed: int) -> bytes:
    hub.add_repo(f"acme/{name}").commit({"w.bin": big_file(tmp_path / name, size, seed=seed)})
    return (tmp_path / name).read_bytes()


def weights(name: str) -> str:
    return f"/acme/{name}/resolve/main/w.bin"


def test_1_a_full_disk_is_a_warning(tmp_path: Path, hub: HubDouble, small_disk: Path) -> None:
    """Files pass through, whole and right; what is kept stays; and with room again, all is as before."""
    kept = add(hub, tmp_path, "kept", 20 * MIB, 1)
    large = add(hub, tmp_path, "large", 30 * MIB, 2)
    with gateway(tmp_path, hub, store=small_disk / "store") as running:
        assert read(running.port, weights("kept")).body == kept
        until(lambda: blobs(running) == 1)
        for _ in range(2):
            readings = read_all(
                running.port, [(weights("large"), ())] * 3 + [(weights("large"), ("Range: bytes=5-9",))]
            )
            assert [reading.whole for reading in readings] == [True] * 4
            assert all(reading.body == large for reading in readings[:3])
            assert readings[3].body == large[5:10]
        until(lambda: "no room" in running.log_tail() or "No space" in running.log_tail())
        with hub.failing(FlipByte(29 * MIB, match=Match(origin="cdn"))):
            assert not read(running.port, weights("large")).whole, (
                "passed through, and nobody looked at the hash"
            )
        rest = read(running.port, weights("large"), f"Range: bytes={29 * MIB}-")
        assert rest.status == 409, "the end of a wrong file was passed through"
        hub.meters.reset()
        assert read(running.port, weights("kept")).body == kept
        assert not hub.meters.requests(origin="cdn"), "what was kept is lost"
        assert blobs(running) == 1
        removed = ask(running.url, "/api/moongate/v1/repos?repo=acme/kept", "DELETE").json()
        assert removed["freed_bytes"] == len(kept)
        until(lambda: read(running.port, weights("large")).body == large and blobs(running) == 1)
        hub.meters.reset()
        assert read(running.port, weights("large")).body == large
        assert not hub.meters.requests(origin="cdn")


def test_2_a_full_disk_stops_no_answer(tmp_path: Path, hub: HubDouble, small_disk: Path) -> None:
    """The index lies there too, and can write nothing: metadata and small files are answered all the same."""
    add(hub, tmp_path, "one", MIB, 1)
    hub.add_repo("acme/two").commit({"config.json": b"{}" * 2000, "w.bin": LfsFile(b"x" * 100_000)})
    small_home = small_disk / "home"
    env = {"MOONGATE_MIN_FREE_BYTES": "0", "MOONGATE_REF_TTL_SECONDS": "0"}
    running = Gateway(small_home, hub.url, cdn=hub.cdn_netloc, env=env)
    running.log_path = tmp_path / "gateway.log"
    with running:
        assert read(running.port, weights("one")).status == 200
        until(lambda: blobs(running) == 1)
        fill_up(small_disk)
        for _ in range(2):
            assert read(running.port, weights("one")).body == (tmp_path / "one").read_bytes()
            assert ask(running.url, "/api/models/acme/two").json()["id"] == "acme/two"
            assert ask(running.url, "/api/models/acme/two/tree/main").status == 200
            assert ask(running.url, "/acme/two/resolve/main/config.json").body == b"{}" * 2000
            assert ask(running.url, "/acme/two/resolve/main/w.bin").body == b"x" * 100_000
        (small_disk / "ballast").unlink()
        assert ask(running.url, "/acme/two/resolve/main/w.bin").body == b"x" * 100_000
        until(lambda: blobs(running) >= 2)


def fill_up(folder: Path) -> None:
    with (folder / "ballast").open("wb") as file:
        try:
            while True:
                file.write(bytes(65536))
                file.flush()
        except OSError:
            pass


def test_3_a_quota_takes_the_oldest_and_spares_the_pinned_and_the_open(
    tmp_path: Path, hub: HubDouble
) -> None:
    contents = {
        name: add(hub, tmp_path, name, 8 * MIB, n) for n, name in enumerate(("pinned", "open", "old", "new"))
    }
    with gateway(tmp_path, hub, quota_bytes=26 * MIB) as running:
        for number, name in enumerate(("pinned", "open", "old")):
            assert read(running.port, weights(name)).body == contents[name]
            until(lambda expected=number + 1: blobs(running) == expected)
        pin = b'{"repo": "acme/pinned", "revision": null}'
        assert ask(running.url, "/api/moongate/v1/pins", "POST", JSON, pin).status == 201
        with WireTalk(running.port, receive_buffer_bytes=4096) as slow:
            slow.say(f"GET {weights('open')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert slow.hear_head().status == 200
            assert read(running.port, weights("new")).body == contents["new"]
            until(lambda: stored(running) == {"acme/pinned", "acme/open", "acme/new"})
            assert slow.read(8 * MIB) == contents["open"]
        hub.meters.reset()
        for name in ("pinned", "open", "new"):
            assert read(running.port, weights(name)).body == contents[name]
        assert not hub.meters.requests(origin="cdn")


def stored(running: Gateway) -> set[str]:
    rows = ask(running.url, "/api/moongate/v1/repos").json()["repos"]
    return {row["repo"] for row in rows if row["stored_bytes"] >= 8 * MIB}


def test_4_all_pinned_means_passed_through(tmp_path: Path, hub: HubDouble) -> None:
    """Where nothing may go, nothing new is kept, and everybody is served."""
    pinned, new = add(hub, tmp_path, "pinned", 8 * MIB, 1), add(hub, tmp_path, "new", 8 * MIB, 2)
    with gateway(tmp_path, hub, quota_bytes=10 * MIB) as running:
        assert read(running.port, weights("pinned")).body == pinned
        until(lambda: blobs(running) == 1)
        pin = b'{"repo": "acme/pinned", "revision": null}'
        assert ask(running.url, "/api/moongate/v1/pins", "POST", JSON, pin).status == 201
        for _ in range(2):
            assert all(r.body == new for r in read_all(running.port, [(weights("new"), ())] * 3))
        assert stored(running) == {"acme/pinned"}
        until(lambda: "no room" in running.log_tail())


def test_5_a_lie_about_a_size_evicts_nothing(tmp_path: Path, hub: HubDouble) -> None:
    from moongate.double import SetHeaders

    kept = add(hub, tmp_path, "kept", 8 * MIB, 1)
    add(hub, tmp_path, "liar", 2 * MIB, 2)
    with gateway(tmp_path, hub, quota_bytes=30 * MIB) as running:
        assert read(running.port, weights("kept")).body == kept
        until(lambda: blobs(running) == 1)
        lie = SetHeaders({"X-Linked-Size": str(28 * MIB)}, match=Match(path="/acme/liar/*"))
        with hub.failing(lie):
            reading = read(running.port, weights("liar"))
            assert reading.status == 502
        assert stored(running) == {"acme/kept"}


def test_6_two_hundred_slow_readers_cost_little_memory(tmp_path: Path, hub: HubDouble) -> None:
    """Of a file of a GiB that is here: resident memory grows by less than 300 MB, and others are answered."""
    size = 1 << 30
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as file:
        file.truncate(size)
    hub.add_repo("acme/huge").commit({"w.bin": LfsFile(zeros)})
    hub.add_repo("acme/tiny").commit({"config.json": b"{}"})
    with gateway(tmp_path, hub) as running:
        plant(tmp_path, size)
        assert ask(running.url, weights("huge"), "HEAD").status == 200
        assert read(running.port, weights("huge"), "Range: bytes=0-9").headers["x-moongate-cache"] == "hit"
        before = resident_bytes(running.pid)
        readers = [WireTalk(running.port, receive_buffer_bytes=8192) for _ in range(200)]
        try:
            for number, reader in enumerate(readers):
                asked = f"Range: bytes={number * MIB}-\r\n" if number % 2 else ""
                reader.say(f"GET {weights('huge')} HTTP/1.1\r\nHost: localhost\r\n{asked}\r\n".encode())
            for reader in readers:
                assert reader.hear_head().status in (200, 206)
                assert reader.read(65536) == bytes(65536)
            grown = resident_bytes(running.pid) - before
            assert ask(running.url, "/acme/tiny/resolve/main/config.json").body == b"{}"
            for reader in readers:
                assert reader.read(65536) == bytes(65536)
        finally:
            for reader in readers:
                reader.close()
        assert grown < 300e6, f"{grown / 1e6:.0f} MB"


def plant(tmp_path: Path, size: int) -> None:
    """The sealed blob of so many zeros, without the time that fetching them takes."""
    digest = hashlib.sha256()
    for _ in range(size // (8 * MIB)):
        digest.update(bytes(8 * MIB))
    etag = digest.hexdigest()
    blob = tmp_path / "home" / "store" / "v1" / "blobs" / "sha256" / etag[:2] / etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    with blob.open("wb") as file:
        file.truncate(size)


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such process")


def test_7_cold_slow_readers_cost_little_memory(tmp_path: Path, hub: HubDouble) -> None:
    """The same of a file that is still being fetched: what nobody took yet lies on disk, not in memory."""
    right = add(hub, tmp_path, "cold", 64 * MIB, 9)
    with gateway(tmp_path, hub) as running:
        assert ask(running.url, weights("cold"), "HEAD").status == 200
        before = resident_bytes(running.pid)
        readers = [WireTalk(running.port, receive_buffer_bytes=8192) for _ in range(100)]
        try:
            for reader in readers:
                reader.say(f"GET {weights('cold')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            for reader in readers:
                reader.hear_head()
                assert reader.read(65536) == right[:65536]
            until(lambda: blobs(running) == 1)
            grown = resident_bytes(running.pid) - before
        finally:
            for reader in readers:
                reader.close()
        assert grown < 150e6, f"{grown / 1e6:.0f} MB"


def test_8_readers_that_leave_stop_nothing(tmp_path: Path, hub: HubDouble) -> None:
    right = add(hub, tmp_path, "w", 24 * MIB, 5)
    with gateway(tmp_path, hub) as running:
        began = threading.Event()
        for _ in range(5):
            with WireTalk(running.port) as reader:
                reader.say(f"GET {weights('w')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                reader.hear_head()
                reader.read(1000)
        until(lambda: blobs(running) == 1)
        hub.meters.reset()
        assert read(running.port, weights("w"), began=began).body == right
        assert not hub.meters.requests(origin="cdn")
