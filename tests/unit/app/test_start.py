"""What a start loads: how long it takes goes by that, and a test of time would be one of the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from moongate.app.settings import Settings
from moongate.app.wiring.stock import open_store

LATER = (
    "alembic",
    "huggingface_hub",
    "jinja2",
    "markdown_it",
    "nh3",
    "numpy",
    "sigstore",
    "wasmtime",
    "yara_x",
)
"""What the first answer does not need."""

ELSEWHERE = ("moongate.scan.engine", "moongate.scan.glance", "moongate.weights.pickle_machine")
"""What belongs to the process that judges, which may do nothing else."""

_START = f"""
import asyncio, sys
from moongate.app.settings import Settings

async def start():
    before = set(sys.modules)
    from moongate.app.wiring.front import front_door
    from moongate.app.wiring.gateway import build
    gateway = build(Settings.load(home=sys.argv[1], port=0))
    front = front_door(gateway)
    await gateway.start()
    loaded = [name for name in {LATER + ELSEWHERE!r} if name in sys.modules]
    assert not loaded, f"the start loads {{loaded}}"
    front.close()
    await gateway.close()
    return sorted(set(sys.modules) - before)
"""


def _run(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _START + code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_second_start_loads_nothing_that_only_later_requests_need(tmp_path: Path) -> None:
    open_store(Settings.load(home=tmp_path)).close()
    _run("asyncio.run(start())", str(tmp_path))


def test_a_parent_loads_what_workers_need_and_can_still_be_forked(tmp_path: Path) -> None:
    open_store(Settings.load(home=tmp_path)).close()
    _run(
        """
import os
from moongate.app.workers import load
held = os.listdir("/proc/self/fd")
load()
assert os.listdir("/proc/self/fd") == held, "something was opened"
assert len(os.listdir("/proc/self/task")) == 1, "a thread was started"
fresh = [name for name in asyncio.run(start()) if not name.startswith("importlib")]
assert len(fresh) < 24, f"each worker would load {len(fresh)} modules by itself: {fresh}"
""",
        str(tmp_path),
    )
