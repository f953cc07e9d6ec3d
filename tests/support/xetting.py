"""Xet files in front of a Hub double's CAS, without a gateway around them: for tests of the chunk path.

Run as a program, it fetches one file through the same fills and prints JSON: another process of a node.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.digests import Etag
from moongate.core.errors import MoongateError, UpstreamError
from moongate.core.names import CommitHash, RepoId, RepoPath, parse_repo
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.hub.fill import FillRules, Fills
from moongate.hub.xet_files import XetFiles, XetRules
from moongate.store.blobs import Blobs
from moongate.store.index import Index, ReconstructionRow
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from moongate.upstream.cas import CasClient
from moongate.upstream.client import UpstreamClient
from moongate.upstream.guard import AddressGuard
from moongate.upstream.ranged import FileSource, Road
from moongate.xet.decoding import decode_chunk
from moongate.xet.hashes import XetHash
from moongate.xet.xorb import read_headers
from support.filling import Notes, no_limit


@dataclass
class XetNotes(Notes):
    """What the fills of Xet files told, beside those of plain ones."""

    xet_fetched_bytes: int = 0
    proven_ids: list[str] = field(default_factory=list)
    xet_failures: list[MoongateError] = field(default_factory=list)
    falls: list[MoongateError] = field(default_factory=list)


class XetLedger:
    """Writes down what the fills of Xet files tell."""

    def __init__(self, notes: XetNotes) -> None:
        self._notes = notes

    def fetched(self, count: int) -> None:
        self._notes.xet_fetched_bytes += count

    def retried(self, error: UpstreamError) -> None:
        self._notes.retries.append(error)

    def proven(self, file_id: str, etag: Etag, size_bytes: int, seconds: float) -> None:
        self._notes.proven_ids.append(file_id)

    def failed(self, file_id: str, etag: Etag, error: MoongateError) -> None:
        self._notes.xet_failures.append(error)

    def fell_back(self, etag: Etag, error: MoongateError) -> None:
        self._notes.falls.append(error)


class NoCredentials:
    """Everything is public, and upstream's."""

    def is_hosted(self, repo: RepoId) -> bool:
        return False

    def fetching_credential(self, caller: Caller, repo: RepoId, *, files: bool = False) -> Secret | None:
        return caller.credential


class XetHouse:
    """One process: a store, an index, its Xet files and its plain fills. Make it on a running loop."""

    def __init__(
        self,
        home: Path,
        upstream_url: str,
        allowed: list[str],
        *,
        rules: XetRules | None = None,
        timeout_seconds: float = 30.0,
        make_room: Callable[[int], None] = no_limit,
    ) -> None:
        rules = rules or XetRules()
        self.layout = Layout(home)
        self.layout.prepare()
        self.index = Index(self.layout.index_path)
        self.segments = Segments(self.layout)
        self.notes = XetNotes()
        self._timeout_seconds = timeout_seconds
        self._url = upstream_url
        self._guard = AddressGuard(upstream_url, allowed, {})
        self.upstream = UpstreamClient(
            upstream_url,
            self._guard,
            timeout_seconds=timeout_seconds,
            user_agent="tests",
            offline=rules.offline,
        )
        self.cas = CasClient(self.upstream, self._guard, timeout_seconds=timeout_seconds, user_agent="tests")
        ledger = XetLedger(self.notes)
        self.xets = XetFiles(self.cas, self.segments, self.index, NoCredentials(), rules, ledger, make_room)
        self.blobs = Blobs(self.layout)
        self.fills = Fills(self.layout, self.blobs, FillRules(offline=rules.offline), self.notes, make_room)

    async def close(self) -> None:
        await self.xets.stop()
        await self.fills.stop()
        await self.cas.close()
        await self.upstream.close()
        self.index.close()

    def plain(self, file: FileAt) -> FileSource:
        return FileSource(
            self._guard,
            self._url,
            Road(f"{file.repo.file_path}/resolve/{file.commit_hash}/{file.entry.path}"),
            file.entry.size_bytes,
            timeout_seconds=self._timeout_seconds,
            user_agent="tests",
        )

    async def read_plain(self, file: FileAt, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of a span, as a plain reader gets them."""
        entry = file.entry
        end = entry.size_bytes if end is None else end
        body = await self.fills.open(
            entry.etag,
            entry.size_bytes,
            lambda: self.xets.source(
                file, ANONYMOUS, lambda: self.plain(file), lambda: self.fills.wants_whole(entry.etag)
            ),
            ByteSpan(start, end),
            local=self.xets.is_here(entry.etag),
        )
        try:
            pieces = []
            while start < end:
                count = await body.ready(start, end)
                pieces.append(os.pread(body.fd, count, start))
                start += len(pieces[-1])
            return b"".join(pieces)
        finally:
            body.close()

    async def range_of(self, row: ReconstructionRow, xorb: XetHash, span: ByteSpan) -> bytes:
        """A range of a xorb, as a Xet client gets it."""
        pieces, position = [], span.start
        async with contextlib.aclosing(self.xets.open_range(row, xorb, span)) as bodies:
            async for body in bodies:
                assert body.span.start == position
                while position < body.span.end:
                    count = await body.ready(position, body.span.end)
                    pieces.append(os.pread(body.fd, count, position - body.base))
                    assert len(pieces[-1]) == count
                    position += count
        return b"".join(pieces)

    async def read_xet(self, file: FileAt) -> bytes:
        """The whole file, as the official client would get it: every range at once, then the terms."""
        row = await self.xets.reconstruction_of(file, ANONYMOUS)
        self.xets.ensure(row)
        return await self.assemble(row)

    async def assemble(self, row: ReconstructionRow) -> bytes:
        """The file's bytes from its ranges, decoded."""
        got = await asyncio.gather(*(self.range_of(row, one.xorb, one.chunks.span) for one in row.fetches))
        content = []
        for term in row.terms:
            for one, data in zip(row.fetches, got, strict=True):
                if one.xorb == term.xorb and one.chunks.first <= term.start and term.end <= one.chunks.end:
                    view = memoryview(data)
                    stored = read_headers(view)[term.start - one.chunks.first : term.end - one.chunks.first]
                    content += [bytes(decode_chunk(view, chunk)) for chunk in stored]
                    break
        return b"".join(content)


def file_at(repo: str, commit_hash: str, path: str, content: bytes, xet_hash: str | None) -> FileAt:
    """A file as a listing tells of it."""
    etag = Etag(hashlib.sha256(content).hexdigest())
    return FileAt(
        parse_repo(repo),
        CommitHash(commit_hash),
        FileEntry(RepoPath(path), etag, len(content), xet_hash),
    )


async def _main() -> None:
    told = json.loads(sys.argv[1])
    house = XetHouse(Path(told["home"]), told["upstream"], told["allowed"])
    file = FileAt(
        parse_repo(told["repo"]),
        CommitHash(told["commit_hash"]),
        FileEntry(RepoPath(told["path"]), Etag(told["etag"]), told["size_bytes"], told["xet_hash"]),
    )
    content = await house.read_xet(file)
    proven = await house.xets.finished(told["xet_hash"])
    await house.close()
    print(
        json.dumps(
            {
                "sha256": hashlib.sha256(content).hexdigest(),
                "fetched_bytes": house.notes.xet_fetched_bytes,
                "proven": proven,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(_main())
