"""Fills in front of a Hub double, without a gateway around them: for tests of the byte path itself.

Run as a program, it reads one file through the same fills and prints JSON: another process of the same node.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from moongate.core.digests import Etag
from moongate.core.errors import MoongateError, UpstreamError
from moongate.core.spans import ByteSpan
from moongate.hub.fill import FileBody, FillRules, Fills
from moongate.store.blobs import Blobs
from moongate.store.layout import Layout
from moongate.store.partial import Partial
from moongate.upstream.guard import AddressGuard
from moongate.upstream.ranged import FileSource, Road

MIB = 1 << 20


@dataclass
class Notes:
    """What the fills told."""

    fetched_bytes: int = 0
    retries: list[UpstreamError] = field(default_factory=list)
    kept: list[Etag] = field(default_factory=list)
    failures: list[MoongateError] = field(default_factory=list)
    wrong: list[Etag] = field(default_factory=list)

    def fetched(self, count: int) -> None:
        self.fetched_bytes += count

    def retried(self, error: UpstreamError) -> None:
        self.retries.append(error)

    def sealed(self, etag: Etag, size_bytes: int, seconds: float) -> None:
        self.kept.append(etag)

    def failed(self, etag: Etag, error: MoongateError) -> None:
        self.failures.append(error)

    def tainted(self, etag: Etag) -> None:
        self.wrong.append(etag)


def no_limit(size_bytes: int) -> None:
    """A disk with room for everything."""


@dataclass
class Filling:
    """A store, its fills, and the road to one file."""

    home: Path
    upstream: str
    cdn_netloc: str
    path_qs: str
    etag: Etag
    size_bytes: int
    rules: FillRules = field(default_factory=FillRules)
    make_room: Callable[[int], None] = no_limit
    timeout_seconds: float = 30.0
    lfs_oid: str | None = None

    def __post_init__(self) -> None:
        self.layout = Layout(self.home)
        self.layout.prepare()
        self.blobs = Blobs(self.layout)
        self.notes = Notes()
        self.fills = Fills(self.layout, self.blobs, self.rules, self.notes, self.make_room)
        self._guard = AddressGuard(self.upstream, [self.cdn_netloc], {})

    def source(self) -> FileSource:
        road = Road(self.path_qs, None, self.lfs_oid)
        return FileSource(
            self._guard,
            self.upstream,
            road,
            self.size_bytes,
            timeout_seconds=self.timeout_seconds,
            user_agent="moongate-tests",
        )

    @asynccontextmanager
    async def body(self, start: int = 0, end: int | None = None) -> AsyncIterator[FileBody]:
        span = ByteSpan(start, self.size_bytes if end is None else end)
        body = await self.fills.open(self.etag, self.size_bytes, self.source, span)
        try:
            yield body
        finally:
            body.close()

    async def read(self, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of a span, as a reader gets them."""
        end = self.size_bytes if end is None else end
        async with self.body(start, end) as body:
            pieces = []
            while start < end:
                count = await body.ready(start, end)
                pieces.append(os.pread(body.fd, count, start))
                start += len(pieces[-1])
            return b"".join(pieces)

    async def sealed(self) -> bool:
        return await self.fills.finished(self.etag)


def kept_bytes(layout: Layout, etag: Etag, size_bytes: int) -> int:
    """How much of a file that is on its way in is here, whoever fetches it; 0 while there is no such file."""
    if not layout.partial_map(etag).exists():
        return 0
    partial = Partial.open(layout, etag, size_bytes)
    if partial is None:
        return size_bytes
    with closing(partial):
        return partial.present_bytes()


async def _main() -> None:
    told = json.loads(sys.argv[1])
    filling = Filling(
        Path(told["home"]),
        told["upstream"],
        told["cdn_netloc"],
        told["path_qs"],
        Etag(told["etag"]),
        told["size_bytes"],
    )
    content = await filling.read()
    await filling.fills.stop()
    print(
        json.dumps(
            {"sha256": hashlib.sha256(content).hexdigest(), "fetched_bytes": filling.notes.fetched_bytes}
        )
    )


if __name__ == "__main__":
    asyncio.run(_main())
