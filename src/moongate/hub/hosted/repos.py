"""`HostedRepos`: the front of this room, for routes, git, Xet uploads and whatever looks at repositories.

    places    lookup with access           objects   git's objects, parsed
    refs      revisions, branches, tags    commits   a change becomes a commit
    uploads   who may commit what

Who has a `HostedRow` from `repo_for` was let in; nothing below asks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from moongate.core.callers import Caller
from moongate.core.errors import BadRequest
from moongate.core.names import RepoId
from moongate.hub.hosted.commits import Committed
from moongate.hub.hosted.objects import GitObjects
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.hosted.uploads import Elsewhere, Uploads
from moongate.store.blobs import Blobs
from moongate.store.index import (
    GitObjectRow,
    HostedBlob,
    HostedRef,
    HostedRow,
    Index,
    Landing,
    RefUpdate,
    Role,
)
from moongate.wire.commit_lines import CommitRequest


class HostedRepos:
    """The repositories that live here, as every caller may see and change them."""

    def __init__(
        self,
        index: Index,
        blobs: Blobs,
        rules: HostedRules,
        *,
        elsewhere: Elsewhere | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`elsewhere`: what may be committed because the caller reads it in a repository of upstream's."""
        self._index = index
        self._blobs = blobs
        self._clock = clock
        self.rules = rules
        self.places = Places(index, rules, clock)
        self.objects = GitObjects(index)
        self.uploads = Uploads(index, self.places, rules, clock, elsewhere)

    # Who may

    def hosts(self, repo: RepoId) -> bool:
        """Whether a repository of this name lives here, if it exists at all. A point read."""
        return self.places.hosts(repo)

    def repo_for(self, repo: RepoId, caller: Caller, want: Role = "read") -> HostedRow:
        """See `Places.repo_for`: the repository, when this caller may do that much with it."""
        return self.places.repo_for(repo, caller, want)

    # Git

    def get_object(self, row: HostedRow, oid: str) -> GitObjectRow | None:
        """A commit, tree or annotated tag as git hashes it. Blobs: `blob_meaning`, and the store."""
        return self.objects.get(row, oid)

    def blob_meaning(self, row: HostedRow, oid: str) -> HostedBlob | None:
        """What a git blob is: the file of that etag in the store, or (`is_lfs`) a pointer to one."""
        return self._index.hosted_blob(row.number, oid)

    def refs(self, row: HostedRow) -> list[HostedRef]:
        """Every ref by its full name, in order: branches, `refs/pr/N`, tags."""
        return self._index.hosted_refs(row.number)

    def update_refs(self, row: HostedRow, changes: Sequence[RefUpdate]) -> None:
        """Move refs, all or none.

        Raises:
            RefMoved: one does not point where its change was made for.
            RepoAbsent: the repository is gone.
        """
        self.apply_push(row, Landing(changes))

    def apply_push(self, row: HostedRow, landing: Landing) -> None:
        """Add objects and what blobs mean, and move refs, in one transaction.

        The content of every blob must be in the store already, and protected: by a lease that the pusher has
        (`uploads.may_commit`), or by `uploads.uploaded` called for it.

        Raises:
            RefMoved, RepoAbsent: as `update_refs`; nothing happened.
        """
        self._index.land(row.number, landing, self._clock())

    # Commits

    def commit(
        self,
        row: HostedRow,
        revision: str,
        request: CommitRequest,
        caller: Caller,
        *,
        create_pr: bool = False,
    ) -> Committed:
        """Make a commit on a branch or pull request.

        Raises:
            RefMoved: `parent_commit` is not where the branch is, or somebody else was faster.
            RevisionAbsent: there is no such branch.
            BadRequest: an operation cannot be done; nothing happened.
        """
        raise BadRequest("commits are still to come")
