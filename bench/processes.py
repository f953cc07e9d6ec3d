"""Programs under measurement: started, waited for, their process tree's CPU and memory read, and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_POLL_SECONDS = 0.02
_FOREIGN = ("MOONGATE_", "HF_", "OLAH_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class CannotRun(Exception):
    """A program did not start, or ended by itself; the message carries the end of its log."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without the settings of gateways, Hub clients and proxies, and with `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }
    return kept | dict(extra or {})


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(cpus: set[int] | None) -> list[str]:
    """How a command begins that may run on these processors only."""
    return ["taskset", "-c", ",".join(str(cpu) for cpu in sorted(cpus))] if cpus else []


class Program:
    """A running program; its words go to a log file. `name` is for messages."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        read_output: bool = False,
    ) -> None:
        self.name = name
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as words:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if read_output else subprocess.DEVNULL,
                stdout=subprocess.PIPE if read_output else words,
                stderr=words,
                env=clean_environment(environment),
                cwd=folder,
                start_new_session=True,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[str]:
        """Its standard output, when `read_output` was asked for."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def input(self) -> IO[str]:
        """Its standard input, when `read_output` was asked for."""
        assert self._process.stdin is not None
        return self._process.stdin

    def read_line(self, timeout_seconds: float) -> str:
        """The next line of its output.

        Raises:
            CannotRun: it ended, or said nothing within the time.
        """
        line: list[str] = []
        reader = threading.Thread(target=lambda: line.append(self.output.readline()), daemon=True)
        reader.start()
        reader.join(timeout_seconds)
        if not line or not line[0]:
            raise CannotRun(f"{self.name} said nothing within {timeout_seconds:.0f} s. {self.last_words()}")
        return line[0]

    def wait_for_port(self, host: str, port: int, timeout_seconds: float = 30.0) -> None:
        """Return once something listens there.

        Raises:
            CannotRun: the program ended, or nothing listened within the time.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise CannotRun(f"{self.name} ended with {self._process.returncode}. {self.last_words()}")
            try:
                socket.create_connection((host, port), 1.0).close()
            except OSError:
                time.sleep(_POLL_SECONDS)
            else:
                return
        raise CannotRun(f"{self.name} did not listen on {host}:{port}. {self.last_words()}")

    def wait(self, timeout_seconds: float = 30.0) -> None:
        """Return once it has ended well.

        Raises:
            CannotRun: it failed, or did not end within the time.
        """
        try:
            code = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise CannotRun(f"{self.name} did not end. {self.last_words()}") from None
        if code:
            raise CannotRun(f"{self.name} ended with {code}. {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "Its last words: " + " / ".join(line.strip() for line in lines[-4:]) if lines else ""

    def cpu_seconds(self) -> float:
        """User and system seconds of the whole tree so far, children that ended included."""
        return sum(_cpu_seconds(pid) for pid in tree(self.pid))

    def memory_bytes(self) -> int:
        """Resident bytes of the whole tree now."""
        return sum(_resident_bytes(pid) for pid in tree(self.pid))

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Ask it to end, then make it; no error when it has."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def watching_memory(program: Program) -> Iterator[Callable[[], int]]:
    """Sample a program's resident memory for the length of a block; the call gives the greatest so far."""
    most = [program.memory_bytes()]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], program.memory_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: most[0]
    finally:
        over.set()
        watcher.join()


def tree(root: int) -> list[int]:
    """A process and all below it, by what /proc says now."""
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  (names are all that is wanted)
        if entry.isdigit() and (fields := _stat(int(entry))) is not None:
            below.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found.extend(below.get(pid, []))
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from `state` on: the name before may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    if fields is None:
        return 0.0
    # cutime and cstime, fields 16 and 17 of proc(5): children that ended and were waited for
    ended = sum(int(field) for field in fields[13:15]) / _TICKS_PER_SECOND
    try:
        # The process's CPU clock, see clock_getcpuclockid(3): what utime and stime of /proc count, all
        # threads that are and were, in nanoseconds where those have ticks of 10 ms.
        return ended + time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return ended + sum(int(field) for field in fields[11:13]) / _TICKS_PER_SECOND


def _resident_bytes(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[21]) * _PAGE_BYTES if fields else 0
