"""What services say of content by its hash, asked while nobody waits for it.

Readers are let pass by what is known by then; an answer counts from when it comes, for whoever asks next, and
is written down with the verdict. Of what is hosted here, anywhere, not even a hash leaves.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.core.names import RepoId
from moongate.core.records import FileAt
from moongate.core.verdicts import Severity
from moongate.hub.intelligence import Intelligence, Subject
from moongate.hub.judging import Judging

_KEPT: Final = 20_000
_MOST_ASKED: Final = 64
"""How many questions may be on their way; more are not asked this time."""

log = structlog.get_logger("moongate.judging")


class Whereabouts(Protocol):
    """`store.index.Index` is one. Blocks, but for point reads."""

    def digest_of(self, etag: str) -> str | None: ...
    def where_is(self, etag: Etag) -> list[FileAt]: ...


class SecondOpinions:
    """One per process; belongs to one event loop. Close it before the index."""

    def __init__(
        self,
        intelligence: Intelligence,
        judging: Judging,
        index: Whereabouts,
        is_hosted: Callable[[RepoId], bool],
    ) -> None:
        self._intelligence = intelligence
        self._judging = judging
        self._index = index
        self._is_hosted = is_hosted
        self._wanted: OrderedDict[Etag, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, file: FileAt) -> None:
        """Have services asked about a content that was let pass; once in a while, and nobody waits."""
        etag = file.entry.etag
        if etag in self._wanted or len(self._tasks) >= _MOST_ASKED or not self._intelligence.has_services():
            return
        self._wanted[etag] = None
        while len(self._wanted) > _KEPT:
            self._wanted.popitem(last=False)
        task = asyncio.create_task(self._ask(file))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Returns when everybody who was asked has answered, or will not."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Ends the questions in the air."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, file: FileAt) -> None:
        try:
            subject = await asyncio.to_thread(self._subject, file)
            if subject.hosted or subject.sha256 is None:
                return
            found = await self._intelligence.ask(subject)
            told = tuple(
                one for one in found if one.rule == "intel-service" and one.severity >= Severity.MEDIUM
            )
            if told:
                await asyncio.to_thread(self._judging.hear, file.entry.etag, told)
        except StoreError as error:
            log.warning("no service was asked", etag=file.entry.etag, why=error.message)

    def _subject(self, file: FileAt) -> Subject:
        etag = file.entry.etag
        hosted = self._is_hosted(file.repo) or any(
            self._is_hosted(at.repo) for at in self._index.where_is(etag)
        )
        return Subject(sha256=self._index.digest_of(etag), repo=file.repo, hosted=hosted)
