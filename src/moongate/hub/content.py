"""From a file's name to its body: which road leads to the bytes, and whose credential may walk it.

The hub says what a file is and who may read it; fills read by content. Between them stands the road: the
resolve address of a commit for files, the batch route for LFS objects no listing knows, `/v2` for layers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import quote

from moongate.core.callers import Caller
from moongate.core.digests import Etag, is_sha256
from moongate.core.errors import EntryAbsent, MoongateError, StoreError, UpstreamBroken, UpstreamUnreachable
from moongate.core.names import DEFAULT_REVISION, RepoId, RepoPath, Revision
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.hub.assembled import AssembledBody, Assembler
from moongate.hub.fill import FileBody, Fills
from moongate.hub.guard import Guard, Passage
from moongate.hub.guarded import BodyGuard
from moongate.hub.handles import Handle
from moongate.hub.hot import HotFiles
from moongate.hub.manifests import NO_COMMIT
from moongate.hub.recalls import Recalls
from moongate.hub.refs import Resolved
from moongate.hub.repos import Repos
from moongate.hub.sources import ByteSource
from moongate.hub.xet_files import XetFiles
from moongate.store.index import Index
from moongate.upstream.client import UpstreamClient
from moongate.upstream.ranged import FileSource, Road
from moongate.wire.lfs import LfsPointed, batch_request, read_batch_answer

_LFS_TYPE = "application/vnd.git-lfs+json"

OpenBody = FileBody | AssembledBody
"""A file's bytes, ready to send: see either."""

SourceOf = Callable[[Road, int], FileSource]
"""A way to the bytes at the end of a road, of a file of that many bytes."""


_FREE = Passage(True)


