"""Reads of a file in the page cache: whole, in large ranges, in small ranges; beside nginx's sendfile."""

from __future__ import annotations

import os
import random

from bench.clients import transfer
from bench.plan import GIB, MIB
from bench.rounds import Reading, alternate
from bench.rows import Section, Target
from bench.stage import OURS, Stage

NAME = "warm"
_SPEED = Target("at least", 0.9)
_SHAPES = (
    ("the whole file", Target("at most", 1.2)),
    ("ranges of 8 to 32 MiB", Target("at most", 1.2)),
    ("ranges of 64 KiB to 1 MiB", Target("at most", 1.6)),
)


def measure(stage: Stage) -> Section:
    """Throughput and CPU per GB of each shape."""
    plan, hot = stage.plan, stage.hot
    section = Section(
        NAME,
        "Warm reads",
        f"A file of {plan.hot_bytes / GIB:g} GiB in the page cache, one client on one kept-alive connection, "
        f"beside nginx with sendfile of the very same file, where the gateway keeps it. A sample reads "
        f"the file, or {plan.small_spans} small ranges, {plan.passes} times over.",
    )
    paths = {OURS: (stage.warm.program, stage.warm.port, hot.url_path)}
    paths["nginx"] = (stage.static.program, stage.static.port, _same_file(stage))
    for (shape, cpu_target), job in zip(_SHAPES, _jobs(stage), strict=True):

        def one(name: str, job: dict[str, object] = job) -> Reading:
            program, port, path = paths[name]
            return transfer(program, path=path, port=port, cpus=plan.client_cpus, **job)  # type: ignore[arg-type]

        rounds = alternate(plan.rounds, {name: lambda _, name=name: one(name) for name in paths})  # type: ignore[misc]
        section.compare(f"{shape}: speed", "GB/s", "gb_per_second", rounds, OURS, "nginx", _SPEED)
        section.compare(f"{shape}: CPU", "s/GB", "cpu_per_gb", rounds, OURS, "nginx", cpu_target)
    return section


def _same_file(stage: Stage) -> str:
    """Where nginx serves what the gateway keeps: so both find the same pages in the page cache."""
    link = stage.files / f"kept-{stage.hot.sha256}"
    os.link(stage.warm.blob(stage.hot.sha256), link)
    return f"/{link.name}"


def _jobs(stage: Stage) -> list[dict[str, object]]:
    plan = stage.plan
    large = _spans(plan.hot_bytes, max(2, plan.hot_bytes // (20 * MIB)), 8 * MIB, 32 * MIB, seed=1)
    small = _spans(plan.hot_bytes, plan.small_spans, MIB // 16, MIB, seed=2)
    return [
        {"kind": "whole", "times": plan.passes},
        {"kind": "spans", "spans": large * plan.passes},
        {"kind": "spans", "spans": small * plan.passes},
    ]


def _spans(size_bytes: int, count: int, least: int, most: int, seed: int) -> list[list[int]]:
    """Ranges of random place and length, the same in every run."""
    chance = random.Random(seed)
    spans = []
    for _ in range(count):
        length = min(chance.randint(least, most), size_bytes)
        first = chance.randint(0, size_bytes - length)
        spans.append([first, first + length - 1])
    return spans
