"""Recalls: content, repositories and commits that are served no more, in every process from a moment on.

A recall is a row in the index. Each process reads the rows that stand every `LOOK_SECONDS`; whoever makes one
waits `SURE_SECONDS`, and then no process gives out what was recalled: not by plain reads, nor as a Xet
reconstruction, nor at addresses that were signed before, nor through LFS or ollama. Answers on their way are
cut. While nothing is recalled, this costs a read one look at an empty set.

    digest            that content, in whatever repository, by its etag or its Xet id
    repo              all of a repository, and its git and manifests
    repo, commit      the files of one commit

A small file is known by git's id. Recalled by its sha256, it is found by what was noted of it when it was
judged, also when it comes after the recall.

Packs of git hold small files as they are: a repository of which it is known that a small content that was
recalled stands in it is cloned and fetched by nobody. Large files are LFS objects, and stopped as those.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

import structlog

from moongate.core.digests import Etag
from moongate.core.errors import Recalled, StoreError
from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileAt
from moongate.store.index import RecallRow, XetFileRow

LOOK_SECONDS: Final = 0.25
SURE_SECONDS: Final = 1.0
"""When a recall was made this long ago, every living process that reaches the index has seen it."""

_OID_CHARS: Final = 40
_MOST_PLACES: Final = 1000
"""More than these are not told; what stands in so many is taken to stand everywhere."""

log = structlog.get_logger("moongate.recalls")


class RecallShelf(Protocol):
    """What this needs of the index."""

    def standing_recalls(self) -> list[RecallRow]: ...
    def where_is(self, etag: Etag) -> list[FileAt]: ...
    def proven_etag(self, file_id: str) -> Etag | None: ...
    def xet_files_of(self, etag: Etag) -> list[XetFileRow]: ...
    def etag_of(self, sha256: str) -> Etag | None: ...
    def digest_of(self, etag: str) -> str | None: ...


class Recalls:
    """What stands, as this process knows it. For one event loop; `refresh` is for a thread."""

    def __init__(self, shelf: RecallShelf) -> None:
        self._shelf = shelf
        self._rows: list[RecallRow] = []
        self._by_digest: dict[str, RecallRow] = {}
        self._by_repo: dict[str, list[RecallRow]] = {}
        self._small: dict[str, RecallRow] = {}
        self._readers: dict[object, tuple[Callable[[], RecallRow | None], Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self.is_idle = True
        """Whether nothing is recalled."""

    def start(self) -> None:
        """Looks at once, and from now on; on a running loop."""
        self.refresh()
        self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def refresh(self) -> bool:
        """Reads what stands; whether that changed.

        Raises:
            StoreError: the index could not be read; what stood before still does.
        """
        rows = self._shelf.standing_recalls()
        if rows == self._rows:
            return False
        by_digest: dict[str, RecallRow] = {}
        by_repo: dict[str, list[RecallRow]] = {}
        for row in rows:
            if row.digest is not None:
                for name in self._names(row.digest):
                    by_digest.setdefault(name, row)
            elif row.repo is not None:
                by_repo.setdefault(_spelled(row.repo), []).append(row)
        self._small = {name: row for name, row in by_digest.items() if len(name) == _OID_CHARS}
        self._rows, self._by_digest, self._by_repo = rows, by_digest, by_repo
        self.is_idle = not rows
        return True

    def standing(self, file: FileAt) -> RecallRow | None:
        """The recall that stops this file, if any."""
        if self.is_idle:
            return None
        entry = file.entry
        row = (
            self._by_digest.get(entry.etag)
            or self._by_digest.get(entry.xet_hash or "")
            or self._by_sha256(entry.etag)
        )
        return row or self._of_place(file.repo, file.commit_hash)

    def refuse(self, file: FileAt) -> None:
        """Return when a file may be given out.

        Raises:
            Recalled: it may not.
        """
        row = self.standing(file)
        if row is not None:
            raise _refusal(row)

    def refuse_content(self, etag: Etag, file_id: str) -> None:
        """As `refuse`, for who has an address that names content and no repository.

        What is recalled with a repository may still be read where else it is.
        """
        row = self._of_content(etag, file_id)
        if row is not None:
            raise _refusal(row)

    def refuse_repo(self, repo: RepoId) -> None:
        """As `refuse`, for what gives out a repository as a whole.

        Raises:
            Recalled: the repository, or a commit of it, was recalled.
        """
        if not self.is_idle and _spelled(repo) in self._by_repo:
            raise _refusal(self._by_repo[_spelled(repo)][0])

    def refuse_packs(self, repo: RepoId) -> None:
        """As `refuse`, for packs of git, which hold every small file of a repository.

        Raises:
            Recalled: the repository was, a commit of it, or small content that is known to stand in it.
        """
        row = self._of_packs(repo)
        if row is not None:
            raise _refusal(row)

    @contextmanager
    def reading(self, file: FileAt, cut: Callable[[], None]) -> Iterator[None]:
        """While a file is sent: `cut` is called when it is recalled meanwhile."""
        key = self.begin_reading(file, cut)
        try:
            yield
        finally:
            self.end_reading(key)

    @contextmanager
    def reading_packs(self, repo: RepoId, cut: Callable[[], None]) -> Iterator[None]:
        """As `reading`, of what git makes of a repository."""
        key = self._begin(lambda: self._of_packs(repo), cut)
        try:
            yield
        finally:
            self.end_reading(key)

    @contextmanager
    def reading_content(self, file_id: str, cut: Callable[[], None]) -> Iterator[None]:
        """As `reading`, of chunks for the file of a Xet id."""
        key = self.begin_content(file_id, cut)
        try:
            yield
        finally:
            self.end_reading(key)

    def begin_reading(self, file: FileAt, cut: Callable[[], None]) -> object:
        """As `reading`, until `end_reading` is called with what this returns."""
        return self._begin(lambda: self.standing(file), cut)

    def begin_content(self, file_id: str, cut: Callable[[], None]) -> object:
        """As `reading_content`, until `end_reading` is called with what this returns."""
        return self._begin(
            lambda: self._of_content(self._shelf.proven_etag(file_id) or Etag(file_id), file_id), cut
        )

    def end_reading(self, key: object) -> None:
        self._readers.pop(key, None)

    def cut_readers(self) -> int:
        """Cuts the answers that carry what is recalled now; how many."""
        stopped = [cut for recalled, cut in list(self._readers.values()) if recalled() is not None]
        for cut in stopped:
            cut()
        return len(stopped)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await asyncio.to_thread(self.refresh):
                    cut = self.cut_readers()
                    log.info("recalls changed", standing=len(self._rows), answers_cut=cut)
            except StoreError as error:
                log.warning("recalls could not be read", why=error.message)

    def _begin(self, recalled: Callable[[], RecallRow | None], cut: Callable[[], None]) -> object:
        key = object()
        self._readers[key] = (recalled, cut)
        return key

    def _of_content(self, etag: Etag, file_id: str) -> RecallRow | None:
        if self.is_idle:
            return None
        row = self._by_digest.get(etag) or self._by_digest.get(file_id)
        if row is not None or not self._by_repo:
            return row
        stopped = [self._of_place(file.repo, file.commit_hash) for file in self._shelf.where_is(etag)]
        return stopped[0] if all(stopped) and stopped else None

    def _of_packs(self, repo: RepoId) -> RecallRow | None:
        if self.is_idle:
            return None
        name = _spelled(repo)
        if name in self._by_repo:
            return self._by_repo[name][0]
        for oid, row in self._small.items():
            places = self._shelf.where_is(Etag(oid))
            if len(places) >= _MOST_PLACES or any(_spelled(file.repo) == name for file in places):
                return row
        return None

    def _by_sha256(self, etag: Etag) -> RecallRow | None:
        """The recall of a small file that was named by its sha256 before the file was known here."""
        if len(etag) != _OID_CHARS or len(self._small) == len(self._by_digest):
            return None
        row = self._by_digest.get(self._shelf.digest_of(etag) or "")
        if row is not None:
            self._by_digest[etag] = self._small[etag] = row
        return row

    def _of_place(self, repo: RepoId, commit_hash: CommitHash) -> RecallRow | None:
        for row in self._by_repo.get(_spelled(repo), ()):
            if row.commit_hash is None or row.commit_hash == commit_hash:
                return row
        return None

    def _names(self, digest: str) -> set[str]:
        """Everything that a content is called: its etag, and its Xet ids."""
        etag = self._shelf.proven_etag(digest) or self._shelf.etag_of(digest) or Etag(digest)
        return {digest, etag, *(row.file_id for row in self._shelf.xet_files_of(etag))}


def cutter(transport: asyncio.BaseTransport | None) -> Callable[[], None]:
    """What ends a connection under whoever is writing to it; several descriptors may share its socket."""

    def cut() -> None:
        sock: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
        if sock is None:
            return
        with suppress(OSError), socket.fromfd(sock.fileno(), sock.family, sock.type) as same:
            same.shutdown(socket.SHUT_RDWR)

    return cut


def _spelled(repo: RepoId) -> str:
    """A repository however its name is written: capitals make no difference on a Hub."""
    return str(repo).lower()


def _refusal(row: RecallRow) -> Recalled:
    why = f": {row.reason}" if row.reason else ""
    return Recalled(f"This was recalled and is served no more{why} (recall {row.id}).", row.id)
