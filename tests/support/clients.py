"""Real clients in their own environments, driven by scripts that print what they saw as JSON.

A client knows nothing of this process: its home is a fresh folder, its environment names one endpoint, and
any https address leads to a closed port: a client sent to the public Hub fails instead of reaching it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parent.parent / "clients" / "scripts"
_CLOSED = "http://127.0.0.1:9"
_TAIL_CHARACTERS = 5000
_FOREIGN = ("HF_", "HUGGING", "TRANSFORMERS_", "DATASETS_", "MOONGATE_", "GIT_", "PYTEST")


def client_environment(home: Path, endpoint: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a client whose home is this folder."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }
    own = {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "https_proxy": _CLOSED,
        "no_proxy": "localhost,127.0.0.1,127.0.0.2,127.0.0.3",
        "PYTHONWARNINGS": "ignore",
        "NO_COLOR": "1",
    }
    return {**kept, **own, **(extra or {})}


def run_client(
    command: Sequence[str | Path],
    *,
    home: Path,
    endpoint: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout_seconds: float = 100.0,
) -> subprocess.CompletedProcess[str]:
    """Run a client's command to its end.

    Raises:
        AssertionError: it failed (unless `check` is off) or took too long; with what it wrote.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=client_environment(home, endpoint, env),
            cwd=cwd or home,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as late:
        wrote = late.stderr.decode(errors="replace") if isinstance(late.stderr, bytes) else str(late.stderr)
        raise AssertionError(f"{words} took over {timeout_seconds} s\n{wrote[-_TAIL_CHARACTERS:]}") from None
    if check and done.returncode:
        said = (done.stdout + done.stderr)[-_TAIL_CHARACTERS:]
        raise AssertionError(f"{words} ended with {done.returncode}\n{said}")
    return done


def run_script(
    interpreter: Path | str,
    script: str,
    plan: Mapping[str, object] | None = None,
    *,
    home: Path,
    endpoint: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float = 100.0,
) -> Any:
    """Run one of the scripts with a plan (its first argument, as JSON); the JSON of its last line.

    Raises:
        AssertionError: it failed; with what it wrote.
    """
    done = run_client(
        [interpreter, SCRIPTS / script, json.dumps(plan or {})],
        home=home,
        endpoint=endpoint,
        env=env,
        cwd=cwd,
        timeout_seconds=timeout_seconds,
    )
    lines = done.stdout.strip().splitlines()
    assert lines, f"{script} printed nothing\n{done.stderr[-_TAIL_CHARACTERS:]}"
    return json.loads(lines[-1])
