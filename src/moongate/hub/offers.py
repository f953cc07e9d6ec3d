"""Which files are offered as Xet: only those that can be served so, so that no client is led into a wall.

A client that was once told a file's Xet id goes that way and knows no way back, so the id is shown only when

- the file's reconstruction is here and every byte of it was proven (of a hosted repository, also when the
  Xet of proxied ones is switched off), and it could be told of a moment ago; or
- upstream keeps it in Xet, may be asked, and did not fail to tell of reconstructions a moment ago; unless
  its content is here already in another way, which costs nobody anything.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from moongate.core.digests import is_sha256
from moongate.core.names import RepoId
from moongate.core.records import FileAt, FileEntry
from moongate.store.index import Index

PLAIN_LIMIT_BYTES = 50_000_000_000
"""Current clients refuse to read longer files plainly."""

TROUBLE_SECONDS = 60.0
REFUSED_SECONDS = 3600.0
"""How long upstream's CAS counts as out of reach when our own rules forbid its address."""

_PROVEN_SECONDS = 5.0
_ROWS_KEPT = 20_000


class XetOffers:
    """Says of every file whether it is offered as Xet. May be asked from any thread."""

    def __init__(
        self,
        index: Index,
        *,
        enabled: bool = True,
        offline: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`enabled`: files of proxied repositories are offered."""
        self._index = index
        self.enabled = enabled
        self._offline = offline
        self.hosts: Callable[[RepoId], bool] = lambda repo: False
        """Says which repositories live here; set it before anything is asked."""
        self._clock = clock
        self._proven: OrderedDict[str, float] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._trouble_until = float("-inf")
        self.serial = 0
        """Changes when something that was offered no longer is: who kept an answer asks again."""

    def offered_at(self, file: FileAt) -> bool:
        """Whether clients are told the Xet id of a file that stands there. Three point reads at most."""
        if self.enabled and self.offered(file.entry):
            return True
        return self.hosts(file.repo) and self.proven(file.entry)

    def proven(self, entry: FileEntry) -> bool:
        """Whether a file is here in chunks, every byte of it proven. A point read at most."""
        file_id = entry.xet_hash
        if file_id is None:
            return False
        now = self._clock()
        if self._proven.get(file_id, 0.0) > now:
            return True
        if self._index.proven_etag(file_id) != entry.etag:
            return False
        _remember(self._proven, file_id, now + _PROVEN_SECONDS)
        return True

    def offered(self, entry: FileEntry) -> bool:
        """Whether clients are told the Xet id of a proxied file. Three point reads at most."""
        file_id = entry.xet_hash
        if not self.enabled or file_id is None or not is_sha256(entry.etag):
            return False
        now = self._clock()
        if self._refused.get(file_id, 0.0) > now:
            return False
        if self.proven(entry):
            return True
        rows = [row for row in self._index.xet_files_of(entry.etag) if row.file_id == file_id]
        if self._offline or now < self._trouble_until:
            return False
        if rows or entry.size_bytes > PLAIN_LIMIT_BYTES:
            return True
        return self._index.blob(entry.etag) is None

    def withdraw(self, file_id: str | None = None, *, seconds: float = TROUBLE_SECONDS) -> None:
        """Offer this file plainly for a while, or all that are not proven here: they could not be told of."""
        now = self._clock()
        before = self._trouble_until if file_id is None else self._refused.get(file_id, now)
        if before <= now:
            self.serial += 1
        if file_id is None:
            self._trouble_until = now + seconds
        else:
            _remember(self._refused, file_id, now + seconds)


def _remember(rows: OrderedDict[str, float], file_id: str, until: float) -> None:
    rows[file_id] = until
    if len(rows) > _ROWS_KEPT:
        rows.popitem(last=False)
