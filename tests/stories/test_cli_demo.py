"""The demo, as a user runs it: real programs, a real model, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "moongate.cli", "demo"]


@pytest.fixture
def environment(tmp_path: Path, minilm: Path) -> dict[str, str]:
    """A temporary folder of the demo's own, so that what it leaves behind can be seen."""
    assert minilm.is_dir()
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path)}


def _started(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.clients
def test_01_all_goes_as_told_and_nothing_stays_behind(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    steps = {step["step"]: step for step in report["steps"]}
    model_bytes = steps["cold"]["received_bytes"]
    assert model_bytes > 90_000_000
    # Through Xet, float32 weights travel some percent smaller than they are.
    assert 0.8 * model_bytes < steps["cold"]["upstream_bytes"] < 1.01 * model_bytes
    assert steps["warm"]["upstream_bytes"] < 100_000
    tuned = steps["fine-tune"]
    assert tuned["received_bytes"] == model_bytes
    assert tuned["upstream_bytes"] < 0.05 * model_bytes
    assert tuned["disk"]["logical_bytes"] == 2 * model_bytes
    assert tuned["disk"]["stored_bytes"] < 1.05 * model_bytes
    assert steps["backdoored"]["received_bytes"] == 0
    assert "posix.system" in steps["backdoored"]["reason"] or "os.system" in steps["backdoored"]["reason"]
    assert steps["upstream-stopped"]["received_bytes"] == model_bytes
    assert steps["upstream-stopped"]["upstream_bytes"] is None
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / ".moongate").exists()


@pytest.mark.clients
def test_02_ctrl_c_ends_it_cleanly(environment: dict[str, str], tmp_path: Path) -> None:
    process = _started(COMMAND, environment, tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("hf, cold"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.clients
@pytest.mark.long
def test_03_kept_running_until_told_to_stop(environment: dict[str, str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--keep"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if "export HF_ENDPOINT=" in line:
            url = line.partition("=")[2].strip()
        if line.startswith("Ctrl-C"):
            break
    import urllib.request

    with urllib.request.urlopen(f"{url}/healthz", timeout=60) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert list((tmp_path / "tmp").iterdir()) == []
