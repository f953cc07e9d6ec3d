"""Memory under many slow readers, of a kept file and of one that is being filled."""

from __future__ import annotations

from bench.clients import Client
from bench.plan import GIB
from bench.processes import Program, watching_memory
from bench.rounds import Reading, alternate
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import OURS, Stage

NAME = "readers"
_FLAT = Target("at most", 300.0, "value")
_BYTES_PER_SECOND = 512 << 10


def measure(stage: Stage) -> Section:
    """Growth of the process tree's resident memory, from before the readers to its greatest meanwhile."""
    plan = stage.plan
    section = Section(
        NAME,
        "Memory under slow readers",
        f"{plan.slow_readers} connections each take 512 KiB/s of a file of {plan.hot_bytes / GIB:g} GiB; "
        "growth of resident memory to its greatest meanwhile.",
    )
    hot = stage.hot
    rounds = alternate(
        plan.rounds,
        {
            OURS: lambda _: _growth(stage, stage.warm.program, stage.warm.port, hot.url_path),
            "nginx": lambda _: _growth(stage, stage.static.program, stage.static.port, f"/{hot.sha256}"),
        },
    )
    section.compare("a kept file: growth", "MB", "growth_mb", rounds, OURS, "nginx", _FLAT)
    filling = []
    with stage.nginx_as_cdn():
        for _ in range(plan.rounds):
            with stage.fresh() as served:
                filling.append(_growth(stage, served.program, served.port, hot.url_path)["growth_mb"])
    section.rows.append(Row("a file being filled: growth", "MB", Samples(tuple(filling)), target=_FLAT))
    return section


def _growth(stage: Stage, server: Program, port: int, path: str) -> Reading:
    job = {
        "kind": "slow",
        "host": "127.0.0.1",
        "port": port,
        "path": path,
        "connections": stage.plan.slow_readers,
        "bytes_per_second": _BYTES_PER_SECOND,
        "seconds": stage.plan.probe_seconds,
    }
    before = server.memory_bytes()
    with watching_memory(server) as greatest:
        Client("reader", job, stage.plan.client_cpus).result()
        return {"growth_mb": max(0, greatest() - before) / 1e6}
