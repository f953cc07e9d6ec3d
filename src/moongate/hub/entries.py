"""Which content stands at a path of a commit, for those who may read it.

Known from a listing or from one HEAD, and never asked again: what stands at a path of a commit cannot change.
The absence of a path is remembered too, for as long as `entry_absent_ttl_seconds`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from moongate.core.callers import Caller
from moongate.core.digests import is_sha256
from moongate.core.errors import (
    BadToken,
    EntryAbsent,
    NotAllowed,
    RepoAbsent,
    UpstreamBroken,
    UpstreamError,
    UpstreamUnreachable,
)
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.core.records import FileAt, FileEntry
from moongate.hub import keys
from moongate.hub.access import Access
from moongate.hub.answers import PUBLIC
from moongate.hub.asker import Asker
from moongate.hub.flights import Flights
from moongate.hub.notes import write_down
from moongate.hub.rules import HubRules
from moongate.store.index import Index, StoredAnswer

_MEMORY_ROWS = 50_000

Place = tuple[RepoId, CommitHash, RepoPath]


class Entries:
    """Files by repository, commit and path."""

    def __init__(
        self, index: Index, asker: Asker, access: Access, rules: HubRules, clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._asker = asker
        self._access = access
        self._rules = rules
        self._clock = clock
        self._flights = Flights()
        self._files: OrderedDict[Place, FileAt] = OrderedDict()
        self._absences: OrderedDict[Place, float] = OrderedDict()
        self._doubted: set[Place] = set()

    async def file_at(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath, caller: Caller) -> FileAt:
        """The file at a path, when this caller may read it.

        Raises:
            EntryAbsent: the commit has no such file; carries the commit.
            GatedRepo, RepoAbsent: the files are not for this caller.
            UpstreamError: it is not known here, and upstream cannot be asked.
        """
        file = self.known(repo, commit_hash, path)
        if file is None:
            if (repo, commit_hash, path) not in self._doubted:
                self._raise_if_absent(repo, commit_hash, path)
            return await self._ask(repo, commit_hash, path, caller)
        if not self._access.reads(caller, repo):
            await self._access.may_read_files(caller, repo, commit_hash, path)
        return file

    def known(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath) -> FileAt | None:
        """The file at a path, when it is known here. Says nothing of who may read it."""
        place = (repo, commit_hash, path)
        if place in self._doubted:
            return None
        file = self._files.get(place)
        if file is None:
            entry = self._index.get_file(repo, commit_hash, path)
            if entry is None:
                return None
            file = self._remember(FileAt(repo, commit_hash, entry))
        return file

    def doubt(self, file: FileAt) -> None:
        """Ask upstream about this file again before believing it: its bytes were not what was said of it."""
        place = (file.repo, file.commit_hash, file.entry.path)
        self._files.pop(place, None)
        if len(self._doubted) < _MEMORY_ROWS:
            self._doubted.add(place)

    def forget(self, repo: RepoId) -> None:
        """Drop what memory knows of a repository's files."""
        self._doubted = {place for place in self._doubted if place[0] != repo}
        for rows in (self._files, self._absences):
            for place in [place for place in rows if place[0] == repo]:
                del rows[place]

    async def close(self) -> None:
        await self._flights.close()

    def _remember(self, file: FileAt) -> FileAt:
        self._files[file.repo, file.commit_hash, file.entry.path] = file
        if len(self._files) > _MEMORY_ROWS:
            self._files.popitem(last=False)
        return file

    async def _ask(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath, caller: Caller) -> FileAt:
        public = self._access.reads(caller, repo) and self._access.lately_known(repo)
        facts = self._access.facts(repo)
        shared = public and facts is not None and facts.files_are_public
        audience = PUBLIC if shared else self._access.identity(caller, repo)
        try:
            return await self._flights.run(
                (audience, repo, commit_hash, path),
                lambda: self._head(repo, commit_hash, path, caller, shared=shared),
            )
        except UpstreamError as error:
            if self._index.get_answer(keys.absent(repo, commit_hash, path)) is not None:
                raise self._absent(path, commit_hash) from error
            if isinstance(error, UpstreamUnreachable):
                raise UpstreamUnreachable(f"{path} of {repo} is not kept here: {error}") from error
            raise

    async def _head(
        self, repo: RepoId, commit_hash: CommitHash, path: RepoPath, caller: Caller, *, shared: bool
    ) -> FileAt:
        credential = (
            self._access.fetching_credential(caller, repo, files=True)
            if shared
            else self._access.credential(caller, repo)
        )
        try:
            try:
                said = await self._asker.head_file(repo, commit_hash, path, credential, "file")
            except BadToken:
                if not shared or credential is None:
                    raise
                said = await self._asker.head_file(repo, commit_hash, path, None, "file")
        except EntryAbsent as error:
            await self._note_absence(repo, commit_hash, path)
            raise self._absent(path, commit_hash) from error
        except BadToken:
            raise
        except (NotAllowed, RepoAbsent) as error:
            raise await self._access.refused(caller, repo, error) from error
        if said.commit_hash != commit_hash:
            raise UpstreamBroken(
                f"upstream answered for commit {said.commit_hash} when asked for {commit_hash}"
            )
        xet_hash = said.xet_hash if is_sha256(said.etag) else None
        entry = FileEntry(path, said.etag, said.size_bytes, xet_hash)
        if (repo, commit_hash, path) in self._doubted:
            await self._correct(repo, commit_hash, entry)
        await write_down(self._index.put_files, repo, commit_hash, [entry])
        if not shared:
            await self._access.note(self._access.identity(caller, repo), repo, "files")
        return self._remember(FileAt(repo, commit_hash, entry))

    async def _correct(self, repo: RepoId, commit_hash: CommitHash, entry: FileEntry) -> None:
        """Forget what the commit's listings said, when they were wrong about this file."""
        self._doubted.discard((repo, commit_hash, entry.path))
        kept = self._index.get_file(repo, commit_hash, entry.path)
        if kept is not None and (kept.etag, kept.size_bytes) != (entry.etag, entry.size_bytes):
            await write_down(self._index.drop_answers, repo, commit_hash)

    def _raise_if_absent(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath) -> None:
        until = self._absences.get((repo, commit_hash, path))
        if until is not None and self._clock() < until:
            raise self._absent(path, commit_hash)
        if self._index.listing_complete(repo, commit_hash):
            self._note_in_memory(repo, commit_hash, path, self._rules.ref_ttl_seconds)
            raise self._absent(path, commit_hash)
        stored = self._index.get_answer(keys.absent(repo, commit_hash, path))
        if stored is None:
            return
        left_seconds = stored.fetched_at + self._rules.entry_absent_ttl_seconds - self._clock()
        if left_seconds > 0 or self._rules.offline:
            self._note_in_memory(repo, commit_hash, path, max(left_seconds, self._rules.ref_ttl_seconds))
            raise self._absent(path, commit_hash)

    async def _note_absence(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath) -> None:
        self._note_in_memory(repo, commit_hash, path, self._rules.entry_absent_ttl_seconds)
        stored = StoredAnswer(404, {}, b"", self._clock())
        await write_down(self._index.put_answer, keys.absent(repo, commit_hash, path), repo, stored)

    def _note_in_memory(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath, seconds: float) -> None:
        self._absences[repo, commit_hash, path] = self._clock() + seconds
        if len(self._absences) > _MEMORY_ROWS:
            self._absences.popitem(last=False)

    @staticmethod
    def _absent(path: RepoPath, commit_hash: CommitHash) -> EntryAbsent:
        return EntryAbsent(f"Entry not found: {path}", commit_hash)
