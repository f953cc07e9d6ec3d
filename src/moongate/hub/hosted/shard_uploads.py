"""Shards that clients send: files made of xorbs, checked to the last byte before anybody may commit them.

Checked of every file: the caller may use each chunk that it names; its terms are as long as they say; the
verification hashes and the file's own hash are those of its chunks; its sha256 is that of its bytes. What a
shard tells of xorbs is not read: we know better what they have.

Order, so that a crash at any moment leaves nothing half done: the chunks are leased to the caller, the bytes
are read, the file is written down as proven, and last the caller may commit its content.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, MoongateError, StoreError
from moongate.core.names import RepoId
from moongate.core.records import MAX_FILE_BYTES
from moongate.hub.hosted.xet_rights import Readers, XetRights
from moongate.store.chunk_ranges import ChunkRange, union
from moongate.store.chunk_reader import BadSegment, ChunkReader, ChunksLost
from moongate.store.index import Index
from moongate.store.segments import Segments
from moongate.xet.hashes import ZERO, FileHasher, XetHash, hash_hex, term_hash
from moongate.xet.reconstruction import Term
from moongate.xet.shard import ShardFile, iterate_files, iterate_xorbs

TOLD_SECONDS = 22 * 86400.0
"""Clients remember for three weeks which xorbs they sent, and send them no more: so long we keep them."""

_NOT_YOURS = "The shard names chunks that this upload did not bring and that this token may not read."


class Uploads(Protocol):
    """Has room or not, and writes down who brought a content to a repository: see `XetAccess`."""

    def admit(self, repo: RepoId, sizes: Mapping[Etag, int]) -> None: ...
    def claimed(self) -> AbstractContextManager[None]: ...
    def uploaded(self, repo: RepoId, caller: Caller, etag: Etag, size_bytes: int) -> None: ...


class Stopped(MoongateError):
    """Whoever sent the shard is gone."""


@dataclass
class Progress:
    """How far the bytes of a shard's files were read. May be looked at, and stopped, from another thread."""

    total_bytes: int = 0
    read_bytes: int = 0
    checked: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    """A file whose chunks are known to make it; its bytes are yet to be read."""

    file_id: str
    sha256: str | None
    size_bytes: int
    terms: tuple[Term, ...]
    needs: dict[XetHash, list[ChunkRange]] = field(repr=False)
    first_chunk: XetHash


