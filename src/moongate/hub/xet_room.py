"""What the fills of Xet files of one process share: their rules, who watches, and what they work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from moongate.core.digests import Etag
from moongate.core.errors import MoongateError, UpstreamError
from moongate.core.spans import ByteSpan
from moongate.hub.bells import Bells
from moongate.store.index import Index, ReconstructionRow
from moongate.store.segments import Segments
from moongate.upstream.cas import CasClient


@dataclass(frozen=True, slots=True)
class XetRules:
    """connections: most at once for one file. offline: never fetch.
    distrust_seconds: how long plain readers stay away from the CAS of a file that it failed for.
    proof_lease_seconds: how long a process that proves a file may be silent before another one takes over.
    """

    connections: int = 8
    offline: bool = False
    distrust_seconds: float = 300.0
    proof_lease_seconds: float = 15.0


class XetWatcher(Protocol):
    """Who counts and records what fills do. Called from worker threads, so it must be thread-safe."""

    def fetched(self, count: int) -> None:
        """So many bytes of xorbs came from upstream."""

    def retried(self, error: UpstreamError) -> None:
        """Upstream failed, and is asked again."""

    def proven(self, file_id: str, etag: Etag, size_bytes: int, seconds: float) -> None:
        """Every byte of a file was proven; `seconds` since this process began to fetch it."""

    def failed(self, file_id: str, etag: Etag, error: MoongateError) -> None:
        """A fill ended without the file."""

    def fell_back(self, etag: Etag, error: MoongateError) -> None:
        """A plain reader goes on without the CAS."""


JudgeRow = Callable[[ReconstructionRow, Callable[[ByteSpan], bytes]], None]
"""Has a content judged that is read by span; blocks until the verdict is known."""


@dataclass(frozen=True, slots=True)
class XetRoom:
    """What every fill of a process works with."""

    cas: CasClient
    segments: Segments
    index: Index
    rules: XetRules
    watcher: XetWatcher
    make_room: Callable[[int], None]
    bells: Bells
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]
    judge: JudgeRow
    """Called when a file's bytes were proven, before its end is given out."""
