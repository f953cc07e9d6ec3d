"""Olah as a contender, from PyPI in an environment of its own, TLS off, in front of the same upstream."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import CannotRun, Program, free_port

ENVIRONMENT = Path(".venvs/olah")

_CONFIG = """\
[basic]
host = "127.0.0.1"
port = {port}
hf-scheme = "http"
hf-netloc = "{hub}"
hf-lfs-netloc = "{cdn}"
mirror-scheme = "http"
mirror-netloc = "127.0.0.1:{port}"
mirror-lfs-netloc = "127.0.0.1:{port}"
repos-path = "{repos}"
"""


@dataclass(slots=True)
class Olah:
    """A running Olah."""

    program: Program
    port: int

    def stop(self) -> None:
        self.program.stop()


def command() -> Path:
    """Its command.

    Raises:
        CannotRun: it is not installed.
    """
    found = (ENVIRONMENT / "bin" / "olah-cli").absolute()
    if not found.exists():
        raise CannotRun("Olah is not installed; scripts/setup-bench installs it")
    return found


def version() -> str:
    """Its version."""
    words = [
        str(command().parent / "python"),
        "-c",
        "from importlib.metadata import version; print(version('olah'))",
    ]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def start(folder: Path, hub_url: str, cdn_url: str, *, workers: int = 1) -> Olah:
    """Start it with an empty cache.

    Raises:
        CannotRun: it is not installed, or did not start.
    """
    program_path = command()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "olah.toml"
    config.write_text(
        _CONFIG.format(
            port=port,
            hub=urlsplit(hub_url).netloc,
            cdn=urlsplit(cdn_url).netloc,
            repos=folder / "repos",
        )
    )
    flags = ["--config", str(config), "--log-path", str(folder / "logs"), "--workers", str(workers)]
    program = Program("olah", [str(program_path), *flags], folder / "olah.log", folder=folder)
    try:
        program.wait_for_port("127.0.0.1", port, 60.0)
    except CannotRun:
        program.stop()
        raise
    return Olah(program, port)
