"""`HostedRepos`: the front of this room, for routes, git, Xet uploads and whatever looks at repositories.

    places         lookup with access              objects       git's objects, parsed
    refs           revisions, branches, tags       listings      which files a commit has
    commits        a change becomes a commit       uploads       who may commit what
    repositories   create, move, delete            discussions   pull requests
    reads          the JSON answers                lists         searches

Who has a `HostedRow` from `repo_for` was let in; nothing below asks again. Everything but `answer` is
synchronous and fit for any thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import EntryAbsent
from moongate.core.names import DEFAULT_REVISION, CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileAt, FileEntry
from moongate.hub.answers import Answer, AnswerMemory
from moongate.hub.hosted.arrivals import Arrivals
from moongate.hub.hosted.cards import Cards
from moongate.hub.hosted.commits import Commits, Committed
from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.discussions import Discussions
from moongate.hub.hosted.history import History
from moongate.hub.hosted.inventory import Inventory
from moongate.hub.hosted.landings import Landings
from moongate.hub.hosted.lineage import Lineage
from moongate.hub.hosted.listings import HostedListings
from moongate.hub.hosted.lists import HostedLists
from moongate.hub.hosted.objects import GitObjects
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.preupload import Preupload
from moongate.hub.hosted.quotas import Quotas
from moongate.hub.hosted.reads import HostedReads, Offered, ReadRooms
from moongate.hub.hosted.refs import HostedRefs
from moongate.hub.hosted.repositories import Repositories
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.hosted.sweeping import Sweeping
from moongate.hub.hosted.uploads import Elsewhere, Uploads
from moongate.hub.refs import Resolved
from moongate.store.at_rest import AtRest
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
from moongate.wire import routes
from moongate.wire.commit_lines import CommitRequest


class HostedRepos:
    """The repositories that live here, as every caller may see and change them."""

    def __init__(
        self,
        index: Index,
        contents: Contents,
        at_rest: AtRest,
        rules: HostedRules,
        *,
        offered: Offered,
        memory_bytes: int = 16 << 20,
        elsewhere: Elsewhere | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`offered`: whether clients are told a file's Xet id now.

        `elsewhere`: what may be committed because the caller reads it in a repository of upstream's.
        """
        self._index = index
        self._clock = clock
        self.rules = rules
        self.contents = contents
        self.places = Places(index, rules, clock)
        self.quotas = Quotas(index)
        self.objects = GitObjects(index)
        self.refs_of = HostedRefs(index, self.objects, clock)
        self.listings = HostedListings(index, self.objects)
        self.uploads = Uploads(index, self.places, contents, rules, clock, elsewhere)
        self.cards = Cards(index, at_rest, clock)
        self.lineage = Lineage(index, clock)
        self._landings = Landings(self.quotas, self.cards, self.lineage, self.listings)
        self.commits = Commits(
            index,
            self.objects,
            self.refs_of,
            self._landings,
            self.uploads,
            contents,
            rules,
            clock,
        )
        self.history = History(index, self.objects, self.listings, contents)
        self.inventory = Inventory(index, self.refs_of, self.listings, self.history, clock)
        self.repositories = Repositories(
            index, self.places, self.commits, self.listings, contents, self.quotas, clock
        )
        self.preupload = Preupload(index, self.objects, self.refs_of, contents, self.quotas, rules)
        self.sweeping = Sweeping(index, self.objects, clock)
        self.discussions = Discussions(index, self.refs_of, self.commits, self.history, clock)
        rooms = ReadRooms(
            self.objects,
            self.refs_of,
            self.listings,
            self.history,
            self.inventory,
            self.discussions,
            self.cards,
        )
        self.reads = HostedReads(index, rooms, offered, AnswerMemory(memory_bytes), clock)
        self.lists = HostedLists(index, self.places, self.reads)

    # Who may

    def hosts(self, repo: RepoId) -> bool:
        """Whether a repository of this name lives here, if it exists at all. A point read."""
        return self.places.hosts(repo)

    def repo_for(self, repo: RepoId, caller: Caller, want: Role = "read") -> HostedRow:
        """See `Places.repo_for`: the repository, when this caller may do that much with it."""
        return self.places.repo_for(repo, caller, want)

    def files_for(self, repo: RepoId, caller: Caller, want: Role = "read") -> HostedRow:
        """As `repo_for`, when this caller may read its files, too.

        Raises:
            GatedRepo: they may not.
        """
        row = self.places.repo_for(repo, caller, want)
        self.places.may_read_files(row, caller)
        return row

    # Reading, as `hub.proxied.ProxiedRepos` does

    async def answer(
        self,
        route: routes.RepoRoute,
        query: str,
        caller: Caller,
        post_body: bytes | None = None,
        content_type: str = "",
    ) -> Answer:
        """The answer to a JSON route about a hosted repository.

        Raises:
            RepoAbsent, RepoMoved, RevisionAbsent, EntryAbsent: it is not there (under this name).
            AuthRequired, ScopeMissing, NotAllowed: not for this caller.
            BadRequest: the question cannot be.
        """
        if isinstance(route, routes.AuthCheck):
            self.files_for(route.repo, caller, "write" if route.write else "read")
            return Answer(200, (), b"", "hit")
        tells_content = isinstance(route, routes.RepoOther)  # a comparison, a pull request's changes
        row = (self.files_for if tells_content else self.repo_for)(route.repo, caller)
        return await asyncio.to_thread(self.reads.answer, row, route, query, post_body, content_type)

    def commit_of(self, repo: RepoId, revision: Revision, caller: Caller) -> Resolved:
        """The commit that a revision is. Point reads.

        Raises:
            RepoAbsent, RepoMoved, RevisionAbsent: it is not there, or not for this caller.
        """
        row = self.repo_for(repo, caller)
        return Resolved(self.refs_of.resolve(row, revision), row.repo, "hit")

    def file_at(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved]:
        """The file at a path of a revision. Point reads, and now and then a tree to parse.

        Raises:
            EntryAbsent: the commit has no such file; carries the commit.
            Otherwise as `commit_of`.
        """
        row = self.files_for(repo, caller)
        commit_hash = self.refs_of.resolve(row, revision)
        entry = self.listings.file(row, commit_hash, path)
        return FileAt(row.repo, commit_hash, entry), Resolved(commit_hash, row.repo, "hit")

    def content_at(self, repo: RepoId, etag: Etag, caller: Caller) -> FileAt:
        """A content of a repository by its hash, at the head of `main`.

        Raises:
            EntryAbsent: the repository has none such.
            Otherwise as `commit_of`.
        """
        row = self.files_for(repo, caller)
        blobs = self._index.hosted_blobs_with(row.number, etag)
        if not blobs:
            raise EntryAbsent("This repository has no such object.")
        commit_hash = self.refs_of.resolve(row, DEFAULT_REVISION)
        entry = FileEntry(RepoPath(f"sha256:{etag}"), etag, blobs[0].size_bytes, blobs[0].xet_hash)
        return FileAt(row.repo, commit_hash, entry)

    def write_down(self, repo: RepoId, commit_hash: CommitHash) -> None:
        """Have a commit's listing in the index, where whatever looks at listings finds it."""
        row = self._index.get_hosted(repo)
        if row is not None and self.objects.has_commit(row, commit_hash):
            self.listings.write_down(row, commit_hash)

    def prepare_export(self, repo: RepoId, revision: Revision) -> None:
        """Have in the index whatever a bundle takes from there, of a revision of a hosted repository.

        Raises:
            RevisionAbsent: there is no such revision.
        """
        row = self._index.get_hosted(repo)
        if row is None:
            return
        commit_hash = self.refs_of.resolve(row, revision)
        self.listings.write_down(row, commit_hash)
        for name in (revision, Revision(commit_hash)):
            self._index.put_ref(row.repo, name, commit_hash, self._clock())
        for key, answer in self.reads.stored_answers(row, commit_hash).items():
            self._index.put_answer(key, row.repo, answer)

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

    def have_judged(self, arrivals: Arrivals) -> None:
        """Have what comes in judged from now on, before it lands."""
        self._landings.arrivals = arrivals

    def to_administer(self, repo: RepoId, caller: Caller) -> HostedRow:
        """As `repo_for`, when the policy lets this caller delete, move or show it, too. May write.

        Raises:
            RefusedByPolicy, HeldByPolicy: it does not.
        """
        row = self.repo_for(repo, caller, "admin")
        self._landings.may_administer(row, caller)
        return row

    def judge_arrivals(self, row: HostedRow, caller: Caller, files: Iterable[tuple[str, HostedBlob]]) -> None:
        """See `Landings.judge`."""
        self._landings.judge(row, caller, files)

    def apply_push(self, row: HostedRow, landing: Landing) -> None:
        """Add objects and what blobs mean, and move refs, in one transaction.

        The content of every blob must be in the store already, and protected: by a lease that the pusher has
        (`uploads.may_commit`), or by `uploads.uploaded` or `uploads.bring` called for it.

        Raises:
            RefMoved, RepoAbsent: as `update_refs`; nothing happened.
        """
        before = {ref.name: ref.commit_hash for ref in self.refs(row)}
        landing = replace(landing, blobs=list(landing.blobs))  # a push tells them once
        self._landings.admit(row, landing.blobs)
        with self.contents.claimed():
            self._index.land(row.number, landing, self._clock())
        for change in landing.refs:
            if change.commit_hash is not None and change.name.startswith("refs/heads/"):
                self.listings.write_down(row, change.commit_hash, before.get(change.name))
                self._landings.landed(row, change.commit_hash, before.get(change.name))

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
        """See `Commits.commit`: make a commit on a branch or pull request."""
        return self.commits.commit(row, revision, request, caller, create_pr=create_pr)
