"""The whole of something never seen: how long it takes through an empty gateway, beside upstream itself."""

from __future__ import annotations

from bench.clients import Client
from bench.plan import GIB
from bench.rounds import Reading, alternate
from bench.rows import Section
from bench.stage import OURS, Stage

NAME = "cold"


def measure(stage: Stage) -> Section:
    """Seconds for the hot file, through a gateway started for it and directly."""
    hot = stage.hot
    section = Section(
        NAME,
        "Time to a whole cold file",
        f"A file of {hot.size_bytes / GIB:g} GiB through a gateway with an empty home, beside one connection "
        "to upstream itself (an nginx as CDN, as fast as this machine allows). The gateway writes and hashes "
        "as it goes.",
    )
    with stage.nginx_as_cdn():

        def ours(_: int) -> Reading:
            with stage.fresh() as served:
                return download(stage, f"http://127.0.0.1:{served.port}{hot.url_path}")

        def directly(_: int) -> Reading:
            return download(stage, stage.hub.url + hot.url_path)

        rounds = alternate(stage.plan.rounds, {OURS: ours, "upstream": directly}, stage.settle)
    section.compare("time", "s", "seconds", rounds, OURS, "upstream")
    return section


def download(stage: Stage, url: str) -> Reading:
    """One client, one file, redirects followed: `seconds`, `first_byte`, `bytes`."""
    found: Reading = Client("reader", {"kind": "download", "url": url}, stage.plan.client_cpus).result()
    return found
