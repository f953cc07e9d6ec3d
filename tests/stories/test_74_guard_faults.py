"""Scanners that stop or die and gateways that are killed in the middle: nothing dangerous passes for it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moongate.double import HubDouble, LfsFile
from support.front import until
from support.gateway import Gateway
from support.pickled import EVIL, calls, zipped
from support.raw import ask

GOOD = zipped({"archive/data.pkl": calls("collections", "OrderedDict").replace(b"\x8c\x04true\x85", b")")})
EVIL_TORCH = zipped({"archive/data.pkl": EVIL, "archive/data/0": bytes(100_000)})


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "hub")
    double.add_repo("acme/mixed").commit(
        {"evil.bin": LfsFile(EVIL_TORCH), "good.bin": LfsFile(GOOD), "config.json": "{}"}
    )
    with double.running():
        yield double


def scanners(gateway: Gateway) -> set[int]:
    """The scanning processes of a gateway."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if b"moongate.scan.worker" in words and parent == gateway.pid:
            found.add(int(folder.name))
    return found


def ready_scanner(gateway: Gateway) -> int:
    """The one that was started for the first file, once it waits for that."""

    def is_ready() -> bool:
        found = scanners(gateway)
        return len(found) == 1 and _waits(next(iter(found)))

    until(is_ready)
    return scanners(gateway).pop()


def _waits(pid: int) -> bool:
    told = (Path("/proc") / str(pid) / "status").read_text()
    return "Seccomp:\t2" in told and "State:\tS" in told


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_1_a_scanner_that_hangs_and_dies_is_a_coded_answer_and_harms_nobody_else(
    tmp_path: Path, hub: HubDouble
) -> None:
    with Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc) as running, ThreadPoolExecutor(1) as pool:
        scanner = ready_scanner(running)
        os.kill(scanner, signal.SIGSTOP)
        stuck = pool.submit(ask, running.url, "/acme/mixed/resolve/main/good.bin")
        until(lambda: hub.meters.bytes_sent(origin="cdn") >= len(GOOD))
        for name, status in (("config.json", 200), ("evil.bin", 403)):
            assert ask(running.url, f"/acme/mixed/resolve/main/{name}").status == status
        assert not stuck.done()
        os.kill(scanner, signal.SIGKILL)
        answer = stuck.result()
        assert (answer.status, answer.headers["x-error-code"]) == (403, "HeldByPolicy")
        assert "the scanner died" in answer.headers["x-error-message"]
        told = ask(running.url, "/api/moongate/v1/verdicts?verdict=failed").json()["verdicts"]
        assert [verdict["retry_at"] is not None for verdict in told] == [True]


def test_2_a_gateway_killed_in_the_middle_of_a_scan_judges_anew(tmp_path: Path, hub: HubDouble) -> None:
    with Gateway(tmp_path / "home", hub.url, cdn=hub.cdn_netloc) as running:
        scanner = ready_scanner(running)
        os.kill(scanner, signal.SIGSTOP)
        for name in ("evil.bin", "good.bin"):
            threading.Thread(target=_hung_up, args=(running.url, f"/acme/mixed/resolve/main/{name}")).start()
        until(lambda: hub.meters.bytes_sent(origin="cdn") >= len(GOOD) + len(EVIL_TORCH))
        running.kill()
        os.kill(scanner, signal.SIGCONT)
        until(lambda: not is_alive(scanner))
        running.start()
        answer = ask(running.url, "/acme/mixed/resolve/main/evil.bin")
        assert (answer.status, answer.headers["x-error-code"]) == (403, "RefusedByPolicy")
        assert ask(running.url, "/acme/mixed/resolve/main/good.bin").body == GOOD
        told = ask(running.url, "/api/moongate/v1/verdicts?repo=acme/mixed").json()["verdicts"]
        assert sorted(verdict["verdict"] for verdict in told) == ["clean", "dangerous"]


def _hung_up(url: str, target: str) -> None:
    with pytest.raises(OSError):
        ask(url, target)
