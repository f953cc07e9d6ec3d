"""A family of models through Xet: what comes from upstream for each, and what all of them take on disk."""

from __future__ import annotations

from bench.family import CHANGED_SHARE, QUANTISED_SHARE, STRETCH_EVERY_BYTES
from bench.gateway import Gateway
from bench.hub import HubFile
from bench.plan import MIB
from bench.rows import Row, Section, Target
from bench.samples import Samples
from bench.stage import Stage

NAME = "xet_family"
_TRANSIT = Target("at most", 1.1, "value")
_AT_REST = Target("at most", 1.35, "value")


def measure(stage: Stage) -> Section:
    """Bytes counted at upstream, all of them, and bytes of files in the store; one gateway for the family."""
    family = stage.family
    base, count = family.base, len(family.fine_tunes)
    stretch = CHANGED_SHARE * STRETCH_EVERY_BYTES / MIB
    section = Section(
        NAME,
        "A family of models",
        f"A base of {base.size_bytes // MIB} MiB of noise, then {count} fine-tunes with {CHANGED_SHARE:.0%} "
        f"of its bytes changed in place in stretches of {stretch:.1f} MiB, then a quantised file of "
        f"{QUANTISED_SHARE:.0%} of its size, nine tenths of it new. Each is pulled once by the official "
        "client; what upstream sent for it counts metadata and reconstructions too.",
    )
    with stage.fresh(xet=True) as served:
        empty = served.stored_bytes()
        fetched = [_fetched(stage, served, base)]
        first = (served.stored_bytes() - empty) / base.size_bytes
        fetched += [_fetched(stage, served, file) for file in family.fine_tunes]
        after = (served.stored_bytes() - empty) / base.size_bytes
        quantised = _fetched(stage, served, family.quantised)
    shares = tuple(sent / family.changed_bytes for sent in fetched[1:])
    ratio = Samples((quantised / family.quantised.size_bytes,))
    section.rows += [
        Row("base: sent by upstream", "of its size", Samples((fetched[0] / base.size_bytes,))),
        Row("each fine-tune: sent by upstream", "of what changed", Samples(shares), target=_TRANSIT),
        Row("quantised: sent by upstream", "of its size", ratio),
        Row("base: on disk", "of its size", Samples((first,))),
        Row(
            f"base and {count} fine-tunes: on disk", "of the base's size", Samples((after,)), target=_AT_REST
        ),
    ]
    return section


def _fetched(stage: Stage, served: Gateway, file: HubFile) -> int:
    before = stage.hub.all_sent_bytes()
    stage.pull(served.url, file)
    return stage.hub.all_sent_bytes() - before
