"""The first byte of something never seen: how far behind upstream's own it comes."""

from __future__ import annotations

from bench.clients import Client
from bench.gateway import Gateway
from bench.hub import HubFile
from bench.plan import MIB
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import Stage

NAME = "first_byte"
_BEHIND = Target("at most", 50.0, "value")
_FILE_BYTES = 16 * MIB
_DELAY_SECONDS = 0.03


def measure(stage: Stage) -> Section:
    """First bytes directly and through an empty gateway, of fresh repositories, by branch."""
    count = stage.plan.first_byte_files
    section = Section(
        NAME,
        "First byte of a cold file",
        f"{count} files of {_FILE_BYTES // MIB} MiB, each in a repository the gateway has not heard of, "
        "asked for by branch on a new connection; upstream's own time includes its redirect to the CDN.",
    )
    with stage.fresh() as served:
        _rows(stage, section, served, "at once", _BEHIND)
        with stage.hub.delayed(_DELAY_SECONDS):
            _rows(stage, section, served, f"after {_DELAY_SECONDS * 1e3:g} ms each time", None)
    return section


def _rows(stage: Stage, section: Section, served: Gateway, how: str, behind: Target | None) -> None:
    direct, through = [], []
    for number in range(stage.plan.first_byte_files):
        file = stage.add_file(f"first/{'slow' if behind is None else 'fast'}-{number}", _FILE_BYTES)
        direct.append(_first_byte(stage, stage.hub.url, file))
        through.append(_first_byte(stage, f"http://127.0.0.1:{served.port}", file))
    what = f"upstream answers {how}"
    ours, theirs = Samples(tuple(through)), Samples(tuple(direct))
    section.rows.append(Row(f"{what}: first byte", "ms", ours, "upstream", theirs))
    late = Samples(tuple(mine - other for mine, other in zip(through, direct, strict=True)))
    section.rows.append(Row(f"{what}: behind upstream", "ms", late, target=behind))


def _first_byte(stage: Stage, endpoint: str, file: HubFile) -> float:
    job = {"kind": "download", "url": endpoint + file.branch_path, "stop_early": True}
    found: float = Client("reader", job, stage.plan.client_cpus).result()["first_byte"]
    return found * 1e3
