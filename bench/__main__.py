"""`python -m bench`: measure, print the table, and write it to bench/results."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import machine, table
from bench.measures import (
    audit,
    beside_olah,
    cold,
    crowd,
    disturbed,
    first_byte,
    guard,
    limited,
    metadata,
    miss,
    policy,
    readers,
    scan,
    start,
    warm,
    xet_codecs,
    xet_cold,
    xet_family,
    xet_plain,
    xet_warm,
)
from bench.plan import Plan, parse
from bench.processes import CannotRun
from bench.rows import Section
from bench.stage import Stage

_MEASURES: dict[str, Callable[[Stage], Section]] = {
    module.NAME: module.measure
    for module in (
        warm,
        metadata,
        disturbed,
        first_byte,
        cold,
        miss,
        policy,
        audit,
        scan,
        guard,
        limited,
        readers,
        crowd,
        beside_olah,
        start,
        xet_codecs,
        xet_cold,
        xet_warm,
        xet_family,
        xet_plain,
    )
}


def main() -> int:
    """The exit code: 0 when everything asked for could be measured, whatever the figures."""
    plan = parse(sys.argv[1:])
    if plan.work is not None:
        plan.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="moongate-bench-", dir=plan.work) as folder:
        sections = run(plan, Path(folder))
    described, conditions = machine.describe(), conditions_of(plan)
    page = table.markdown(sections, described, conditions)
    plan.out.mkdir(parents=True, exist_ok=True)
    (plan.out / "latest.md").write_text(page)
    facts = table.as_json(sections, described, conditions)
    (plan.out / "latest.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(page)
    print(f"Written to {plan.out}/latest.md and latest.json", file=sys.stderr)
    return 1 if any(section.troubles for section in sections) else 0


def run(plan: Plan, folder: Path) -> list[Section]:
    """Every measurement the plan wants, one after another."""
    stage = Stage(plan, folder)
    sections = []
    try:
        for name, measure in _MEASURES.items():
            if plan.wants(name):
                sections.append(_measured(name, measure, stage))
    finally:
        stage.close()
    return sections


def _measured(name: str, measure: Callable[[Stage], Section], stage: Stage) -> Section:
    print(f"{name} ", end="", file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        section = measure(stage)
    except CannotRun as error:
        section = Section(name, name.replace("_", " ").capitalize(), "", troubles=[str(error)])
    print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)
    return section


def conditions_of(plan: Plan) -> list[str]:
    """What a reader must know of how it was measured."""
    cpus = ", ".join(str(cpu) for cpu in sorted(plan.client_cpus))
    logs = "one log line per request, both sides" if plan.request_logs else "no request logs on either side"
    return [
        f"{plan.rounds} rounds, contenders alternating; medians (least–greatest); a ratio is of one round",
        f"Everything on one machine over loopback; clients on processor {cpus}, servers anywhere",
        f"nginx worker processes: {plan.nginx_workers}; Moongate processes: {plan.gateway_workers}; {logs}",
        "CPU is user and system time of the server's process tree",
    ]


if __name__ == "__main__":
    sys.exit(main())
