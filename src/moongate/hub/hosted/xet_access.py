"""Who may read, write and bring what, as uploads through Xet ask it, of hosted and of proxied repositories.

Nothing is asked of upstream: who may read a proxied repository is what is known of that here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import Absent, NotAllowed, RepoMoved
from moongate.core.names import RepoId
from moongate.core.records import FileAt
from moongate.hub.hosted.repos import HostedRepos
from moongate.store.index import HostedRow, Role


class ProxiedAccess(Protocol):
    """What this needs of `hub.access.Access`."""

    def reads(self, caller: Caller, repo: RepoId) -> bool: ...


class XetAccess:
    """Answers for one gateway. For any thread."""

    def __init__(self, hosted: HostedRepos, proxied: ProxiedAccess) -> None:
        self._hosted = hosted
        self._proxied = proxied

    def reads(self, caller: Caller, file: FileAt) -> bool:
        """Whether this caller may read a file where it stands, as far as that is known here."""
        if not self._hosted.hosts(file.repo):
            return self._proxied.reads(caller, file.repo)
        try:
            self._row(file.repo, caller, "read")
        except (NotAllowed, Absent):
            return False
        return True

    def hosts(self, repo: RepoId) -> bool:
        """Whether a repository of this name lives here, if it exists at all. A point read."""
        return self._hosted.hosts(repo)

    def may_write(self, repo: RepoId, caller: Caller, *, pull_request: bool = False) -> None:
        """Return when this caller may upload to a repository, exactly as they may commit to it.

        Whoever may read, and write somewhere, may open a `pull_request`.

        Raises:
            NotAllowed, Absent: as `HostedRepos.repo_for`; a repository that was moved meanwhile is followed.
        """
        self._row(repo, caller, "read" if pull_request else "write")

    def admit(self, repo: RepoId, sizes: Mapping[Etag, int]) -> None:
        """Return when the repository's namespace has room for these contents.

        Raises:
            QuotaExceeded: it has not.
        """
        self._hosted.quotas.admit(repo.namespace, sizes)

    def claimed(self) -> AbstractContextManager[None]:
        """While this is held, no content goes; see `Contents.claimed`."""
        return self._hosted.contents.claimed()

    def uploaded(self, repo: RepoId, caller: Caller, etag: Etag, size_bytes: int) -> None:
        """Note that a caller, who was let in before, brought a content to a repository and may commit it."""
        self._hosted.uploads.uploaded(self._row(repo, caller, "read"), caller.key, etag, size_bytes)

    def _row(self, repo: RepoId, caller: Caller, want: Role) -> HostedRow:
        try:
            return self._hosted.files_for(repo, caller, want)
        except RepoMoved as moved:
            return self._hosted.files_for(RepoId(repo.repo_type, moved.to), caller, want)
