"""Processes of the demo: started, waited for, and stopped whatever happens."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from moongate.cli.exits import CommandFailed

READY_SECONDS = 30.0
STOP_SECONDS = 15.0

_OURS = ("MOONGATE_", "HF_", "HUGGING", "TRANSFORMERS_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


def plain_environment(**added: str) -> dict[str, str]:
    """This environment without anything that would bend a client or a gateway, and with what is added."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and name.lower() not in _PROXIES
    }
    return {**kept, **added}


class Program:
    """One process in a session of its own, so that a Ctrl-C of the user reaches it only through us."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        """Starts it in `folder`; its words go to `folder/NAME.log`."""
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own programs)
                arguments,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._stdout = cast(IO[bytes], self._process.stdout)

    @property
    def pid(self) -> int:
        return self._process.pid

    def first_line(self) -> str:
        """The first line it prints: it is ready then.

        Raises:
            CommandFailed: it ended, or said nothing for too long; with the end of its log.
        """
        deadline, read = time.monotonic() + READY_SECONDS, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in read:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise CommandFailed(
                        f"{self.name} did not get ready in {READY_SECONDS:.0f} s{self._last()}"
                    )
                chunk = os.read(self._stdout.fileno(), 65_536)
                if not chunk:
                    raise CommandFailed(f"{self.name} ended before it was ready{self._last()}")
                read += chunk
        return read.decode(errors="replace").partition("\n")[0]

    def stop(self) -> int:
        """Ask it to end, then make it; its exit code. Again is free."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        code = self._process.wait()
        self._stdout.close()
        return code

    def _last(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-5:]
        except OSError:
            lines = []
        return "".join(f"\n  {line}" for line in lines)
