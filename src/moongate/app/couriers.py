"""Threads that carry bodies into sockets as fast as those take them: each waits for all its sockets at once.

Between its beginning and its end a body costs the event loop nothing, and a reader that does not keep up
costs neither a thread nor memory. A slow disk holds up the bodies of one thread, not the loop.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_THREADS = 4
_LOOK_SECONDS = 15.0
_STALL_SECONDS = 600.0
_LINGER_SECONDS = 30.0
_AWAKE = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP


class ReaderStands(Exception):
    """The reader took nothing for a long time."""


class Load(Protocol):
    """A body on its way. Used by one thread at a time: the courier's, from `carry` on until `done`."""

    @property
    def socket_fd(self) -> int: ...
    def step(self) -> int | None:
        """Send some of what is left, without waiting for the reader; how much, and None when all is sent."""


Done = Callable[[Exception | None], None]
"""Called once, from the courier's thread, when a load is through, or with what stopped it."""


class Couriers:
    """A few threads, begun when there is something to carry."""

    def __init__(self, stall_seconds: float = _STALL_SECONDS, look_seconds: float = _LOOK_SECONDS) -> None:
        """stall_seconds: how long a reader may take nothing; that is looked at every `look_seconds`."""
        self._patience = stall_seconds, look_seconds
        self._threads: list[_Courier] = []

    def carry(self, load: Load, done: Done) -> None:
        """Send all of a load. For the event loop."""
        idle = min(self._threads, key=lambda one: one.loads, default=None)
        if idle is None or (idle.loads and len(self._threads) < _THREADS):
            idle = _Courier(*self._patience)
            self._threads.append(idle)
        idle.carry(load, done)

    def drop(self, load: Load, why: Exception) -> None:
        """Give up a load that is carried; `done` still tells when it was let go of."""
        for one in self._threads:
            one.drop(load, why)

    def close(self) -> None:
        """End the threads, and what they carry."""
        for one in self._threads:
            one.close()
        self._threads.clear()


class _Carried:
    def __init__(self, load: Load, done: Done) -> None:
        self.load = load
        self.done = done
        self.moved_at = time.monotonic()
        self.why: Exception | None = None


class _Courier:
    def __init__(self, stall_seconds: float, look_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._look_seconds = look_seconds
        self._poll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.EPOLLIN)
        self._carried: dict[int, _Carried] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    # -- the event loop --------------------------------------------------------------------------------------

    @property
    def loads(self) -> int:
        """How many there are, about."""
        return len(self._carried) + len(self._orders)

    def carry(self, load: Load, done: Done) -> None:
        self._order(lambda: self._take(_Carried(load, done)))

    def drop(self, load: Load, why: Exception) -> None:
        self._order(lambda: self._drop(load, why))

    def close(self) -> None:
        self._closed = True
        self._order(lambda: None)
        self._thread.join(_LINGER_SECONDS)

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        with suppress(OSError):  # closed already
            os.eventfd_write(self._bell, 1)

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._closed:
            for fd, _ in self._poll.poll(self._look_seconds):
                if fd == self._bell:
                    self._hear()
                elif (carried := self._carried.get(fd)) is not None:
                    self._step(fd, carried)
            if time.monotonic() - looked_at > self._look_seconds:
                looked_at = time.monotonic()
                self._look(looked_at)
        for fd, carried in list(self._carried.items()):
            self._end(fd, carried, ReaderStands("the gateway is stopping"))
        self._poll.close()
        os.close(self._bell)

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        while self._orders:
            self._orders.popleft()()

    def _take(self, carried: _Carried) -> None:
        fd = carried.load.socket_fd
        self._carried[fd] = carried
        self._poll.register(fd, _AWAKE)

    def _drop(self, load: Load, why: Exception) -> None:
        for fd, carried in list(self._carried.items()):
            if carried.load is load:
                self._end(fd, carried, why)

    def _step(self, fd: int, carried: _Carried) -> None:
        try:
            sent = carried.load.step()
        except Exception as error:  # noqa: BLE001 - whoever waits for the load is told
            self._end(fd, carried, error)
            return
        if sent is None:
            self._end(fd, carried, None)
        elif sent:
            carried.moved_at = time.monotonic()

    def _look(self, now: float) -> None:
        for fd, carried in list(self._carried.items()):
            if now - carried.moved_at > self._stall_seconds:
                self._end(fd, carried, ReaderStands("the reader took nothing for a long time"))

    def _end(self, fd: int, carried: _Carried, error: Exception | None) -> None:
        del self._carried[fd]
        with suppress(OSError):
            self._poll.unregister(fd)
        carried.done(error)
