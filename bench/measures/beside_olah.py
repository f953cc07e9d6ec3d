"""The same work beside Olah, the Hub mirror on PyPI, from the same upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import load, olah
from bench.clients import read, transfer
from bench.measures.cold import download
from bench.measures.crowd import copies_sent
from bench.measures.metadata import info_path
from bench.olah import Olah
from bench.plan import GIB
from bench.processes import CannotRun, Program
from bench.rounds import Reading, alternate
from bench.rows import Section
from bench.stage import OURS, Stage

NAME = "olah"
_OTHER = "Olah"

Loader = Callable[[str, float, Program, set[int], Path], dict[str, float]]


def measure(stage: Stage) -> Section:
    """Cold and warm files, metadata, and what a crowd costs upstream."""
    section = Section(
        NAME,
        "Beside Olah",
        f"Olah {olah.version()} ({stage.plan.olah_workers} worker, TLS off) and Moongate, each with its "
        f"defaults, before the same Hub double; a file of {stage.hot.size_bytes / GIB:g} GiB by commit. Olah "
        "asks upstream on every HEAD and file request; Moongate does not for a commit it knows.",
    )
    _tried(section, "a cold whole file", partial(_cold, stage, section))
    _tried(section, "a crowd at a cold file", partial(_crowd, stage, section))
    with _started(stage) as other:
        _tried(section, "warm whole file", partial(_warm, stage, section, other))
        for what, loader, path in _asked(stage):
            _tried(section, what, partial(_metadata, stage, section, other, what, loader, path))
    return section


def _asked(stage: Stage) -> list[tuple[str, Loader, str]]:
    return [
        ("info by commit", load.get, info_path(stage)),
        ("info by branch", load.get, f"/api/models/{stage.hot.repo}"),
        ("HEAD of a file by commit", load.head, stage.hot.url_path),
        ("HEAD of a file by branch", load.head, stage.hot.branch_path),
    ]


def _tried(section: Section, what: str, step: Callable[[], None]) -> None:
    try:
        step()
    except CannotRun as error:
        section.troubles.append(f"{what}: {error}")


@contextmanager
def _started(stage: Stage) -> Iterator[Olah]:
    hub, workers = stage.hub, stage.plan.olah_workers
    served = olah.start(stage.folder / "olah", hub.url, hub.cdn_url, workers=workers)
    try:
        # It makes its first answers slowly; ours are past their first, too.
        read("whole", served.port, stage.small.branch_path, stage.plan.client_cpus)
        yield served
    finally:
        served.stop()


def _cold(stage: Stage, section: Section) -> None:
    def ours(_: int) -> Reading:
        with stage.fresh() as served:
            return download(stage, f"http://127.0.0.1:{served.port}{stage.hot.url_path}")

    def theirs(_: int) -> Reading:
        with _started(stage) as served:
            return download(stage, f"http://127.0.0.1:{served.port}{stage.hot.url_path}")

    rounds = alternate(stage.plan.rounds, {OURS: ours, _OTHER: theirs}, stage.settle)
    section.compare("a cold whole file: time", "s", "seconds", rounds, OURS, _OTHER)
    section.compare("a cold whole file: first byte", "s", "first_byte", rounds, OURS, _OTHER)


def _crowd(stage: Stage, section: Section) -> None:
    def ours(_: int) -> Reading:
        with stage.fresh() as served:
            return {"copies": copies_sent(stage, served.port)}

    def theirs(_: int) -> Reading:
        with _started(stage) as served:
            return {"copies": copies_sent(stage, served.port)}

    rounds = alternate(1, {OURS: ours, _OTHER: theirs})
    what = f"{stage.plan.crowd} clients at a cold file: sent by upstream"
    section.compare(what, "copies", "copies", rounds, OURS, _OTHER, note="one round")


def _warm(stage: Stage, section: Section, other: Olah) -> None:
    path, cpus = stage.hot.url_path, stage.plan.client_cpus
    read("whole", other.port, path, cpus)
    rounds = alternate(
        stage.plan.rounds,
        {
            OURS: lambda _: transfer(stage.warm.program, "whole", stage.warm.port, path, cpus),
            _OTHER: lambda _: transfer(other.program, "whole", other.port, path, cpus),
        },
    )
    section.compare("a warm whole file: speed", "GB/s", "gb_per_second", rounds, OURS, _OTHER)
    section.compare("a warm whole file: CPU", "s/GB", "cpu_per_gb", rounds, OURS, _OTHER)


def _metadata(stage: Stage, section: Section, other: Olah, what: str, loader: Loader, path: str) -> None:
    plan = stage.plan

    def turn(served: Program, port: int) -> Callable[[int], Reading]:
        url = f"http://127.0.0.1:{port}{path}"
        return lambda _: loader(url, plan.load_seconds, served, plan.client_cpus, stage.folder)

    # Each gives its first answer before it is measured.
    read("whole", stage.warm.port, info_path(stage), plan.client_cpus)
    read("whole", other.port, info_path(stage), plan.client_cpus)
    rounds = alternate(
        plan.rounds,
        {OURS: turn(stage.warm.program, stage.warm.port), _OTHER: turn(other.program, other.port)},
    )
    section.compare(f"{what}: requests", "/s", "per_second", rounds, OURS, _OTHER)
    section.compare(f"{what}: p95", "ms", "p95_ms", rounds, OURS, _OTHER)
