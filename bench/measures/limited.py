"""A CDN that limits each connection: how much faster several fill than one."""

from __future__ import annotations

from bench.measures.cold import download
from bench.plan import MIB
from bench.rounds import Reading, alternate
from bench.rows import Section, Target
from bench.stage import OURS, Stage

NAME = "limited"
_FASTER = Target("at least", 4.0)
_BYTES_PER_SECOND = 50_000_000


def measure(stage: Stage) -> Section:
    """The rate of a cold file through the gateway, beside one connection to the CDN."""
    file = stage.medium
    section = Section(
        NAME,
        "A CDN that limits each connection",
        f"Upstream gives every connection 50 MB/s; a cold file of {file.size_bytes // MIB} MiB.",
    )
    with stage.hub.throttled(_BYTES_PER_SECOND):

        def ours(_: int) -> Reading:
            with stage.fresh() as served:
                return _rate(download(stage, f"http://127.0.0.1:{served.port}{file.url_path}"))

        def directly(_: int) -> Reading:
            return _rate(download(stage, stage.hub.url + file.url_path))

        rounds = alternate(stage.plan.rounds, {OURS: ours, "one connection": directly}, stage.settle)
    section.compare("rate", "MB/s", "mb_per_second", rounds, OURS, "one connection", _FASTER)
    return section


def _rate(found: Reading) -> Reading:
    return {"mb_per_second": found["bytes"] / 1e6 / found["seconds"]}
