"""A reader's guard on its way through a body: before the first byte, and whenever more may be given."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.errors import StoreFull
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.guard import (
    LARGE_BYTES,
    PREFIX_BYTES,
    SMALL_BYTES,
    Guard,
    Passage,
    SourceReader,
    is_named_inert,
    may_run_code,
)
from moongate.hub.sources import ByteSource
from moongate.store.partial import BLOCK_BYTES


class Opened(Protocol):
    """What a guard needs of a body: see `hub.fill.FileBody`."""

    size_bytes: int

    @property
    def fd(self) -> int: ...
    @property
    def is_proven(self) -> bool: ...
    @property
    def is_kept(self) -> bool: ...
    async def prefix(self, count: int) -> None: ...
    async def whole(self) -> None: ...


class BodyGuard:
    """Stands beside one body of one reader."""

    def __init__(
        self,
        guard: Guard,
        file: FileAt,
        caller: Caller,
        passage: Passage,
        make_source: Callable[[], ByteSource],
        *,
        small: bool,
    ) -> None:
        """small: what is wanted is, so that nothing else of the file is fetched."""
        self._guard = guard
        self._file = file
        self._caller = caller
        self._serial = guard.serial
        self._make_source = make_source
        self._small = small
        self._looked = False
        self._may_run_code = True
        self.passage = passage

    async def before(self, body: Opened) -> None:
        """Return when the first byte may be given.

        Raises:
            RefusedByPolicy, HeldByPolicy: it may not.
            MoongateError: as `FileBody.ready`.
        """
        if self._looked or self.passage.final:
            return
        if body.is_proven:
            self.passage = await self._guard.settle(self._file, self._caller, body.fd)
        elif body.is_kept and body.size_bytes <= BLOCK_BYTES:
            await self._wait_for_all(body)
        elif not body.is_kept or (body.size_bytes > LARGE_BYTES and not is_named_inert(self._file)):
            await self._look_at_ranges()
        elif not (self._small and is_named_inert(self._file)):
            try:
                await self._look_at_prefix(body)
            except (
                StoreFull
            ):  # it is not fetched to be kept; what is passed through is looked at all the same
                await self._look_at_ranges()
        self._looked = True

    async def after(self, body: Opened) -> None:
        """Return when what is ready may be given.

        Raises:
            RefusedByPolicy, HeldByPolicy: it may not, by the verdict that is in now.
        """
        if not self.passage.final:
            if body.is_proven:
                self.passage = await self._guard.settle(self._file, self._caller, body.fd)
        elif self._guard.serial != self._serial:
            self._serial = self._guard.serial
            self.passage = await self._guard.enter(self._file, self._caller)

    @property
    def may_pass_unjudged(self) -> bool:
        """Whether the rest may be given although there is no room to judge all of it."""
        return self.passage.final or (self._looked and not self._may_run_code)

    async def _wait_for_all(self, body: Opened) -> None:
        await body.whole()
        self.passage = await self._guard.settle(self._file, self._caller, body.fd)

    async def _look_at_prefix(self, body: Opened) -> None:
        """Decide by how the file begins, which is fetched anyway."""
        count = min(PREFIX_BYTES, body.size_bytes)
        await body.prefix(count)
        head = os.pread(body.fd, count, 0)
        if self._guard.judging.is_inert(head, body.size_bytes):
            self._may_run_code = False
            return

        def read(span: ByteSpan) -> bytes | None:
            return head[span.start : span.end] if span.end <= count else None

        judged = await self._guard.glance(self._file, self._caller, read, count)
        self._may_run_code = may_run_code(judged)
        if self._may_run_code and body.size_bytes <= SMALL_BYTES:
            await self._wait_for_all(body)
        elif self._may_run_code:
            await self._look_at_ranges()

    async def _look_at_ranges(self) -> None:
        with closing(SourceReader(await asyncio.to_thread(self._make_source))) as reader:
            judged = await self._guard.glance(self._file, self._caller, reader.read)
        self._may_run_code = may_run_code(judged)