class ShardUploads:
    """Takes shards in. Blocks; any thread may call it."""

    def __init__(
        self,
        index: Index,
        segments: Segments,
        readers: Readers,
        uploads: Uploads,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._segments = segments
        self._readers = readers
        self._uploads = uploads
        self._clock = clock

    def take(self, shard: memoryview, repo: RepoId, caller: Caller, progress: Progress) -> bool:
        """Check a shard's files and let the caller commit them to the repository; False when all were here.

        First every file is checked by what is known of its chunks; `progress.checked` says that this went
        well. Then their bytes are read.

        Raises:
            BadRequest: something in it is not right.
            StoreError: chunks were lost meanwhile, or nothing can be written down.
            Stopped: it was told to stop.
        """
        rights = XetRights(self._index, self._segments, self._readers, caller, self._clock)
        for told in iterate_files(shard):
            file = self._checked(told, rights)
            progress.total_bytes += file.size_bytes
            if file.sha256 is not None:
                self._uploads.admit(repo, {Etag(file.sha256): file.size_bytes})
            _go_on(progress)
        progress.checked = True
        new = False
        for told in iterate_files(shard):
            file = self._checked(told, rights)
            new |= self._take_file(file, repo, caller, progress)
        self._remember_xorbs(shard, caller)
        return new

    # -- by what is known of the chunks ----------------------------------------------------------------------

    def _checked(self, told: ShardFile, rights: XetRights) -> _File:
        if told.verification and len(told.verification) != len(told.terms):
            raise BadRequest("The shard has not one verification hash for each term.")
        hasher, size_bytes, first_chunk = FileHasher(), 0, ZERO
        terms: list[Term] = []
        needs: dict[XetHash, list[ChunkRange]] = {}
        for at, term in enumerate(told.terms):
            known = rights.find(term.xorb, term.start, term.end)
            if known is None:
                raise BadRequest(_NOT_YOURS)
            leaves = [known.leaves[number] for number in range(term.start, term.end)]
            if sum(length for _, length in leaves) != term.unpacked_bytes:
                raise BadRequest("A term of the shard tells another length than its chunks have.")
            if told.verification and term_hash(chunk for chunk, _ in leaves) != told.verification[at]:
                raise BadRequest("A verification hash of the shard is not that of its term.")
            for leaf in leaves:
                hasher.add(leaf)
            first_chunk = leaves[0][0] if at == 0 else first_chunk
            size_bytes += term.unpacked_bytes
            if size_bytes > MAX_FILE_BYTES:
                raise BadRequest("A file of the shard is longer than any file may be.")
            terms.append(Term(known.xorb, term.unpacked_bytes, term.start, term.end))
            needs.setdefault(known.xorb, []).append(known.chunks(term.start, term.end))
        if not terms:
            raise BadRequest("The shard has a file without chunks.")
        if hasher.digest() != told.file_hash:
            raise BadRequest("A file hash of the shard is not that of its chunks.")
        joined = {xorb: union(ranges) for xorb, ranges in needs.items()}
        file_id = hash_hex(told.file_hash)
        return _File(file_id, told.sha256, size_bytes, tuple(terms), joined, first_chunk)

    # -- by its bytes ----------------------------------------------------------------------------------------

    def _take_file(self, file: _File, repo: RepoId, caller: Caller, progress: Progress) -> bool:
        now = self._clock()
        self._index.lease_xorbs(caller.key, file.needs, now + TOLD_SECONDS, now)
        known = self._index.proven_etag(file.file_id)
        etag = known or self._read(file, progress)
        if file.sha256 not in (None, etag):
            raise BadRequest("A sha256 of the shard is not that of the file's bytes.")
        self._index.put_dedup(file.first_chunk, file.terms[0].xorb)
        now = self._clock()
        with self._uploads.claimed():
            self._index.put_proven(file.file_id, etag, file.size_bytes, file.terms, file.needs, now)
            self._uploads.uploaded(repo, caller, etag, file.size_bytes)
        return known is None

    def _read(self, file: _File, progress: Progress) -> Etag:
        """The sha256 of the file's bytes."""
        digest = hashlib.sha256()
        with ChunkReader(self._segments) as reader:
            try:
                for chunk in self._chunks(file, reader):
                    digest.update(chunk)
                    progress.read_bytes += len(chunk)
                    _go_on(progress)
            except ChunksLost:  # freed a moment before they were leased
                raise BadRequest(_NOT_YOURS) from None
            except BadSegment as error:
                raise StoreError(f"chunks of the upload cannot be read: {error.message}") from error
        return Etag(digest.hexdigest())

    def _chunks(self, file: _File, reader: ChunkReader) -> Iterator[bytes | memoryview]:
        for term in file.terms:
            yield from reader.chunks(term.xorb, term.start, term.end)

    def _remember_xorbs(self, shard: memoryview, caller: Caller) -> None:
        """Keep the xorbs that the client brought and now remembers, also what no file needs of them."""
        now = self._clock()
        for name in iterate_xorbs(shard):
            for xorb in self._index.xorbs_named(name):
                if ranges := self._index.leased_chunks(caller.key, xorb, now):
                    self._index.lease_xorbs(caller.key, {xorb: ranges}, now + TOLD_SECONDS, now)


def _go_on(progress: Progress) -> None:
    if progress.stopped:
        raise Stopped("whoever sent the shard is gone")
