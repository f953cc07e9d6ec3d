"""Files of a commit by their Xet ids: what a CAS route names is a file only where a listing says so.

Whoever may read one repository learns nothing of another: an id opens a file when the commit that was asked
for has a file of that id, and the caller may read that commit's files.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from moongate.core.callers import Caller
from moongate.core.errors import EntryAbsent, UpstreamUnreachable
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileAt, FileEntry
from moongate.hub.listings import FIRST_PAGE
from moongate.hub.recalls import Recalls
from moongate.hub.repos import Repos
from moongate.store.index import Index
from moongate.wire.links import next_link
from moongate.wire.routes import Tree
from moongate.xet.hashes import XetHash

_COMMITS_KEPT = 16
_MAX_PAGES = 2000


class FilesByXet:
    """The Xet files of commits. Not for several threads."""

    def __init__(self, index: Index, repos: Repos, recalls: Recalls) -> None:
        self._index = index
        self._recalls = recalls
        self._repos = repos
        self._kept: OrderedDict[tuple[RepoId, CommitHash], dict[str, FileEntry]] = OrderedDict()

    async def file(self, repo: RepoId, commit_hash: CommitHash, file_id: str, caller: Caller) -> FileAt:
        """The file of this id in this commit, when the caller may read it.

        Raises:
            EntryAbsent: the commit has no such file.
            Recalled: it is served no more.
            GatedRepo, RepoAbsent, UpstreamError: as for any file.
        """
        if not commit_hash:
            raise EntryAbsent("This token is for uploads; reading takes one for a commit.")
        entry = await self._entry(repo, commit_hash, file_id, caller)
        if not self._repos.reads(caller, repo):
            await self._repos.may_read_files(caller, repo, commit_hash, entry.path)
        file = FileAt(repo, commit_hash, entry)
        self._recalls.refuse(file)
        return file

    async def may_read(self, repo: RepoId, commit_hash: CommitHash, caller: Caller) -> None:
        """Return when this caller may read the commit's files; asked about one of them, if it has any.

        Raises:
            GatedRepo, RepoAbsent, UpstreamError: as for any file.
        """
        if self._repos.reads(caller, repo):
            return
        known = self._index.files_of(repo, commit_hash)
        if not known:
            await self._list(repo, commit_hash, caller)
            known = self._index.files_of(repo, commit_hash)
        if known:
            large = next((entry for entry in known if entry.xet_hash is not None), known[-1])
            await self._repos.may_read_files(caller, repo, commit_hash, large.path)

    def kept_as(self, xorb: XetHash) -> frozenset[XetHash]:
        """The names under which a xorb may be kept here. A point read."""
        return frozenset((xorb, *self._index.xorbs_named(xorb)))

    def needing(self, xorbs: Iterable[XetHash]) -> list[str]:
        """The ids of all files that are known to need one of these, whoever may read them. Point reads."""
        return [file_id for xorb in xorbs for file_id in self._index.references(xorb)]

    async def _entry(self, repo: RepoId, commit_hash: CommitHash, file_id: str, caller: Caller) -> FileEntry:
        entry = self._kept.get((repo, commit_hash), {}).get(file_id) or self._read(repo, commit_hash, file_id)
        if entry is None and not self._index.listing_complete(repo, commit_hash):
            try:
                await self._list(repo, commit_hash, caller)
            except UpstreamUnreachable as error:
                raise UpstreamUnreachable(f"this Xet file of {repo} is not known here: {error}") from error
            entry = self._read(repo, commit_hash, file_id)
        if entry is None:
            raise EntryAbsent("This commit has no file of that Xet id.", commit_hash)
        return entry

    def _read(self, repo: RepoId, commit_hash: CommitHash, file_id: str) -> FileEntry | None:
        entries = {entry.xet_hash or "": entry for entry in self._index.xet_files_in(repo, commit_hash)}
        self._kept[repo, commit_hash] = entries
        self._kept.move_to_end((repo, commit_hash))
        if len(self._kept) > _COMMITS_KEPT:
            self._kept.popitem(last=False)
        return entries.get(file_id)

    async def _list(self, repo: RepoId, commit_hash: CommitHash, caller: Caller) -> None:
        """Ask for the commit's whole listing, which writes down every file of it."""
        if self._repos.is_hosted(repo):
            await self._repos.may_read_files(caller, repo, commit_hash, RepoPath("README.md"))
            await asyncio.to_thread(self._repos.hosted.write_down, repo, commit_hash)
            return
        route, query = Tree(repo, Revision(commit_hash), None), FIRST_PAGE
        for _ in range(_MAX_PAGES):
            answer = await self._repos.answer(route, query, caller)
            link = next_link(dict(answer.headers))
            if link is None:
                return
            query = link.partition("?")[2]
