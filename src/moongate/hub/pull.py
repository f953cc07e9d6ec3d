"""Fetching repositories ahead of need: list, choose, fetch, and say how it goes.

A pull may be broken off at any moment and repeated: what is here is not fetched again. Each content is
fetched once, however many paths it stands at. One file's failure does not stop the others; a full disk or a
closed gate stops the pull.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import (
    Absent,
    HeldByPolicy,
    MoongateError,
    NotAllowed,
    Recalled,
    RefusedByPolicy,
    UpstreamBroken,
    UpstreamError,
    UpstreamUnreachable,
    VerificationFailed,
)
from moongate.core.names import CommitHash, RepoId, Revision
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.hub.listings import FIRST_PAGE
from moongate.hub.repos import Repos
from moongate.store.index import Index
from moongate.wire import routes
from moongate.wire.links import next_link

_TRIES = 3
_PAUSE_SECONDS = 1.0
_MAX_PAGES = 2000


class Body(Protocol):
    """A file being read; see `hub.fill.FileBody`."""

    size_bytes: int

    @property
    def outcome(self) -> str: ...

    async def ready(self, position: int, end: int) -> int: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What a pull will have fetched when it is done."""

    repo: RepoId
    revision: Revision
    commit_hash: CommitHash
    files: tuple[FileEntry, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes of all files; content that stands at several paths counts once."""
        return sum({entry.etag: entry.size_bytes for entry in self.files}.values())


@dataclass(frozen=True, slots=True)
class PullReport:
    """How a pull went. `fetched_bytes` leaves out what was here before; `failed` is path and reason."""

    plan: PullPlan
    fetched_bytes: int
    failed: tuple[tuple[FileEntry, MoongateError], ...]


class PullProgress(Protocol):
    """Who watches a pull. Called on the event loop; calls are cheap."""

    def planned(self, plan: PullPlan) -> None:
        """The listing is here, and this is what will be fetched."""

    def started(self, entry: FileEntry) -> None:
        """A file is being opened. After a failure it may start again, from what is kept."""

    def advanced(self, entry: FileEntry, size_bytes: int) -> None:
        """So many more bytes of it are here."""

    def finished(self, entry: FileEntry, fetched: bool) -> None:
        """It is whole and verified; `fetched` unless it was here before."""

    def failed(self, entry: FileEntry, error: MoongateError) -> None:
        """It could not be fetched; the pull goes on."""


_ONE_FILE_IS_REFUSED = (RefusedByPolicy, HeldByPolicy, Recalled)


class Puller:
    """Fetches repositories through the same doors as any client.

    open_file: opens a file's content for reading, filling it when needed.
    sealed: waits until a content's fill ended; whether it is kept whole.
    """

    def __init__(
        self,
        repos: Repos,
        index: Index,
        open_file: Callable[[FileAt, Caller, ByteSpan], Awaitable[Body]],
        sealed: Callable[[Etag], Awaitable[bool]],
        *,
        files_at_once: int = 4,
    ) -> None:
        self._repos = repos
        self._index = index
        self._open_file = open_file
        self._sealed = sealed
        self._files_at_once = files_at_once

    async def plan(
        self,
        repo: RepoId,
        revision: Revision,
        caller: Caller,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> PullPlan:
        """The files of a revision that fit the patterns: some of `include` (all, when empty), none of
        `exclude`. A pattern is a glob over the whole path; `data/` means all below.

        Raises:
            RepoAbsent, RevisionAbsent, UpstreamError: as `Repos.commit_of`.
        """
        resolved = await self._repos.commit_of(repo, revision, caller)
        await self._list(resolved.repo, resolved.commit_hash, caller)
        await self._warm(resolved.repo, caller)
        entries = await asyncio.to_thread(self._index.files_of, resolved.repo, resolved.commit_hash)
        chosen = tuple(entry for entry in entries if _fits(entry.path, include, exclude))
        return PullPlan(resolved.repo, revision, resolved.commit_hash, chosen)

    async def pull(self, plan: PullPlan, caller: Caller, progress: PullProgress) -> PullReport:
        """Fetch what is planned. Cancelling keeps what has come.

        Raises:
            GatedRepo, RepoAbsent: the files are not for this caller.
            StoreFull: no room for them.
        """
        progress.planned(plan)
        contents = {entry.etag: entry for entry in plan.files}
        if plan.files:
            first = plan.files[0]
            await self._repos.may_read_files(caller, plan.repo, plan.commit_hash, first.path)
        work = _Work(plan, caller, progress, iter(sorted(contents.values(), key=lambda e: -e.size_bytes)))
        lanes = [asyncio.create_task(self._lane(work)) for _ in range(self._files_at_once)]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
        return PullReport(plan, work.fetched_bytes, tuple(work.failed))

    async def _list(self, repo: RepoId, commit_hash: CommitHash, caller: Caller) -> None:
        """Have the whole listing in the index, page by page as a client would."""
        route, query = routes.Tree(repo, Revision(commit_hash), None), FIRST_PAGE
        for _ in range(_MAX_PAGES):
            answer = await self._repos.answer(route, query, caller)
            following = next_link(dict(answer.headers))
            if following is None:
                return
            query = following.partition("?")[2]
        raise UpstreamBroken(f"upstream's listing of {repo} has no end")

    async def _warm(self, repo: RepoId, caller: Caller) -> None:
        """Have the refs, which some clients ask for; a repository is of use without them."""
        try:
            await self._repos.answer(routes.Refs(repo), "", caller)
        except (UpstreamError, Absent, NotAllowed):
            return

    async def _lane(self, work: _Work) -> None:
        for entry in work.entries:
            try:
                fetched = await self._persistently(work, entry)
            except (UpstreamError, VerificationFailed, Absent, *_ONE_FILE_IS_REFUSED) as error:
                work.failed.append((entry, error))
                work.progress.failed(entry, error)
            else:
                work.fetched_bytes += entry.size_bytes if fetched else 0
                work.progress.finished(entry, fetched)

    async def _persistently(self, work: _Work, entry: FileEntry) -> bool:
        for tries_left in reversed(range(_TRIES)):
            try:
                return await self._fetch(work, entry)
            except (UpstreamError, VerificationFailed):
                if not tries_left:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS * (_TRIES - tries_left))
        raise AssertionError("every try returns or raises")

    async def _fetch(self, work: _Work, entry: FileEntry) -> bool:
        work.progress.started(entry)
        file = FileAt(work.plan.repo, work.plan.commit_hash, entry)
        body = await self._open_file(file, work.caller, ByteSpan(0, entry.size_bytes))
        position, fetched = 0, body.outcome == "miss"
        try:
            while position < entry.size_bytes:
                count = await body.ready(position, entry.size_bytes)
                position += count
                work.progress.advanced(entry, count)
        finally:
            body.close()
        if not await self._sealed(entry.etag):
            # Another process is about to seal it, or could not: the next try tells.
            raise UpstreamUnreachable(f"{entry.path} came whole and is not kept yet")
        return fetched


@dataclass
class _Work:
    """What the lanes of one pull share."""

    plan: PullPlan
    caller: Caller
    progress: PullProgress
    entries: Iterator[FileEntry]
    fetched_bytes: int = 0
    failed: list[tuple[FileEntry, MoongateError]] = field(default_factory=list)


def _fits(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    wanted = not include or any(_matches(path, pattern) for pattern in include)
    return wanted and not any(_matches(path, pattern) for pattern in exclude)


def _matches(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern)
