"""Our clients as processes: start a reader or a probe, wait for what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.processes import CannotRun, Program, clean_environment, pinned

GB = 1e9
_PACKAGES = Path(__file__).resolve().parent.parent
_LONGEST_SECONDS = 900.0


class Client:
    """A running client program; `job` is what it was told."""

    def __init__(
        self,
        module: str,
        job: Mapping[str, object],
        cpus: set[int] | None = None,
        *,
        python: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Without `python` it runs on our own interpreter."""
        self._process = subprocess.Popen(
            [*pinned(cpus), str(python or sys.executable), "-m", f"bench.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment({"PYTHONPATH": str(_PACKAGES), **(environment or {})}),
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def first_line(self) -> str:
        """Its first line of output, as soon as it says it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def result(self) -> Any:  # a JSON edge
        """What it found, once it is done.

        Raises:
            CannotRun: it failed; the message is its own.
        """
        try:
            output, errors = self._process.communicate(timeout=_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise CannotRun("a client did not finish") from None
        if self._process.returncode:
            raise CannotRun(errors.strip().splitlines()[-1] if errors.strip() else "a client failed")
        return json.loads(output.strip().splitlines()[-1])

    def kill(self) -> None:
        """End it without a result."""
        self._process.kill()
        self._process.communicate()


def read(kind: str, port: int, path: str, cpus: set[int], **more: object) -> Any:  # a JSON edge
    """Run one reading job to its end."""
    job = {"kind": kind, "host": "127.0.0.1", "port": port, "path": path, **more}
    return Client("reader", job, cpus).result()


def transfer(
    server: Program, kind: str, port: int, path: str, cpus: set[int], **more: object
) -> dict[str, float]:
    """One reading job with the server's CPU: `gb_per_second`, `cpu_per_gb`, `seconds`."""
    before = server.cpu_seconds()
    found = read(kind, port, path, cpus, **more)
    spent = server.cpu_seconds() - before
    return {
        "gb_per_second": found["bytes"] / GB / found["seconds"],
        "cpu_per_gb": spent / (found["bytes"] / GB),
        "seconds": found["seconds"],
    }
