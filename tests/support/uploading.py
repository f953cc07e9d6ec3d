"""What a client would upload: xorbs as they are sent, and shards that make files of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import NotAllowed, QuotaExceeded
from moongate.core.names import RepoId
from moongate.core.records import FileAt
from moongate.hub.hosted.shard_uploads import Progress
from moongate.hub.hosted.xet_uploads import XetUploads
from moongate.store.index import Index
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from moongate.xet.hashes import parse_hash, term_hash
from moongate.xet.shard import Shard, ShardFile, ShardTerm, ShardXorb, write_shard
from support.filling import no_limit
from support.xorbs import Xorb, contents, sha256, xet_content

ALICE, BOB = Caller("token", "alice", "write"), Caller("token", "bob", "write")
REPO = RepoId("model", "acme/tiny")

Parts = Sequence[tuple[int, int, int]]
"""Number of the xorb, first chunk, end."""


def told_file(xorbs: Sequence[Xorb], parts: Parts) -> ShardFile:
    """A file of these parts, as a client's shard tells of it."""
    file = xet_content(xorbs, parts)
    terms = tuple(ShardTerm(one.xorb, one.unpacked_bytes, one.start, one.end) for one in file.terms)
    proofs = tuple(
        term_hash(chunk for chunk, _ in xorbs[number].leaves[first:end]) for number, first, end in parts
    )
    return ShardFile(parse_hash(file.file_id), terms, proofs, file.etag)


def shard_of(files: Sequence[ShardFile], xorbs: Sequence[Xorb] = ()) -> bytes:
    """A shard of these files that describes these xorbs."""
    return write_shard(Shard(tuple(files), tuple(ShardXorb(one.hash, one.leaves) for one in xorbs)))


@dataclass
class Clerk:
    """Knows who may read and write, and what was uploaded."""

    readable: set[tuple[str, str]] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    room_bytes: int = 1 << 40
    uploads: list[tuple[RepoId, str, Etag, int]] = field(default_factory=list)

    def reads(self, caller: Caller, file: FileAt) -> bool:
        return (caller.user, file.repo.repo_id) in self.readable

    def admit(self, repo: RepoId, sizes: Mapping[Etag, int]) -> None:
        if any(size > self.room_bytes for size in sizes.values()):
            raise QuotaExceeded("no room")

    def claimed(self) -> AbstractContextManager[None]:
        return nullcontext()

    def may_write(self, repo: RepoId, caller: Caller, *, pull_request: bool = False) -> None:
        if caller.user in self.refused:
            raise NotAllowed("not you")

    def uploaded(self, repo: RepoId, caller: Caller, etag: Etag, size_bytes: int) -> None:
        self.uploads.append((repo, caller.key, etag, size_bytes))


class Wharf:
    """A store that takes uploads, without HTTP around it. Its clock stands until it is moved."""

    def __init__(self, home: Path) -> None:
        self.layout = Layout(home)
        self.layout.prepare()
        self.index = Index(self.layout.index_path)
        self.segments = Segments(self.layout)
        self.clerk = Clerk()
        self.now = 1_000_000.0
        self.uploads = XetUploads(
            self.layout,
            self.index,
            self.segments,
            access=self.clerk,
            make_room=no_limit,
            clock=lambda: self.now,
        )

    def close(self) -> None:
        self.index.close()

    def send(self, xorb: Xorb, caller: Caller = ALICE, data: bytes | None = None) -> bool:
        """Upload a xorb, or other bytes by its name."""
        sent = self.uploads.begin(len(xorb.data))
        try:
            sent.append(xorb.data if data is None else data)
            return self.uploads.take_xorb(sent, xorb.hash, caller)
        finally:
            sent.close()

    def register(self, shard: bytes, caller: Caller = ALICE, repo: RepoId = REPO) -> bool:
        """Upload a shard."""
        return self.uploads.take_shard(memoryview(shard), repo, caller, Progress())

    def files(self) -> list[str]:
        """All that lies in the store but for locks, by its path below it."""
        root = self.layout.root
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def otherwise(file: ShardFile, **other: object) -> ShardFile:
    """The file, with something else in it."""
    return replace(file, **other)  # type: ignore[arg-type]


__all__ = [
    "ALICE",
    "BOB",
    "REPO",
    "Clerk",
    "Parts",
    "Wharf",
    "contents",
    "otherwise",
    "sha256",
    "shard_of",
    "told_file",
]
