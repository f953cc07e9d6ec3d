"""What a small request feels while large ones run: whole files, slow readers, a file not in memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.clients import Client
from bench.measures.metadata import info_body, info_path
from bench.rounds import Reading, alternate
from bench.rows import Section, Target
from bench.samples import percentile
from bench.stage import OURS, Stage

NAME = "disturbed"
_LATE = Target("at most", 50.0, "value")
_WHOLE_READERS = 2
_SLOW_READERS = 50
_SLOW_BYTES_PER_SECOND = 256 << 10
_DROP_EVERY_SECONDS = 0.25


def measure(stage: Stage) -> Section:
    """The 99th percentile of a metadata answer, undisturbed and under three kinds of load."""
    section = Section(
        NAME,
        "Metadata while files are sent",
        f"200 info requests a second on one connection, each timed from when it was due, while "
        f"{_WHOLE_READERS} clients read the hot file over and over, {_SLOW_READERS} more take 256 KiB/s "
        f"each, and (where said) the file is thrown out of the page cache {1 / _DROP_EVERY_SECONDS:g} times "
        "a second; beside nginx with the same load and the same answer as a static file.",
    )
    info_body(stage)
    served = {
        OURS: (stage.warm.port, stage.hot.url_path, info_path(stage), stage.warm.blob(stage.hot.sha256)),
        "nginx": (stage.static.port, f"/{stage.hot.sha256}", "/info.json", stage.hot.at),
    }

    def turn(name: str, whole: int, slow: int, cold: bool) -> Callable[[int], Reading]:
        port, path, info, at = served[name]

        def one(_: int) -> Reading:
            with _load(stage, port, path, whole, slow), _cold(at if cold else None):
                return _probe(stage, port, info)

        return one

    cases = {
        "nothing else": (0, 0, False, None),
        "whole files and slow readers": (_WHOLE_READERS, _SLOW_READERS, False, _LATE),
        "the same from a cold page cache": (_WHOLE_READERS, _SLOW_READERS, True, _LATE),
    }
    for what, (whole, slow, cold, target) in cases.items():
        rounds = alternate(stage.plan.rounds, {name: turn(name, whole, slow, cold) for name in served})
        section.compare(f"{what}: p99", "ms", "p99_ms", rounds, OURS, "nginx", target)
    return section


def _probe(stage: Stage, port: int, path: str) -> Reading:
    job = {"host": "127.0.0.1", "port": port, "path": path, "seconds": stage.plan.probe_seconds}
    taken = Client("probe", job).result()["latencies"]
    return {"p99_ms": percentile(taken, 0.99) * 1e3}


@contextmanager
def _load(stage: Stage, port: int, path: str, whole: int, slow: int) -> Iterator[None]:
    job = {"host": "127.0.0.1", "port": port, "path": path, "seconds": stage.plan.probe_seconds + 30}
    clients: list[Client] = []
    try:
        if slow:
            more = {"kind": "slow", "connections": slow, "bytes_per_second": _SLOW_BYTES_PER_SECOND}
            clients.append(Client("reader", {**job, **more}, stage.plan.client_cpus))
            clients[-1].first_line()
        if whole:
            more = {"kind": "loop", "connections": whole}
            clients.append(Client("reader", {**job, **more}, stage.plan.client_cpus))
            time.sleep(0.3)  # until it reads
        yield
    finally:
        for client in clients:
            client.kill()


@contextmanager
def _cold(path: Path | None) -> Iterator[None]:
    """Keep throwing a file out of the page cache for the length of a block."""
    if path is None:
        yield
        return
    over = threading.Event()
    descriptor = os.open(path, os.O_RDONLY)

    def drop() -> None:
        os.fsync(descriptor)  # what is not on disk yet cannot be dropped
        while not over.is_set():
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            over.wait(_DROP_EVERY_SECONDS)

    dropper = threading.Thread(target=drop, daemon=True)
    dropper.start()
    try:
        yield
    finally:
        over.set()
        dropper.join()
        os.close(descriptor)
