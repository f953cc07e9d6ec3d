"""A real gateway process in front of an upstream, started and stopped as an operator would.

with Gateway(tmp_path / "home", upstream=hub.url, cdn=hub.double.cdn_netloc) as gateway:
    gateway.url                          # HF_ENDPOINT
    gateway.restart()                    # stop (drained) and start again on the same home and port
    gateway.kill()                       # as a crash would
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_LINE = "export HF_ENDPOINT="
_LOG_TAIL_CHARACTERS = 6000


class GatewayFailed(AssertionError):
    """The gateway did not do as told; the message holds the end of what it wrote."""


class Gateway:
    """One `moongate serve` on a free port of loopback; started by entering the block or by `start`.

    `cdn` names the hosts upstream may redirect to. `env` is added to an environment free of settings,
    `arguments` to the command line. Its words go to `log_path`; leaving the block fails when they hold a
    stack trace, since clients that try again would hide it.
    """

    def __init__(
        self,
        home: Path,
        upstream: str,
        *,
        cdn: str = "",
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.upstream = upstream
        self.cdn = cdn
        self.workers = workers
        self.env = dict(env or {})
        self.arguments = tuple(arguments)
        self.url = ""
        self.log_path = home.parent / f"{home.name}.log"
        self._process: subprocess.Popen[str] | None = None
        self._place: socket.socket | None = None

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            code = self.stop()
            self._give_up_port()
            if error is None and code:
                raise GatewayFailed(f"it ended with exit code {code}\n{self.log_tail()}")
            _, broke, trace_text = self.log_path.read_text(errors="replace").partition("Traceback")
            if error is None and broke:
                raise GatewayFailed(f"something broke inside it\n{broke}{trace_text[:_LOG_TAIL_CHARACTERS]}")

        self._give_up_port()

    def _give_up_port(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id of the running gateway."""
        return self._running().pid

    def start(self) -> str:
        """Start, and wait for the line that names its address; the address.

        Raises:
            GatewayFailed: it ended, or said nothing in time.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        port = str(self._kept_port())
        command = [str(Path(sys.executable).parent / "moongate"), "serve", "--port", port]
        command += ["--home", str(self.home), "--upstream", self.upstream, "--workers", str(self.workers)]
        with self.log_path.open("a") as log:
            self._process = subprocess.Popen(
                [*command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment(),
                cwd=self.home,
            )
        self.url = self._announced(self._process)
        return self.url

    def _kept_port(self) -> int:
        """A port that is given to nobody else while this is stopped: bound, and never listened to."""
        if self._place is None:
            self._place = socket.socket()
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._place.bind(("127.0.0.1", self.port))
        return int(self._place.getsockname()[1])

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MOONGATE_", "HF_"))
        }
        allowed = {"MOONGATE_UPSTREAM_ALLOWED_HOSTS": self.cdn} if self.cdn else {}
        return {**kept, **allowed, **self.env}

    def _announced(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        silence = threading.Timer(_START_SECONDS, process.kill)
        silence.start()
        try:
            for line in process.stdout:
                if line.startswith(_LINE):
                    return line.removeprefix(_LINE).strip()
        finally:
            silence.cancel()
        code = process.wait()
        self._process = None
        raise GatewayFailed(f"it printed no address (exit code {code})\n{self.log_tail()}")

    def stop(self, number: signal.Signals = signal.SIGTERM, times: int = 1) -> int:
        """Ask it to drain (by this signal, said so often) and wait until it has; its exit code."""
        process = self._running()
        for said in range(times):
            process.send_signal(number)
            if said + 1 < times:
                self._has_said("stopping")
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise GatewayFailed(f"it did not stop within {_STOP_SECONDS:.0f} s\n{self.log_tail()}") from None
        finally:
            self._forget(process)

    def kill(self) -> None:
        """End it as a crash would, without a chance to tidy up."""
        process = self._running()
        process.kill()
        process.wait()
        self._forget(process)

    def restart(self) -> str:
        """Stop (when it runs) and start again on the same home and port; the address."""
        if self._process is not None:
            self.stop()
        return self.start()

    def log_tail(self) -> str:
        """The end of what it wrote to stderr."""
        return self.log_path.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]

    def _has_said(self, words: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while words not in self.log_tail():
            if time.monotonic() > deadline:
                raise GatewayFailed(f"it never said {words!r}\n{self.log_tail()}")
            time.sleep(0.01)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise GatewayFailed("it does not run")
        return self._process

    def _forget(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            process.stdout.close()
        self._process = None
