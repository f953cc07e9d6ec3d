"""Several processes on one port: a parent that watches, and workers that serve.

The parent binds the port (and so keeps it), never listens, and opens nothing else, so forking is safe. It
imports what a worker needs, once for all of them: they begin within a moment, and share the memory. Each
worker binds the same port with SO_REUSEPORT and opens its own index. A worker that dies is replaced, with a
growing pause if it keeps dying. Signals go to the parent, which passes them on; a parent that dies takes the
workers with it, because each holds the reading end of a pipe that only the parent can write to.
"""

from __future__ import annotations

import gc
import os
import select
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import structlog

from moongate.app.server import announce, listen, run
from moongate.app.settings import Settings
from moongate.core.errors import MoongateError

_READY = b"r"
_METRICS = "metrics"
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_STABLE_SECONDS = 30.0
_GRACE_SECONDS = 10.0
"""How much longer than `drain_seconds` a worker may take before it is killed."""

_ROOMS = (
    "app.admin.routes", "app.connection", "app.front", "app.identity", "app.lane", "app.pages.table",
    "app.wiring.front", "app.wiring.gateway", "hub.rejudging", "hub.xet_made", "policy.gate",
    "scan.feeds.intelligence", "scan.pool",
)  # fmt: skip
"""What a gateway is made of, but for a few small modules."""

log = structlog.get_logger("moongate.workers")


def serve_with_workers(settings: Settings) -> int:
    """Serves with `settings.workers` processes until told to stop. The exit code, as `serve`.

    Raises:
        CannotListen: the port cannot be had.
    """
    if settings.port:
        # the port is shared with anybody of the same user, so somebody who listens there is looked for
        listen(settings.host, settings.port).close()
    _prepare_metrics(settings.home)
    load()
    listener = listen(settings.host, settings.port, shared=True)
    port = listener.getsockname()[1]
    return _Parent(settings.model_copy(update={"port": port}), listener).watch()


@dataclass(slots=True)
class _Worker:
    pid: int
    started: float
    ready: int
    """Reading end of the pipe on which the worker says that it is ready; -1 once it spoke or died."""
    serves: bool = False


@dataclass(slots=True)
class _Parent:
    settings: Settings
    listener: socket.socket
    workers: dict[int, _Worker] = field(default_factory=dict)
    stopping: bool = False
    announced: bool = False
    failed_at_start: bool = False
    pause_seconds: float = _FIRST_PAUSE_SECONDS
    _due: list[float] = field(default_factory=list)
    _life: tuple[int, int] = field(default_factory=os.pipe)
    _wake: tuple[int, int] = field(default_factory=os.pipe)

    def watch(self) -> int:
        """Starts the workers, replaces those that die, and ends when all of them have."""
        for end in self._wake:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, self._noted)
        self._due = [0.0] * self.settings.workers
        deadline = float("inf")
        while True:
            self._start_due()
            self._wait(deadline)
            self._reap()
            if self.stopping and deadline == float("inf"):
                deadline = time.monotonic() + self.settings.drain_seconds + _GRACE_SECONDS
                self._signal_all(signal.SIGTERM)
            if time.monotonic() > deadline:
                self._signal_all(signal.SIGKILL)
            if not self.workers and (self.stopping or self.failed_at_start):
                return 1 if self.failed_at_start else 0

    def _noted(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._signal_all(signal.SIGHUP)
            return
        if number == signal.SIGINT and self.stopping:
            self._signal_all(signal.SIGKILL)
        if number != signal.SIGCHLD:
            self.stopping = True

    def _start_due(self) -> None:
        now = time.monotonic()
        if self.stopping or self.failed_at_start:
            self._due.clear()
        for due in [due for due in self._due if due <= now]:
            self._due.remove(due)
            self._start()

    def _start(self) -> None:
        ready, says_ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            _become_worker(self.settings, self.listener, says_ready, self._life, self._wake)
        os.close(says_ready)
        self.workers[pid] = _Worker(pid, time.monotonic(), ready)

    def _wait(self, deadline: float) -> None:
        """Until a signal, a word from a worker, or the next thing is due."""
        now = time.monotonic()
        due = min([*self._due, deadline, now + 3600])
        waiting = [worker.ready for worker in self.workers.values() if worker.ready >= 0]
        readable, _, _ = select.select([self._wake[0], *waiting], [], [], max(0.0, due - now))
        if self._wake[0] in readable:
            os.read(self._wake[0], 4096)
        for worker in self.workers.values():
            if worker.ready in readable:
                worker.serves = os.read(worker.ready, 1) == _READY
                os.close(worker.ready)
                worker.ready = -1
        serving = sum(worker.serves for worker in self.workers.values())
        if not self.announced and serving == self.settings.workers:
            self.announced = True
            announce(self.settings, self.listener)

    def _reap(self) -> None:
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self.workers.pop(pid, None)
            if worker is not None:
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        if worker.ready >= 0:
            os.close(worker.ready)
        for left in self.settings.home.joinpath(_METRICS).glob(f"gauge_live*_{worker.pid}.db"):
            left.unlink(missing_ok=True)
        if self.stopping:
            return
        if not self.announced:
            # what keeps a worker from starting at all keeps the next one, too
            self.failed_at_start = True
            self._signal_all(signal.SIGTERM)
            return
        lived = time.monotonic() - worker.started
        if lived > _STABLE_SECONDS:
            self.pause_seconds = _FIRST_PAUSE_SECONDS
        log.error("a worker died; starting another", pid=worker.pid, code=code, lived_seconds=round(lived, 1))
        self._due.append(time.monotonic() + self.pause_seconds)
        self.pause_seconds = min(self.pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.workers:
            os.kill(pid, number)


def _become_worker(
    settings: Settings, reserved: socket.socket, says_ready: int, life: tuple[int, int], wake: tuple[int, int]
) -> None:
    """Serves in the forked child, and never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until this worker listens to it
        # the terminal's Ctrl-C is the parent's to pass on
        os.setpgid(0, 0)
        os.close(life[1])
        for end in wake:
            os.close(end)
        listener = listen(settings.host, settings.port, shared=True)
        reserved.close()

        def ready() -> None:
            os.write(says_ready, _READY)
            os.close(says_ready)

        code = run(settings, listener, ready, parent=life[0])
    except MoongateError as error:
        print(f"moongate: {error.message}", file=sys.stderr)  # noqa: T201 - words to stderr
    except KeyboardInterrupt:
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def load() -> None:
    """Imports what every worker needs. Opens nothing, and begins no thread."""
    gc.disable()  # the workers enable it
    for room in _ROOMS:
        import_module(f"moongate.{room}")
    gc.freeze()  # so that no collection writes to the pages that all share


def _prepare_metrics(home: Path) -> None:
    """An empty directory for the counters that workers share.

    The metrics library looks for it once, when it is imported: `load` comes after this.
    """
    directory = home / _METRICS
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
