"""Chunk data that is kept: the ranges of a file's xorbs, beside nginx with upstream's own xorbs."""

from __future__ import annotations

from bench import nginx, xet_way
from bench.clients import transfer
from bench.hub import HubFile
from bench.plan import GIB, MIB
from bench.processes import CannotRun, Program
from bench.reader import Answered
from bench.rounds import Reading, alternate
from bench.rows import Section, Target
from bench.stage import OURS, Stage
from bench.xet_way import Piece

NAME = "xet_warm"
_SPEED = Target("at least", 0.9)
_CPU = Target("at most", 1.5)
_LEAST_SAMPLE_BYTES = GIB


def measure(stage: Stage) -> Section:
    """Throughput and CPU per GB of a base's ranges and of a fine-tune's."""
    plan, family = stage.plan, stage.family
    section = Section(
        NAME,
        "Warm chunk data",
        "All ranges that a reconstruction names, in the page cache, one client on one kept-alive connection, "
        "over and over to at least 1 GiB a sample: from the gateway's signed addresses, and from nginx with "
        "sendfile that has upstream's xorbs.",
    )
    static = nginx.static(
        stage.folder / "xorbs", stage.hub.xorbs, workers=plan.nginx_workers, request_logs=plan.request_logs
    )
    try:
        with stage.fresh(xet=True) as served:
            for what, file in (("a base", family.base), ("a fine-tune", family.fine_tunes[0])):
                stage.pull(served.url, file)
                stage.settle()

                def ours(_: int, file: HubFile = file) -> Reading:
                    pieces = [piece.asked() for piece in _pieces(served.url, file)]
                    return _transfer(stage, served.program, served.port, pieces)

                def theirs(_: int, file: HubFile = file) -> Reading:
                    found = _pieces(served.url, file)
                    pieces = [[f"/{piece.xorb}", *piece.asked()[1:]] for piece in found]
                    return _transfer(stage, static.program, static.port, pieces)

                rounds = alternate(plan.rounds, {OURS: ours, "nginx": theirs})
                found = _pieces(served.url, file)
                mean = sum(piece.span.length for piece in found) / len(found) / MIB
                named = f"{what}, {len(found)} ranges of {mean:.1f} MiB"
                section.compare(f"{named}: speed", "GB/s", "gb_per_second", rounds, OURS, "nginx", _SPEED)
                section.compare(f"{named}: CPU", "s/GB", "cpu_per_gb", rounds, OURS, "nginx", _CPU)
    finally:
        static.stop()
    return section


def _transfer(stage: Stage, server: Program, port: int, pieces: list[list[str | int]]) -> Reading:
    size_bytes = sum(int(last) + 1 - int(first) for _, first, last in pieces)
    repeated = pieces * -(-_LEAST_SAMPLE_BYTES // size_bytes)
    return transfer(server, "pieces", port, "", stage.plan.client_cpus, pieces=repeated)


def _pieces(endpoint: str, file: HubFile) -> list[Piece]:
    try:
        return xet_way.pieces_of(endpoint, file.repo, file.path)
    except Answered as error:
        raise CannotRun(str(error)) from error