@dataclass(frozen=True, slots=True)
class Content:
    """Files of all repositories, ready to read. Checks access before it names a road."""

    repos: Repos
    fills: Fills
    index: Index
    upstream: UpstreamClient
    source_of: SourceOf
    recalls: Recalls
    xets: XetFiles | None = None
    speaks_xet: bool = True
    """Whether what is not here may be fetched through Xet; what is here as chunks is read so anyway."""
    assembler: Assembler | None = None
    """Opens what is here as chunks; without one, a blob is made of it first."""
    hot: HotFiles | None = None
    """Tells of which files a blob is made as well."""
    guard: Guard | None = None
    """Says who may have which bytes, and when; without one, whoever may read the repository."""

    async def file_at(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved]:
        """See `Repos.file_at`."""
        return await self.repos.file_at(repo, revision, path, caller)

    async def open(self, file: FileAt, caller: Caller, span: ByteSpan) -> OpenBody:
        """The file's bytes, of which `span` is wanted: from its blob, from proven chunks, or while they come.

        Raises:
            Recalled: it is served no more.
            RefusedByPolicy, HeldByPolicy: the guard does not let them pass.
            Otherwise as `Fills.open`.
        """
        self.recalls.refuse(file)
        passage = await self.enter(file, caller)
        body = await self._open(file, caller, span, passage)
        if isinstance(body, AssembledBody):
            try:
                if not passage.final:
                    passage = await self._settle_assembled(file, caller, body)
            except BaseException:
                body.close()
                raise
            body.warning = passage.warning
        return body

    async def enter(self, file: FileAt, caller: Caller) -> Passage:
        """What the guard says before anything is opened; see `Guard.enter`."""
        return _FREE if self.guard is None else await self.guard.enter(file, caller)

    async def _settle_assembled(self, file: FileAt, caller: Caller, body: AssembledBody) -> Passage:
        assert self.guard is not None  # noqa: S101 - it said that this is not final

        def read(span: ByteSpan) -> bytes:
            length = min(span.end, body.size_bytes) - span.start
            data = body.read(span.start, length)
            if len(data) != length:
                raise StoreError("chunks of this file are lost; ask for it again")
            return data

        return await self.guard.settle_read(file, caller, read)

    async def _open(self, file: FileAt, caller: Caller, span: ByteSpan, passage: Passage) -> OpenBody:
        entry = file.entry
        assembler, xets = self.assembler, self.xets
        if assembler is None or xets is None or not is_sha256(entry.etag) or self.fills.keeps(entry.etag):
            return await self.fill(file, caller, span, passage)
        row = xets.proven_row(file)
        if row is None:
            return await self.fill(file, caller, span, passage)
        xets.note_read(row.file_id)
        if self.hot is not None and self.hot.is_hot(entry.etag, entry.size_bytes, span.length):
            hot = self.hot
            hot.flights.start(entry.etag, lambda: self._keep_whole(file, caller, hot))

        async def instead(rest: ByteSpan) -> FileBody:
            await xets.lost(row)
            return await self.fill(file, caller, rest, passage)

        try:
            return assembler.open(row, span, instead)
        except StoreError:
            return await instead(span)

    async def fill(
        self, file: FileAt, caller: Caller, span: ByteSpan, passage: Passage | None = None
    ) -> FileBody:
        """The file's bytes from its blob, which is filled when it is not there; see `Fills.open`.

        What upstream said of a file is not believed again when its bytes contradict it.

        passage: what `enter` said; asked again when it is not told.
        """
        if passage is None:
            passage = await self.enter(file, caller)
        entry = file.entry
        hosted = self.repos.is_hosted(file.repo)

        def plain() -> ByteSource:
            if hosted:
                raise StoreError(
                    f"the content of {entry.path} is lost: it should be here, and is nowhere else"
                )
            return self.source_of(self._road(file, caller), entry.size_bytes)

        def make_source() -> ByteSource:
            if (
                self.xets is None
                or not is_sha256(entry.etag)
                or (hosted and not self.xets.is_here(entry.etag))
            ):
                return plain()
            known = file if self.speaks_xet else replace(file, entry=replace(entry, xet_hash=None))
            return self.xets.source(known, caller, plain, lambda: self.fills.wants_whole(entry.etag))

        here = self.xets is not None and is_sha256(entry.etag) and self.xets.is_here(entry.etag)
        try:
            body = await self.fills.open(
                entry.etag, entry.size_bytes, make_source, span, local=hosted or here
            )
        except UpstreamBroken:
            self.repos.doubt(file)
            raise
        body.on_contradiction = lambda: self.repos.doubt(file)
        if self.guard is not None:
            small = self.fills.is_small(entry.size_bytes, span)
            look = make_source if here else self.plain_source(file, caller)
            body.guard = BodyGuard(self.guard, file, caller, passage, look, small=small)
        return body

    def plain_source(self, file: FileAt, caller: Caller) -> Callable[[], ByteSource]:
        """Makes the plain road to a file's bytes, for a first look."""

        def make() -> ByteSource:
            if self.fills.rules.offline:
                raise UpstreamUnreachable("this gateway is offline, and the file is not in its store")
            if self.repos.is_hosted(file.repo):
                raise StoreError(f"the content of {file.entry.path} is lost")
            return self.source_of(self._road(file, caller), file.entry.size_bytes)

        return make

    async def _keep_whole(self, file: FileAt, caller: Caller, hot: HotFiles) -> None:
        """Make a blob of a file that is kept as chunks. What goes wrong is told by its fill."""
        size_bytes = file.entry.size_bytes
        with suppress(MoongateError):
            if await asyncio.to_thread(hot.has_room, size_bytes):
                hot.made(size_bytes)
                body = await self.fill(file, caller, ByteSpan(0, size_bytes), _FREE)
                try:
                    await body.ready(0, size_bytes)
                finally:
                    body.close()
                await self.fills.finished(file.entry.etag)

    async def close(self) -> None:
        """Begin nothing more on the side."""
        if self.hot is not None:
            await self.hot.flights.close()

    async def finished(self, etag: Etag) -> bool:
        """Wait until the fill of this content ended here; whether it is kept now, in either shape."""
        return await self.fills.finished(etag) or (self.xets is not None and self.xets.is_here(etag))

    def file_at_hand(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved] | None:
        """See `Repos.file_at_hand`."""
        return self.repos.file_at_hand(repo, revision, path, caller)

    @property
    def guard_serial(self) -> int:
        """Changes when what was let pass may pass no longer."""
        return 0 if self.guard is None else self.guard.serial

    def passes(self, file: FileAt, caller: Caller) -> str | None:
        """What to warn this caller of with the file, mostly nothing; None: that must be decided anew."""
        if self.guard is None or self.guard.gate.is_off:
            return ""
        passage = self.guard.gate.at_hand(file, caller)
        return None if passage is None else passage.warning

    def is_tainted(self, file: FileAt) -> bool:
        """Whether who has a beginning of this file may have a wrong one; a point read."""
        return self.index.is_tainted(file.entry.etag, time.time())

    def sealed(self, file: FileAt) -> Handle | None:
        """The file's bytes when they are here, verified, and not recalled; see `Fills.sealed`."""
        if self.recalls.standing(file) is not None:
            return None
        return self.fills.sealed(file.entry.etag, file.entry.size_bytes)

    async def lfs_object(
        self, repo: RepoId, oid: Etag, caller: Caller, size_bytes: int | None = None
    ) -> FileAt:
        """The LFS object of a repository that this caller may read.

        A listing that names it is enough; otherwise upstream's batch route is asked, which wants the size.

        Raises:
            EntryAbsent: the repository has no such object.
            GatedRepo, RepoAbsent, UpstreamError: as for a file.
        """
        if self.repos.is_hosted(repo):
            return self.repos.hosted.content_at(repo, oid, caller)
        resolved = await self.repos.commit_of(repo, DEFAULT_REVISION, caller)
        for file in self.index.where_is(oid):
            if file.repo == resolved.repo:
                await self.repos.may_read_files(caller, file.repo, file.commit_hash, file.entry.path)
                return file
        if size_bytes is None:
            raise EntryAbsent("This repository has no such LFS object.")
        credential = self.repos.credential(caller, resolved.repo)
        path = f"{resolved.repo.file_path}.git/info/lfs/objects/batch"
        question = batch_request([LfsPointed(oid, size_bytes)])
        answer = await self.upstream.post(path, question, _LFS_TYPE, credential)
        if oid not in read_batch_answer(answer.body):
            raise EntryAbsent("This repository has no such LFS object.")
        entry = FileEntry(RepoPath(""), oid, size_bytes)
        return FileAt(resolved.repo, NO_COMMIT, entry)

    def _road(self, file: FileAt, caller: Caller) -> Road:
        credential = self.repos.fetching_credential(caller, file.repo, files=True)
        base = file.repo.file_path
        if file.entry.path.startswith("sha256:"):
            return Road(f"/v2/{file.repo.repo_id}/blobs/{file.entry.path}", credential)
        if file.commit_hash == NO_COMMIT:
            return Road(f"{base}.git/info/lfs/objects/batch", credential, lfs_oid=file.entry.etag)
        return Road(f"{base}/resolve/{file.commit_hash}/{quote(file.entry.path)}", credential)
