"""Many small requests at once: wrk for GET, ab for HEAD (wrk waits for a body that a HEAD does not have)."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

from bench.processes import CannotRun, Program, clean_environment, pinned

CONNECTIONS = 16
_SLACK_SECONDS = 30.0

# wrk's own report has no 95th percentile.
_REPORT = """\
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\\n{"requests": %d, "microseconds": %d, "p50": %d, "p95": %d, "p99": %d, "failed": %d}\\n',
        summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(95), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def get(url: str, seconds: float, server: Program, cpus: set[int], folder: Path) -> dict[str, float]:
    """GETs on 16 connections: `per_second`, `p50_ms`, `p95_ms`, `p99_ms`, `cpu_us` of the server per request.

    Raises:
        CannotRun: wrk is missing, or answers were not all 2xx.
    """
    script = folder / "report.lua"
    script.write_text(_REPORT)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
    before = server.cpu_seconds()
    said = _run(command, seconds, cpus)
    spent = server.cpu_seconds() - before
    report = json.loads(said.strip().splitlines()[-1])
    if report["failed"]:
        raise CannotRun(f"{report['failed']} of {report['requests']} requests to {server.name} failed")
    if not report["requests"]:
        raise CannotRun(f"{server.name} answered nothing in {seconds:g} s")
    return {
        "per_second": report["requests"] / report["microseconds"] * 1e6,
        "p50_ms": report["p50"] / 1e3,
        "p95_ms": report["p95"] / 1e3,
        "p99_ms": report["p99"] / 1e3,
        "cpu_us": spent / report["requests"] * 1e6,
    }


def head(url: str, seconds: float, server: Program, cpus: set[int], folder: Path) -> dict[str, float]:
    """The same with HEADs.

    Raises:
        CannotRun: ab is missing, or answers were not all 2xx.
    """
    table = folder / "ab.csv"
    limit = ["-t", str(max(1, round(seconds))), "-n", "100000000"]
    command = ["ab", "-q", "-i", "-k", "-c", str(CONNECTIONS), *limit, "-e", str(table), url]
    before = server.cpu_seconds()
    said = _run(command, seconds, cpus)
    spent = server.cpu_seconds() - before
    facts = {
        name.strip(): value.split() for name, _, value in (line.partition(":") for line in said.splitlines())
    }
    done = int(facts["Complete requests"][0])
    if "Non-2xx responses" in facts or int(facts["Failed requests"][0]) or not done:
        raise CannotRun(f"HEADs to {server.name} failed")
    with table.open(newline="") as opened:
        milliseconds = {row[0]: float(row[1]) for row in list(csv.reader(opened))[1:]}
    return {
        "per_second": float(facts["Requests per second"][0]),
        "p50_ms": milliseconds["50"],
        "p95_ms": milliseconds["95"],
        "p99_ms": milliseconds["99"],
        "cpu_us": spent / done * 1e6,
    }


def _run(command: list[str], seconds: float, cpus: set[int]) -> str:
    if shutil.which(command[0]) is None:
        raise CannotRun(f"{command[0]} is not installed; scripts/setup-bench installs it")
    ended = subprocess.run(
        [*pinned(cpus), *command],
        capture_output=True,
        text=True,
        timeout=seconds + _SLACK_SECONDS,
        env=clean_environment(),
        check=False,
    )
    if ended.returncode:
        raise CannotRun(
            f"{command[0]} ended with {ended.returncode}: {(ended.stderr or ended.stdout).strip()[-300:]}"
        )
    return ended.stdout
