"""The plan of a run: how many rounds, how large, which measurements. Made from the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30

MEASURES = (
    "warm",
    "metadata",
    "disturbed",
    "first_byte",
    "cold",
    "miss",
    "limited",
    "readers",
    "crowd",
    "olah",
    "policy",
    "audit",
    "scan",
    "guard",
    "start",
    "xet_codecs",
    "xet_cold",
    "xet_warm",
    "xet_family",
    "xet_plain",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. `passes` is how often a sample of warm reads reads its bytes."""

    rounds: int
    hot_bytes: int
    limited_bytes: int
    family_bytes: int
    passes: int
    small_spans: int
    load_seconds: float
    probe_seconds: float
    first_byte_files: int
    slow_readers: int
    crowd: int
    only: tuple[str, ...]
    work: Path | None
    out: Path
    request_logs: bool
    nginx_workers: int
    gateway_workers: int
    olah_workers: int

    @property
    def client_cpus(self) -> set[int]:
        """The processors the clients run on: the last one we may use; all of them when there is only one."""
        return {max(os.sched_getaffinity(0))}

    def wants(self, name: str) -> bool:
        return name in self.only


def parse(arguments: Sequence[str]) -> Plan:
    """The plan a command line asks for.

    Raises:
        SystemExit: it makes no sense; what is wrong is on stderr.
    """
    parser = argparse.ArgumentParser(
        prog="bench", description="Ratios beside nginx and Olah in the same run."
    )
    parser.add_argument(
        "--quick", action="store_true", help="two rounds and smaller files: does it work at all"
    )
    parser.add_argument("--rounds", type=_positive, help="rounds of A B A B [5; quick: 2]")
    parser.add_argument("--size-mib", type=_positive, help="size of the hot file [1024; quick: 128]")
    parser.add_argument(
        "--family-mib", type=_positive, help="size of the base model of Xet's family [512; quick: 64]"
    )
    parser.add_argument("--only", default="", metavar="NAME,…", help=f"some of: {', '.join(MEASURES)}")
    parser.add_argument("--skip", default="", metavar="NAME,…", help="all but these")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where files are made [a temporary folder]")
    parser.add_argument(
        "--out", type=Path, default=Path("bench/results"), metavar="DIR", help="where results go"
    )
    parser.add_argument(
        "--no-request-logs", action="store_true", help="no request lines, neither ours nor nginx's"
    )
    parser.add_argument(
        "--nginx-workers", type=_positive, default=1, metavar="N", help="worker_processes [1]"
    )
    parser.add_argument(
        "--gateway-workers", type=_positive, default=1, metavar="N", help="moongate --workers [1]"
    )
    parser.add_argument("--olah-workers", type=_positive, default=1, metavar="N", help="olah's workers [1]")
    given = parser.parse_args(arguments)
    only, skip = (_names(parser, text) for text in (given.only, given.skip))
    quick = given.quick
    return Plan(
        rounds=given.rounds or (2 if quick else 5),
        hot_bytes=(given.size_mib or (128 if quick else 1024)) * MIB,
        limited_bytes=(192 if quick else 512) * MIB,
        family_bytes=(given.family_mib or (64 if quick else 512)) * MIB,
        passes=4,
        small_spans=200 if quick else 1000,
        load_seconds=1.0 if quick else 5.0,
        probe_seconds=2.0 if quick else 10.0,
        first_byte_files=4 if quick else 15,
        slow_readers=40 if quick else 200,
        crowd=20 if quick else 50,
        only=tuple(name for name in MEASURES if (not only or name in only) and name not in skip),
        work=given.work,
        out=given.out,
        request_logs=not given.no_request_logs,
        nginx_workers=given.nginx_workers,
        gateway_workers=given.gateway_workers,
        olah_workers=given.olah_workers,
    )


def _names(parser: argparse.ArgumentParser, text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.replace(" ", "").split(",") if name)
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        parser.error(f"there is no measurement {', '.join(unknown)}; there are: {', '.join(MEASURES)}")
    return names


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
