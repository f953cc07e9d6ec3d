"""Plain reads of a file that is kept as chunks: made from segments, beside the blob that it then is."""

from __future__ import annotations

import time

from bench.clients import transfer
from bench.family import make_weights
from bench.gateway import Gateway
from bench.hub import HubFile
from bench.plan import MIB
from bench.processes import CannotRun
from bench.rounds import Reading
from bench.rows import Section, Target
from bench.stage import OURS, Stage

NAME = "xet_plain"
_BLOB = "a blob"
_LONGEST_SECONDS = 60.0
_SPEED = Target("at least", 0.5)


def measure(stage: Stage) -> Section:
    """Speed and CPU of the first plain read after a Xet pull, and of the next one."""
    base = stage.family.base
    weights = make_weights(stage.files, base.size_bytes, seed=77)
    section = Section(
        NAME,
        "Plain reads of a Xet file",
        f"A file of {base.size_bytes // MIB} MiB that was pulled through Xet, read whole by one client: "
        "first from its chunks, then, once it was read often enough for a whole copy, from that.",
    )
    for what, file in (
        ("noise, stored raw", base),
        ("float32 weights, stored as BG4-LZ4", stage.add_xet("family/weights", weights)),
    ):
        rounds: dict[str, list[Reading]] = {OURS: [], _BLOB: []}
        for _ in range(stage.plan.rounds):
            with stage.fresh(xet=True) as served:
                stage.pull(served.url, file)
                stage.settle()
                before = stage.hub.all_sent_bytes()
                rounds[OURS].append(_read(stage, served, file))
                if stage.hub.sent_bytes(file.sha256) or stage.hub.all_sent_bytes() - before > MIB:
                    raise CannotRun("a plain read of a kept Xet file asked upstream for content")
                _make_blob(stage, served, file)
                rounds[_BLOB].append(_read(stage, served, file))
        section.compare(f"{what}: speed", "GB/s", "gb_per_second", rounds, OURS, _BLOB, _SPEED)
        section.compare(f"{what}: CPU", "s/GB", "cpu_per_gb", rounds, OURS, _BLOB)
    return section


def _make_blob(stage: Stage, served: Gateway, file: HubFile) -> None:
    """Read the file until there is a whole copy of it."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while True:
        _read(stage, served, file)
        try:
            served.blob(file.sha256)
        except CannotRun:
            if time.monotonic() > deadline:
                raise
        else:
            break
    stage.settle()


def _read(stage: Stage, served: Gateway, file: HubFile) -> Reading:
    return transfer(served.program, "whole", served.port, file.url_path, stage.plan.client_cpus)
