"""A store on disk with its index, for tests of its upkeep. The clock stands until a test moves it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileEntry
from moongate.store.blobs import Blobs
from moongate.store.index import Index
from moongate.store.keeping import Keeping
from moongate.store.layout import Layout


@dataclass
class House:
    """A store and its index; its clock stands until it is moved."""

    layout: Layout
    blobs: Blobs
    index: Index
    now: float = 1_000_000.0
    contents: dict[Etag, bytes] = field(default_factory=dict)

    def keeping(self, quota_bytes: int = 0, min_free_bytes: int = 0, eviction: str = "lru") -> Keeping:
        return Keeping(
            self.layout,
            self.blobs,
            self.index,
            quota_bytes=quota_bytes,
            min_free_bytes=min_free_bytes,
            eviction=eviction,  # type: ignore[arg-type]
            clock=lambda: self.now,
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

    def here(self) -> set[Etag]:
        """What is on disk; the index must agree."""
        on_disk = {etag: size_bytes for etag, size_bytes, _ in self.blobs.iterate()}
        assert on_disk == {row.etag: row.size_bytes for row in self.index.blobs_after("", 10_000)}
        return set(on_disk)


def make_house(home: Path) -> House:
    layout = Layout(home)
    layout.prepare()
    return House(layout, Blobs(layout), Index(layout.index_path))
