"""Xet pulls of what the gateway never saw: the official client through it, beside directly from upstream."""

from __future__ import annotations

from bench.clients import GB, Client
from bench.family import make_base
from bench.hub import HubFile
from bench.plan import MIB
from bench.rounds import Reading, alternate
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import OURS, Stage

NAME = "xet_cold"
_TIME = Target("at most", 1.15)
_BEHIND = Target("at most", 100.0, "value")
_BYTES_PER_SECOND = 50_000_000
_BYTES_PER_SECOND_TOGETHER = 250_000_000
_FIRST_BYTE_FILE_BYTES = 16 * MIB


def measure(stage: Stage) -> Section:
    """Seconds of a whole pull; first bytes of chunk data."""
    base = stage.family.base
    section = Section(
        NAME,
        "A cold pull through Xet",
        f"A file of {base.size_bytes // MIB} MiB by `hf_hub_download` with hf_xet, its caches empty and its "
        "chunk cache off, on any processor: through a gateway with an empty home, and directly from the same "
        "upstream, which has one process for both; as fast as it can send, with all its connections together "
        "limited, as by an uplink, and with each of them limited, as by a CDN. The gateway decodes and "
        "hashes everything as it goes. "
        f"First byte: headers, token, reconstruction, first chunk data of {stage.plan.first_byte_files} "
        f"files of {_FIRST_BYTE_FILE_BYTES // MIB} MiB, each in a repository the gateway has not heard of.",
    )

    _pulls(stage, section, "as fast as this machine allows")
    with stage.hub.throttled(_BYTES_PER_SECOND_TOGETHER, together=True):
        _pulls(stage, section, f"{_BYTES_PER_SECOND_TOGETHER // 10**6} MB/s in all")
    with stage.hub.throttled(_BYTES_PER_SECOND):
        _pulls(stage, section, f"{_BYTES_PER_SECOND // 10**6} MB/s a connection")
    _first_bytes(stage, section)
    return section


def _pulls(stage: Stage, section: Section, how: str) -> None:
    base = stage.family.base

    def ours(_: int) -> Reading:
        with stage.fresh(xet=True) as served:
            before = served.program.cpu_seconds()
            found = _pulled(stage, served.url, base)
            spent = served.program.cpu_seconds() - before
            return {**found, "cpu_per_gb": spent / (found["bytes"] / GB)}

    def directly(_: int) -> Reading:
        return _pulled(stage, stage.hub.url, base)

    rounds = alternate(stage.plan.rounds, {OURS: ours, "upstream": directly}, stage.settle)
    section.compare(f"{how}: time", "s", "seconds", rounds, OURS, "upstream", _TIME)
    section.compare(f"{how}: CPU of the client", "s/GB", "client_cpu_per_gb", rounds, OURS, "upstream")
    spent = Samples(tuple(reading["cpu_per_gb"] for reading in rounds[OURS]))
    section.rows.append(Row(f"{how}: CPU of the gateway", "s/GB", spent))


def _pulled(stage: Stage, endpoint: str, file: HubFile) -> Reading:
    found = stage.pull(endpoint, file)
    return {**found, "client_cpu_per_gb": found["cpu_seconds"] / (found["bytes"] / GB)}


def _first_bytes(stage: Stage, section: Section) -> None:
    through, direct = [], []
    with stage.fresh(xet=True) as served:
        for number in range(stage.plan.first_byte_files):
            made = make_base(stage.files, _FIRST_BYTE_FILE_BYTES, seed=1000 + number)
            repo = stage.add_xet(f"first-xet/{number}", made).repo
            direct.append(_first_byte(stage, stage.hub.url, repo))
            through.append(_first_byte(stage, served.url, repo))
    section.rows.append(Row("first byte", "ms", Samples(tuple(through)), "upstream", Samples(tuple(direct))))
    behind = Samples(tuple(mine - other for mine, other in zip(through, direct, strict=True)))
    section.rows.append(Row("first byte: behind upstream", "ms", behind, target=_BEHIND))


def _first_byte(stage: Stage, endpoint: str, repo: str) -> float:
    job = {"endpoint": endpoint, "repo": repo, "path": "model.safetensors"}
    found: float = Client("xet_way", job, stage.plan.client_cpus).result()["first_byte"]
    return found * 1e3
