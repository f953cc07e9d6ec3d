"""The guard before reconstructions: who may have a file by its chunks, and what its addresses tell.

Data addresses name no reader, so they carry the verdict that their reader was let pass by. When another one
comes in, they are refused, and the reconstruction is asked again (`Guard.may_flow`).
"""

from __future__ import annotations

from contextlib import closing
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.content import Content
from moongate.hub.guard import SMALL_BYTES, Guard, SourceReader, is_named_inert, may_run_code
from moongate.hub.xet_files import XetFiles


class Row(Protocol):
    """A file as a reconstruction tells it."""

    @property
    def file_id(self) -> str: ...
    @property
    def verified(self) -> bool: ...


class XetGuard:
    """Belongs to one event loop."""

    def __init__(self, guard: Guard, content: Content, xets: XetFiles) -> None:
        self._guard = guard
        self._content = content
        self._xets = xets

    async def admit(self, file: FileAt, caller: Caller, row: Row) -> str:
        """What the addresses of a file's chunks are to tell, when this caller may have it.

        Of what can run code the parts that do are looked at first; what is short is judged whole.

        Raises:
            RefusedByPolicy, HeldByPolicy: they may not.
            UpstreamError: it could not be read to look at it.
        """
        passage = await self._guard.enter(file, caller)
        if not passage.final:
            if row.verified or self._content.fills.keeps(file.entry.etag):
                await self._settle(file, caller)
            elif not is_named_inert(file):
                await self._look(file, caller, row)
        return self._guard.told(file.entry.etag)

    async def _settle(self, file: FileAt, caller: Caller) -> None:
        """Have what is here judged, by opening it."""
        body = await self._content.open(file, caller, ByteSpan(0, 1))
        try:
            await body.ready(0, 1)
        finally:
            body.close()

    async def _look(self, file: FileAt, caller: Caller, row: Row) -> None:
        make_source = self._content.plain_source(file, caller)
        with closing(SourceReader(make_source())) as reader:
            judged = await self._guard.glance(file, caller, reader.read)
        if not may_run_code(judged) or file.entry.size_bytes > SMALL_BYTES:
            return
        known = self._xets.known(row.file_id)
        if known is None:
            return
        self._xets.ensure(known)
        if await self._xets.finished(row.file_id):
            await self._settle(file, caller)
