"""What a run was measured on: processors, kernel, versions, date."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench import nginx, olah
from bench.processes import CannotRun


def describe() -> dict[str, str]:
    """Names and values, in the order to show them."""
    return {
        "Date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Processors": f"{len(os.sched_getaffinity(0))} × {_processor()}",
        "Memory": f"{_memory_bytes() / (1 << 30):.0f} GiB",
        "Kernel": f"{platform.system()} {platform.release()}",
        "Moongate": version("moongate") + _commit(),
        "Python": platform.python_version(),
        "aiohttp, uvloop": f"{version('aiohttp')}, {version('uvloop')}",
        "nginx": _or_absent(nginx.version),
        "Olah": _or_absent(olah.version),
    }


def _or_absent(ask: object) -> str:
    assert callable(ask)
    try:
        return str(ask())
    except (CannotRun, subprocess.CalledProcessError):
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str:
    """The checkout's commit, where there is one."""
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" ({said.stdout.strip()})"
