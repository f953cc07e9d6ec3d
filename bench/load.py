"""Many small requests at once: wrk for GET, a client of our own for HEAD."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from bench.clients import Client
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
        CannotRun: answers were not all 200.
    """
    parts = urlsplit(url)
    job = {"host": parts.hostname, "port": parts.port, "path": parts.path}
    before = server.cpu_seconds()
    found = Client("heads", {**job, "connections": CONNECTIONS, "seconds": seconds}, cpus).result()
    spent = server.cpu_seconds() - before
    return {
        "per_second": found["requests"] / found["seconds"],
        "p50_ms": found["p50"],
        "p95_ms": found["p95"],
        "p99_ms": found["p99"],
        "cpu_us": spent / found["requests"] * 1e6,
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
