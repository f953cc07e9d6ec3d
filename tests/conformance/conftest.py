"""Real servers for suites that every driver passes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_database(program: Callable[[str], Path]) -> Iterator[Callable[[], str]]:
    """Makes an empty database in a private PostgreSQL cluster on a Unix socket, and returns its URL."""
    initdb, pg_ctl, psql = program("initdb"), program("pg_ctl"), program("psql")
    # A socket's path is short, and the server refuses to run as root.
    home = Path(tempfile.mkdtemp(prefix="moongate-pg-"))
    as_server: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        as_server = [str(program("runuser")), "-u", "postgres", "--"]

    def run(*command: str | Path) -> None:
        subprocess.run([*as_server, *map(str, command)], check=True, cwd=home, stdout=subprocess.DEVNULL)

    run(initdb, "-D", home / "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
    settings = f"-c fsync=off -c listen_addresses='' -c unix_socket_directories={home} -c max_connections=200"
    run(pg_ctl, "-D", home / "data", "-l", home / "log", "-o", settings, "-w", "start")

    def create() -> str:
        name = f"index_{uuid.uuid4().hex}"
        run(psql, "-q", "-h", home, "-U", "postgres", "-c", f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={home}"

    try:
        yield create
    finally:
        run(pg_ctl, "-D", home / "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(home)
