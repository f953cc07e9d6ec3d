"""Between content that is here and the row that will hold it, nobody may take the content away.

Who is about to write such a row (a lease, a hosted commit) claims: looks whether the content is here, or puts
it there, and writes the row, all within one `held`. Who frees content looks whether a row holds it, and frees
it, all within one `freeing`. Many may claim at once; who frees waits for them, and they for it. It is a file
lock, so it covers every process of the store, and a process that dies lets go.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from moongate.store.layout import Layout


class Claims:
    """The lock of one store. Not to be nested: a thread that frees while it claims waits for itself."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.claims_lock

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is freed meanwhile. Keep it short: disk and index, never a client."""
        yield from self._locked(fcntl.LOCK_SH)

    @contextmanager
    def freeing(self) -> Iterator[None]:
        """Nobody claims meanwhile. Keep it to one content."""
        yield from self._locked(fcntl.LOCK_EX)

    def _locked(self, how: int) -> Iterator[None]:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)
