"""What comes in is judged before anybody sees it: by a commit, a push, or an upload of either kind.

A commit waits for the verdicts on what it brings, but not for ever: what was not looked at in time is judged
when it is first read, for nothing is given out that nobody judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from moongate.core.callers import Caller
from moongate.core.decisions import Action
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Judged
from moongate.hub.judging import Judging
from moongate.store.index import HostedBlob

PATIENCE_SECONDS: Final = 30.0


class CommitGate(Protocol):
    """Decides what may become part of a repository; see `policy.gate.PolicyGate`."""

    @property
    def is_off(self) -> bool: ...
    def may_commit(self, file: FileAt, caller: Caller, judged: Judged) -> None: ...
    def may_change(self, action: Action, repo: RepoId, caller: Caller) -> None: ...


class Arrivals:
    """Any thread; blocks."""

    def __init__(
        self,
        judging: Judging,
        gate: CommitGate,
        read: Callable[[Etag, ByteSpan], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """read: a span that lies inside content that is here."""
        self._judging = judging
        self._gate = gate
        self._read = read
        self._clock = clock

    def admit(self, repo: RepoId, caller: Caller, files: Iterable[tuple[str, HostedBlob]]) -> None:
        """Return when these files may land, or as many of them as could be judged by now.

        Raises:
            RefusedByPolicy, HeldByPolicy: one of them may not, or nothing may.
            StoreError: one of them is not here.
        """
        if self._gate.is_off:
            return
        self._gate.may_change("commit", repo, caller)
        until = self._clock() + PATIENCE_SECONDS
        for path, blob in files:
            judged = self._judging.final(blob.etag, path)
            if judged is None and blob.size_bytes and self._clock() < until:
                judged = self._judged(path, blob)
            if judged is not None:
                entry = FileEntry(RepoPath(path), blob.etag, blob.size_bytes)
                self._gate.may_commit(FileAt(repo, CommitHash(""), entry), caller, judged)

    def may_administer(self, repo: RepoId, caller: Caller) -> None:
        """Return when a repository may be deleted, moved, or shown to others.

        Raises:
            RefusedByPolicy, HeldByPolicy: it may not.
        """
        if not self._gate.is_off:
            self._gate.may_change("admin", repo, caller)

    def _judged(self, path: str, blob: HostedBlob) -> Judged:
        def read(span: ByteSpan) -> bytes:
            end = min(span.end, blob.size_bytes)
            return self._read(blob.etag, ByteSpan(span.start, end)) if end > span.start else b""

        return self._judging.whole_read(blob.etag, blob.size_bytes, read, path)
