"""What a miss costs: fetching, keeping and serving a file for the first time, beside nginx's proxy_cache."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial

from bench.clients import GB, read
from bench.gateway import Gateway
from bench.plan import GIB, MIB
from bench.processes import CannotRun
from bench.rounds import Reading, alternate
from bench.rows import Section, Target
from bench.stage import OURS, Stage

NAME = "miss"
_CPU = Target("at most", 1.3)
_SEAL_SECONDS = 30.0
_LOADED_SECONDS = 5.0
"""By then a gateway has started its scanner and looked for work: what it does once is no file's cost."""
_TUNED = "nginx, tuned"
_HASH = "sha256"


def measure(stage: Stage) -> Section:
    """CPU per GB and speed of the same file from the same upstream, each cache empty."""
    hot = stage.hot
    section = Section(
        NAME,
        "A miss",
        f"A file of {hot.size_bytes / GIB:g} GiB from an nginx upstream, read by one client, through an "
        "empty gateway and through an empty nginx proxy_cache: with its own default buffers, and with "
        "larger ones (8 of 64 KiB), which serve it better here. The gateway also hashes (sha256) and "
        "verifies; its CPU counts until the file is sealed. Beside it, too: what hashing as many bytes in "
        "memory costs here, by Python's hashlib in one thread.",
    )
    with stage.nginx_as_cdn():

        def ours(_: int) -> Reading:
            with stage.fresh() as served:
                time.sleep(_LOADED_SECONDS)
                before = served.program.cpu_seconds()
                found = read("whole", served.port, hot.url_path, stage.plan.client_cpus)
                _wait_sealed(served, hot.sha256)
                return _reading(found, served.program.cpu_seconds() - before)

        def nginx(large_buffers: bool, _: int) -> Reading:
            with stage.fresh_cache(large_buffers=large_buffers) as served:
                before = served.program.cpu_seconds()
                found = read("whole", served.port, f"/{hot.sha256}", stage.plan.client_cpus)
                time.sleep(0.2)
                return _reading(found, served.program.cpu_seconds() - before)

        contenders: dict[str, Callable[[int], Reading]] = {
            OURS: ours,
            "nginx": partial(nginx, False),
            _TUNED: partial(nginx, True),
            _HASH: lambda _: _hashing(hot.size_bytes),
        }
        rounds = alternate(stage.plan.rounds, contenders, stage.settle)
    section.compare("CPU", "s/GB", "cpu_per_gb", rounds, OURS, "nginx", _CPU)
    section.compare("CPU, larger buffers", "s/GB", "cpu_per_gb", rounds, OURS, _TUNED)
    section.compare("CPU, the hash alone", "s/GB", "cpu_per_gb", rounds, OURS, _HASH)
    section.compare("speed", "GB/s", "gb_per_second", rounds, OURS, "nginx")
    section.compare("speed, larger buffers", "GB/s", "gb_per_second", rounds, OURS, _TUNED)
    return section


def _reading(found: dict[str, float], spent: float) -> Reading:
    gigabytes = found["bytes"] / GB
    return {"cpu_per_gb": spent / gigabytes, "gb_per_second": gigabytes / found["seconds"]}


def _hashing(size_bytes: int) -> Reading:
    hasher, buffer = hashlib.sha256(), bytes(MIB)
    before = time.thread_time()
    for _ in range(size_bytes // MIB):
        hasher.update(buffer)
    spent, gigabytes = time.thread_time() - before, size_bytes // MIB * MIB / GB
    return {"cpu_per_gb": spent / gigabytes, "gb_per_second": gigabytes / spent}


def _wait_sealed(served: Gateway, sha256: str) -> None:
    deadline = time.monotonic() + _SEAL_SECONDS
    while True:
        try:
            served.blob(sha256)
        except CannotRun:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
