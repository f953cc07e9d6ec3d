"""Runs the judgement in a process of its own; whatever happens there, a report comes back.

One process serves many files. One that hangs is killed, one that dies is followed by another, and the file
that did it is told as `failed`.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import subprocess  # our own interpreter, with arguments of our own
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

import orjson

from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Report
from moongate.scan.ledger import Ledger

MAX_ANSWER_BYTES: Final = 16 << 20
NO_MORE: Final = 0xFFFFFFFF
"""In place of a length: there are no bytes, and it was enough."""
_STARTING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost. cpu_seconds: what the process may use in all; None for no bound."""

    seconds: float = 60.0
    memory_bytes: int = 512 << 20
    cpu_seconds: int | None = None


Read = Callable[[ByteSpan], bytes | None]
"""Gives the bytes of a span, fewer where the content ends; None ends a glance with what it found so far."""


class _Died(Exception):
    """The process is gone, or would not answer."""


class _NotRead(Exception):
    """What was wanted could not be read; that is no fault of the content's."""

    def __init__(self, why: BaseException) -> None:
        super().__init__()
        self.why = why


class Jail:
    """A context; `judge` may be called any number of times, by one caller at a time."""

    def __init__(self, limits: Limits | None = None, voice: tuple[str, str] | None = None) -> None:
        """voice: the name and option of another scanner that judges there; None for our own."""
        self._limits = limits or Limits()
        self._voice = voice
        self._process: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        self.confined = False
        """Whether the kernel refuses the process what it never needs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def judge(self, descriptor: int, name: str) -> Report:
        """The report on an open file, whose descriptor stays the caller's. Never raises for what is in it."""

        def ask(door: socket.socket) -> dict[str, Any]:
            socket.send_fds(
                door, [orjson.dumps({"name": _letters(name), "seconds": self._limits.seconds})], [descriptor]
            )
            door.settimeout(self._limits.seconds)
            return _answer(door)

        return self._report(ask)

    def judge_read(
        self, read: Read, size_bytes: int, name: str, *, glance_bytes: int | None = None
    ) -> Report:
        """The report on content that `read` gives by span, as much of it as is wanted.

        glance_bytes: only glance, at so much of the beginning; see `scan.glance`.

        What `read` raises is raised here, and costs the process; its time is not counted.
        """

        def ask(door: socket.socket) -> dict[str, Any]:
            question = {
                "name": _letters(name),
                "seconds": self._limits.seconds,
                "size_bytes": size_bytes,
                "glance_bytes": glance_bytes,
            }
            door.settimeout(self._limits.seconds)
            door.sendall(orjson.dumps(question))
            left = self._limits.seconds
            while True:
                door.settimeout(max(0.001, left))
                begun = time.monotonic()
                told = _answer(door)
                left -= time.monotonic() - begun
                if "want" not in told:
                    return told
                start, end = told["want"]
                try:
                    data = read(ByteSpan(start, end))
                except BaseException as error:
                    raise _NotRead(error) from error
                door.settimeout(self._limits.seconds)
                door.sendall(_counted(data))

        return self._report(ask)

    def _report(self, ask: Callable[[socket.socket], dict[str, Any]]) -> Report:
        try:
            return Report.from_json(ask(self._started()))
        except _NotRead as error:
            self.close()
            raise error.why from None
        except TimeoutError:
            self.close()
            return self._failed(f"was stopped after {self._limits.seconds:.0f} s")
        except (_Died, OSError, ValueError, KeyError, TypeError):
            code = self._code()
            self.close()
            return self._failed(f"died ({code})")

    def start(self) -> None:
        """Starts the process, so that the first judgement need not wait for that.

        Raises:
            OSError: it does not start.
        """
        try:
            self._started()
        except _Died as error:
            self.close()
            raise OSError("the scanner did not start") from error

    def close(self) -> None:
        """Ends the process. May be called twice."""
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _started(self) -> socket.socket:
        if self._door is not None:
            return self._door
        ours, theirs = socket.socketpair()
        number = str(theirs.fileno())
        arguments = [sys.executable, "-m", "moongate.scan.worker", number, str(self._limits.memory_bytes)]
        arguments += self._voice or ()
        environment = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LANG") if key in os.environ}
        self._process = subprocess.Popen(  # noqa: S603
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=environment,
        )
        if self._limits.cpu_seconds is not None:
            bound = self._limits.cpu_seconds
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (bound, bound))
        theirs.close()
        self._door = ours
        ours.settimeout(_STARTING_SECONDS)
        self.confined = bool(_answer(ours)["confined"])
        return ours

    def _failed(self, words: str) -> Report:
        """Our own scanner's end means that nobody looked; a voice's end only that it said nothing."""
        ledger = Ledger()
        if self._voice is None:
            ledger.add("scan-failed", f"the scanner {words}")
            return ledger.report()
        ledger.add("voice-failed", f"{self._voice[0]} {words}")
        return replace(ledger.report(), engine=self._voice[0])

    def _code(self) -> str:
        if self._process is None:
            return "it did not start"
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "no answer that makes sense"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _answer(door: socket.socket) -> dict[str, Any]:
    length = struct.unpack("<I", _exactly(door, 4))[0]
    if length > MAX_ANSWER_BYTES:
        raise _Died
    told: dict[str, Any] = orjson.loads(_exactly(door, length))
    return told


def _letters(name: str) -> str:
    """The end of a name, as JSON can carry it: a file's name may be no text at all."""
    return name[-1024:].encode("utf-8", "replace").decode()


def _counted(data: bytes | None) -> bytes:
    return struct.pack("<I", NO_MORE) if data is None else struct.pack("<I", len(data)) + data


def _exactly(door: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = door.recv(length - len(data))
        if not more:
            raise _Died
        data += more
    return data
