"""Pulls with the real client, `hf download`, each into an empty cache; and what arrived."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moongate.cli.demo.model import sha256_of
from moongate.cli.demo.programs import plain_environment
from moongate.cli.exits import CommandFailed

_PULL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Pulled:
    """One finished pull: how long the whole command took, and what lies in the client's cache."""

    seconds: float
    files: int
    size_bytes: int


def find_hf() -> Path:
    """The `hf` program of the huggingface_hub that is installed beside us.

    Raises:
        CommandFailed: it is not there.
    """
    program = Path(sys.executable).with_name("hf")
    if not program.is_file():
        raise CommandFailed(
            f"the client `hf` is not beside {sys.executable}",
            hint=f"{sys.executable} -m pip install huggingface_hub",
        )
    return program


def pull(
    repo: str, endpoint: str, cache: Path, expected: Mapping[str, str], token: str | None = None
) -> Pulled:
    """`hf download` from an endpoint into a cache folder that does not exist yet, every file checked.

    Raises:
        CommandFailed: the client failed, or a file is missing or not what it must be.
    """
    seconds = _hf(["download", repo], endpoint, cache, token)
    return check_snapshot(_snapshot(cache), expected, seconds)


def refused_pull(repo: str, name: str, endpoint: str, cache: Path) -> tuple[float, str]:
    """An `hf download` that the gateway refuses because of this file: how long it took, and the reason told.

    Raises:
        CommandFailed: the client got the file, or another answer than a refusal.
    """
    started = time.monotonic()
    try:
        _hf(["download", repo], endpoint, cache, None)
    except CommandFailed as failed:
        seconds = time.monotonic() - started
        told = re.search(r"This gateway refuses .*", failed.message)
        if told is None or any(cache.rglob(name)):
            raise
        return seconds, told[0].strip()
    raise CommandFailed(f"{name} of {repo} was given to a client")


def push(repo: str, folder: Path, endpoint: str, home: Path, token: str) -> float:
    """`hf upload` of a folder, by who has this token; how many seconds the whole command took.

    Raises:
        CommandFailed: the client failed.
    """
    return _hf(["upload", repo, str(folder), "."], endpoint, home, token)


def _hf(arguments: Sequence[str], endpoint: str, home: Path, token: str | None) -> float:
    environment = plain_environment(
        HF_ENDPOINT=endpoint,
        HF_HOME=str(home),
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_UPDATE_CHECK="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        NO_PROXY="*",
        **({"HF_TOKEN": token} if token else {}),
    )
    started = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603  (the client beside us)
            [str(find_hf()), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PULL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"hf {arguments[0]} took longer than {_PULL_SECONDS:.0f} s") from None
    seconds = time.monotonic() - started
    if done.returncode:
        words = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise CommandFailed(f"hf {arguments[0]} failed ({done.returncode}):\n  {words}")
    return seconds


def check_snapshot(folder: Path, expected: Mapping[str, str], seconds: float) -> Pulled:
    """What lies in a snapshot folder, when it is exactly what was expected.

    Raises:
        CommandFailed: it is not.
    """
    arrived = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    missing = sorted(set(expected) - set(arrived))
    wrong = sorted(
        name for name in expected if name in arrived and sha256_of(arrived[name]) != expected[name]
    )
    if missing or wrong:
        raise CommandFailed(
            "; ".join(
                f"{what}: {', '.join(names)}"
                for what, names in (("did not arrive", missing), ("arrived with other bytes", wrong))
                if names
            )
        )
    return Pulled(seconds, len(arrived), sum(path.stat().st_size for path in arrived.values()))


def _snapshot(cache: Path) -> Path:
    snapshots = [path for path in cache.glob("hub/models--*/snapshots/*") if path.is_dir()]
    if len(snapshots) != 1:
        raise CommandFailed(f"expected one snapshot in the client's cache, found {len(snapshots)}")
    return snapshots[0]
