"""A store on disk with its index, for tests of its upkeep. The clock stands until a test moves it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.store.blobs import Blobs
from moongate.store.chunk_reader import ChunkReader
from moongate.store.index import Index
from moongate.store.keeping import Keeping
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from support.xorbs import XetContent, Xorb


@dataclass
class House:
    """A store and its index; its clock stands until it is moved."""

    layout: Layout
    blobs: Blobs
    index: Index
    now: float = 1_000_000.0
    contents: dict[Etag, bytes] = field(default_factory=dict)

    @cached_property
    def segments(self) -> Segments:
        return Segments(self.layout)

    def keeping(self, quota_bytes: int = 0, min_free_bytes: int = 0, eviction: str = "lru") -> Keeping:
        return Keeping(
            self.layout,
            self.blobs,
            self.index,
            quota_bytes=quota_bytes,
            min_free_bytes=min_free_bytes,
            eviction=eviction,  # type: ignore[arg-type]
            clock=lambda: self.now,
            segments=self.segments,
        )

    def seal(self, content: bytes, *, register: bool = True) -> Etag:
        """Keep content, as read and sealed now; the clock moves on by a second."""
        etag = Etag(hashlib.sha256(content).hexdigest())
        self.blobs.add(etag, len(content), iter([content]))
        if register:
            self.index.put_blob(etag, len(content), self.now)
        self.contents[etag] = content
        self.now += 1
        return etag

    def list(self, repo: RepoId, commit_hash: str, **files: Etag) -> None:
        """Put these files into a commit's listing."""
        self.index.put_files(
            repo,
            CommitHash(commit_hash),
            [FileEntry(RepoPath(path), etag, len(self.contents[etag])) for path, etag in files.items()],
        )

    def put_xet(self, xorbs: Sequence[Xorb], file: XetContent, *, verified: bool = True) -> None:
        """Fetch a Xet file as a gateway does, as proven now; the clock moves on by a second."""
        self.index.put_reconstruction(
            file.file_id, file.etag, len(file.content), file.terms, file.needs, self.now
        )
        data = {xorb.hash: xorb.data for xorb in xorbs}
        for xorb, ranges in file.needs.items():
            for one in ranges:
                for segment in self.segments.missing(xorb, one.first, one.end, one.span):
                    lead = self.segments.try_lead(segment)
                    assert lead is not None
                    lead.append(data[xorb][segment.span.start + lead.position : segment.span.end])
                    lead.close()
        if verified:
            assert self.index.mark_verified(file.file_id, file.etag, self.now)
        self.contents[file.etag] = file.content
        self.now += 1

    def read_xet(self, file_id: str) -> bytes | None:
        """A Xet file from its chunks; None when it is not verified."""
        row = self.index.get_reconstruction(file_id)
        if row is None or not row.verified:
            return None
        with ChunkReader(self.segments) as reader:
            return b"".join(bytes(raw) for raw in reader.chunks_of(row))

    def chunks_here(self, xorbs: Sequence[Xorb]) -> set[tuple[int, int]]:
        """Which chunks of these xorbs are on disk, as numbers; nothing else may be, and no wrong byte.

        Of segments that are not complete, none count.
        """
        here: set[tuple[int, int]] = set()
        files = {path for path in self.layout.xorbs_dir.rglob("*") if path.is_file()}
        for number, xorb in enumerate(xorbs):
            for segment in self.segments.of(xorb.hash):
                files.remove(Path(segment.path))
                data, right = Path(segment.path).read_bytes(), xorb.bytes_of(segment.first, segment.end)
                assert data == right[: len(data)]
                if data != right:
                    continue
                chunks = {(number, chunk) for chunk in range(segment.first, segment.end)}
                assert not chunks & here
                here |= chunks
        assert not files
        return here

    def here(self) -> set[Etag]:
        """What is on disk; the index must agree."""
        on_disk = {etag: size_bytes for etag, size_bytes, _ in self.blobs.iterate()}
        assert on_disk == {row.etag: row.size_bytes for row in self.index.blobs_after("", 10_000)}
        return set(on_disk)


def make_house(home: Path) -> House:
    layout = Layout(home)
    layout.prepare()
    return House(layout, Blobs(layout), Index(layout.index_path))
