"""Many clients at once ask for the same cold file: what upstream has to send."""

from __future__ import annotations

from bench.clients import read
from bench.plan import MIB
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import Stage

NAME = "crowd"
ONE_COPY = Target("exactly", 1.0, "value")


def measure(stage: Stage) -> Section:
    """Bytes counted at the upstream, in copies of the file."""
    file, plan = stage.medium, stage.plan
    section = Section(
        NAME,
        "A crowd at a cold file",
        f"{plan.crowd} clients ask at once for a cold file of {file.size_bytes // MIB} MiB and each reads "
        "all of it; bytes as upstream counts them.",
    )
    copies = []
    for _ in range(plan.rounds):
        with stage.fresh() as served:
            copies.append(copies_sent(stage, served.port))
    section.rows.append(Row("sent by upstream", "copies", Samples(tuple(copies)), target=ONE_COPY))
    return section


def copies_sent(stage: Stage, port: int) -> float:
    """Let the crowd read through what listens on this port; what upstream sent, in copies.

    Raises:
        CannotRun: one of them did not get the file.
    """
    file = stage.medium
    before = stage.hub.sent_bytes(file.sha256)
    read("crowd", port, file.url_path, stage.plan.client_cpus, connections=stage.plan.crowd)
    return (stage.hub.sent_bytes(file.sha256) - before) / file.size_bytes
