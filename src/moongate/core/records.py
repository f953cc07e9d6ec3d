"""Facts about repositories and files, as values."""

from __future__ import annotations

from dataclasses import dataclass

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath

MAX_FILE_BYTES = 1 << 44
"""16 TiB. Whoever tells of a longer file is wrong, or lies to have room made for it."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of one commit. `etag` is its content identity; `oid` is git's (an LFS file's pointer blob).

    `xet_hash` is the Xet file id, when upstream said that it keeps the file in Xet.
    """

    path: RepoPath
    etag: Etag
    size_bytes: int
    xet_hash: str | None = None


@dataclass(frozen=True, slots=True)
class FileAt:
    """A file and where it stands: enough to fetch, verify and serve it."""

    repo: RepoId
    commit_hash: CommitHash
    entry: FileEntry


@dataclass(frozen=True, slots=True)
class RepoFacts:
    """What upstream said of a repository when it was last asked.

    `private` and `gated` are None when the answer did not say.
    """

    repo: RepoId
    private: bool | None
    gated: bool | None
    checked_at: float

    @property
    def files_are_public(self) -> bool:
        """Everybody may read the files."""
        return self.private is False and self.gated is False

    @property
    def metadata_is_public(self) -> bool:
        """Everybody may read info and listings; the files may still be gated."""
        return self.private is False
