"""The gateway under measurement: the real `moongate serve`, as a user starts it, on a home of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import CannotRun, Program

_START_SECONDS = 30.0


@dataclass(slots=True)
class Gateway:
    """A running gateway."""

    program: Program
    port: int
    home: Path

    def blob(self, etag: str) -> Path:
        """Where a sealed file lies.

        Raises:
            CannotRun: it is not sealed.
        """
        for found in (self.home / "store").glob(f"v*/blobs/*/*/{etag}"):
            return found
        raise CannotRun(f"the gateway keeps no file {etag[:12]}…")

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def stored_bytes(self) -> int:
        """What its store takes on disk now, the index not counted."""
        files = (path for path in (self.home / "store").rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files)

    def stop(self) -> None:
        self.program.stop()


def command() -> Path:
    """The command beside our own interpreter."""
    return Path(sys.executable).parent / "moongate"


def start(
    home: Path,
    upstream: str,
    allowed_hosts: str,
    *,
    workers: int = 1,
    request_logs: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Gateway:
    """Start it in front of an upstream; returns when it is ready.

    Raises:
        CannotRun: it did not start.
    """
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "MOONGATE_UPSTREAM_ALLOWED_HOSTS": allowed_hosts,
        "MOONGATE_LOG_REQUESTS": "true" if request_logs else "false",
        **(settings or {}),
    }
    flags = ["--port", "0", "--home", str(home), "--upstream", upstream, "--workers", str(workers)]
    program = Program(
        "moongate",
        [str(command()), "serve", *flags],
        home.with_name(home.name + ".log"),
        environment=environment,
        folder=home,
        read_output=True,
    )
    try:
        words = program.read_line(_START_SECONDS)
        port = urlsplit(words.strip().rpartition("=")[2]).port
        if port is None:
            raise CannotRun(f"moongate said {words.strip()!r} where its address was expected")
        program.wait_for_port("127.0.0.1", port)
    except CannotRun:
        program.stop()
        raise
    return Gateway(program, port, home)
