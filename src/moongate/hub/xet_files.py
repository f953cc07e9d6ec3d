"""Files that upstream keeps in Xet: what they are made of, fetched chunk by chunk and proven as a whole.

    XetFiles ── XetFill    fetches what is missing        ── XetProof   says when it is right
        ├────── SegmentBody  bytes of a xorb, for Xet clients
        └────── XetSource    bytes of the file, for the fills of plain readers (or by the plain road)

Whoever comes here was let in before. A file is known by its reconstruction, which is asked of upstream once
and kept; it is *proven* once every byte was checked, and until then its end is held back from everybody.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Protocol

from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.digests import Etag
from moongate.core.errors import EntryAbsent, MoongateError, UpstreamBroken, UpstreamUnreachable
from moongate.core.names import RepoId
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.hub.bells import Bells
from moongate.hub.flights import Flights, Turns
from moongate.hub.sources import ByteSource
from moongate.hub.xet_body import LONGEST_WAIT_SECONDS, SegmentBody
from moongate.hub.xet_fill import XetFill
from moongate.hub.xet_room import JudgeRow, XetRoom, XetRules, XetWatcher
from moongate.hub.xet_source import XetSource
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.index import Index, ReconstructionRow
from moongate.store.segments import Segment, Segments
from moongate.upstream.cas import CasClient, CasRoad
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import Reconstruction

_REMEMBERED_ROADS = 20_000
_REMEMBERED_ROWS = 256
_REMEMBERED_FILLS = 1000
_ROW_SECONDS = 5.0
_STOP_SECONDS = 5.0
_TURN_SECONDS = 20.0


class Credentials(Protocol):
    """Whose credential a file is fetched with, and what is never fetched; `hub.repos.Repos` is one."""

    def is_hosted(self, repo: RepoId) -> bool: ...

    def fetching_credential(self, caller: Caller, repo: RepoId, *, files: bool = False) -> Secret | None: ...


def _no_judge(row: ReconstructionRow, read: Callable[[ByteSpan], bytes]) -> None:
    """For who has nothing judged."""


class XetFiles:
    """All Xet files that this process reads or fills. Belongs to one event loop."""

    def __init__(  # noqa: PLR0913 - all that its room holds
        self,
        cas: CasClient,
        segments: Segments,
        index: Index,
        credentials: Credentials,
        rules: XetRules,
        watcher: XetWatcher,
        make_room: Callable[[int], None],
        clock: Callable[[], float] = time.time,
        judge: JudgeRow = _no_judge,
    ) -> None:
        """judge: has content judged once every byte of it was proven, before its end is given out."""
        loop = asyncio.get_running_loop()
        self.room = XetRoom(cas, segments, index, rules, watcher, make_room, Bells(), loop, clock, judge)
        self._credentials = credentials
        self._flights = Flights()
        self._turns = Turns(index, clock, _TURN_SECONDS)
        self._fills: dict[str, XetFill] = {}
        self._roads: dict[str, CasRoad] = {}
        self._keeping = threading.Lock()
        self._rows: dict[str, tuple[float, ReconstructionRow]] = {}
        self._distrusted: dict[str, float] = {}
        self._drawn: set[str] = set()
        self._read: dict[str, float] = {}

    # -- what a file is --------------------------------------------------------------------------------------

    async def reconstruction_of(self, file: FileAt, caller: Caller) -> ReconstructionRow:
        """What a file is made of: kept, or asked of upstream's CAS now, once for all who ask.

        Raises:
            EntryAbsent: upstream does not keep this file in Xet, or it is hosted and not here in chunks.
            UpstreamBroken: what upstream says makes no sense, or contradicts what is proven.
            UpstreamError, NotAllowed, Absent: the Hub or its CAS did not answer, or refused.
        """
        entry = file.entry
        file_id = entry.xet_hash
        if file_id is None:
            raise EntryAbsent("upstream does not keep this file in Xet")
        if self._credentials.is_hosted(file.repo):
            return self._hosted(file_id, entry)
        credential = self._credentials.fetching_credential(caller, file.repo, files=True)
        road = CasRoad(file.repo, file.commit_hash, credential)
        self._remember(file_id, road)
        row = self._known_as(file_id, entry)
        if row is not None:
            return row
        if self.room.rules.offline:
            raise UpstreamUnreachable("this gateway is offline, and the file is not in its store")
        key = (file_id, entry.etag, entry.size_bytes, credential.fingerprint if credential else "")
        return await self._flights.run(key, lambda: self._take_turn(file_id, entry, road))

    def _hosted(self, file_id: str, entry: FileEntry) -> ReconstructionRow:
        """What a file of a hosted repository is made of: all of it is here, or nobody has it."""
        row = self._known_as(file_id, entry)
        if row is None or not row.verified:
            raise EntryAbsent("this file is not here in chunks")
        return row

    def _known_as(self, file_id: str, entry: FileEntry) -> ReconstructionRow | None:
        """What is known of a file, if it is said to be this content.

        Raises:
            UpstreamBroken: it was proven to be another one.
        """
        row = self.known(file_id)
        if row is None or (row.etag, row.size_bytes) == (entry.etag, entry.size_bytes):
            return row
        if row.verified:
            raise UpstreamBroken("upstream tells another content of a Xet file than the one that was proven")
        return None

    async def _take_turn(self, file_id: str, entry: FileEntry, road: CasRoad) -> ReconstructionRow:
        return await self._turns.take(
            f"xet {file_id}",
            lambda: self._known_as(file_id, entry),
            lambda: self._ask(file_id, entry.etag, entry.size_bytes, road),
        )

    async def _ask(self, file_id: str, etag: Etag, size_bytes: int, road: CasRoad) -> ReconstructionRow:
        while (old := self._fills.get(file_id)) is not None and old.failure is not None and old.running:
            # What was wrong is still being thrown away.
            await self.room.bells.heard(file_id, self.room.bells.serial, LONGEST_WAIT_SECONDS)
        answer = await self.room.cas.reconstruction(road, file_id, size_bytes)
        put = self.room.index.put_reconstruction
        await asyncio.to_thread(
            put, file_id, etag, size_bytes, answer.terms, _ranges(answer), self.room.clock()
        )
        self._rows.pop(file_id, None)
        row = self.room.index.get_reconstruction(file_id)
        if row is None:
            raise UpstreamUnreachable("what is known of this file was given up at once; ask for it again")
        if not row.verified:
            self._fill(row).addresses.learn(answer)
        return row

    def known(self, file_id: str) -> ReconstructionRow | None:
        """What is known of a file, without asking anybody; verified or not."""
        fill = self._fills.get(file_id)
        if fill is not None and not fill.proven and fill.failure is None and fill.running:
            return fill.row  # its proof looks now and then whether the row still stands
        now = time.monotonic()
        kept = self._rows.get(file_id)
        if kept is not None and now < kept[0]:
            return kept[1]
        row = self.room.index.get_reconstruction(file_id)
        self._rows.pop(file_id, None)
        if row is not None and row.verified:
            self._keep(row)
        return row

    def _keep(self, row: ReconstructionRow) -> None:
        with self._keeping:
            while len(self._rows) >= _REMEMBERED_ROWS:
                del self._rows[next(iter(self._rows))]
            self._rows[row.file_id] = time.monotonic() + _ROW_SECONDS, row

    def is_here(self, etag: Etag) -> bool:
        """Whether all chunks of this content are here and proven."""
        return any(row.verified_at is not None for row in self.room.index.xet_files_of(etag))

    def _remember(self, file_id: str, road: CasRoad) -> None:
        self._roads.pop(file_id, None)
        while len(self._roads) >= _REMEMBERED_ROADS:
            del self._roads[next(iter(self._roads))]
        self._roads[file_id] = road
        if (fill := self._fills.get(file_id)) is not None:
            fill.addresses.road = road

    def _road(self, row: ReconstructionRow) -> CasRoad | None:
        """How upstream may be asked for a file, when nobody said so in this process."""
        known = self._roads.get(row.file_id)
        if known is not None:
            return known
        for file in self.room.index.where_is(row.etag):
            if self._credentials.is_hosted(file.repo):
                continue
            credential = self._credentials.fetching_credential(ANONYMOUS, file.repo, files=True)
            return CasRoad(file.repo, file.commit_hash, credential)
        return None

    # -- fetching --------------------------------------------------------------------------------------------

    def ensure(self, row: ReconstructionRow) -> None:
        """Begin to fetch and prove a whole file, in order. Free when it is proven, or under way."""
        known = self.known(row.file_id)
        if known is not None and not known.verified:
            with suppress(MoongateError):  # whoever reads will hear it
                self._fill(known).want_whole()

    def _fill(self, row: ReconstructionRow) -> XetFill:
        fill = self._fills.get(row.file_id)
        if fill is not None and fill.row.noted_at == row.noted_at and not fill.proven:
            if fill.failure is not None:  # the row is about to go
                raise fill.failure
            return fill
        self._forget_idle()
        fill = self._fills[row.file_id] = XetFill(
            self.room, row, self._road(row), guessed=row.file_id not in self._roads
        )
        fill.on_idle = self._drop
        fill.on_wrong = lambda wrong: self.distrust(wrong.row.file_id)
        return fill

    def _forget_idle(self) -> None:
        """Keep what was learned of a bounded number of files that nobody fetches."""
        if len(self._fills) >= _REMEMBERED_FILLS:
            self._fills = {file_id: fill for file_id, fill in self._fills.items() if fill.running}
        if len(self._distrusted) >= _REMEMBERED_ROADS:
            self._distrusted.clear()
            self._drawn.clear()

    def _drop(self, fill: XetFill) -> None:
        """Forget a fill that is over; what it learned is kept while the file is not proven."""
        if fill.proven:
            self._drawn.discard(fill.row.file_id)
        if (fill.proven or fill.failure is not None) and self._fills.get(fill.row.file_id) is fill:
            del self._fills[fill.row.file_id]

    @property
    def active(self) -> list[tuple[Etag, int, int]]:
        """What is being filled here: etag, bytes fetched, bytes in all."""
        fills = [fill for fill in self._fills.values() if fill.running]
        return [(fill.row.etag, fill.fetched_bytes, fill.row.size_bytes) for fill in fills]

    async def finished(self, file_id: str) -> bool:
        """Wait until the fill of this file ended here; whether it is proven now."""
        bells = self.room.bells
        while True:
            since = bells.serial
            fill = self._fills.get(file_id)
            if fill is None or not fill.running:
                break
            await bells.heard(file_id, since, LONGEST_WAIT_SECONDS)
        self._rows.pop(file_id, None)
        row = self.known(file_id)
        return row is not None and row.verified

    async def stop(self) -> None:
        """End all fills, keeping their progress."""
        await self._flights.close()
        fills = list(self._fills.values())
        await asyncio.gather(*(asyncio.to_thread(fill.stop, _STOP_SECONDS) for fill in fills))

    # -- Xet clients -----------------------------------------------------------------------------------------

    async def open_range(
        self, row: ReconstructionRow, xorb: XetHash, span: ByteSpan
    ) -> AsyncGenerator[SegmentBody, None]:
        """Bodies to send one after the other, together the bytes `span` of a xorb. Each is closed for you.

        Raises:
            EntryAbsent: the file has no such range.
            VerificationFailed, StoreFull, UpstreamError: as `SegmentBody.ready`.
        """
        if not span or not covers(row, xorb, span):
            raise EntryAbsent("the file has no such range of that xorb")
        self._read[row.file_id] = self.room.clock()
        position = span.start
        while position < span.end:
            body = await self._open_at(row, xorb, ByteSpan(position, span.end))
            try:
                yield body
            finally:
                body.close()
            position = body.span.end

    async def _open_at(self, row: ReconstructionRow, xorb: XetHash, span: ByteSpan) -> SegmentBody:
        known = self.known(row.file_id)
        if known is None:
            raise UpstreamUnreachable("what was known of this file was given up; ask for it again")
        row = known
        if row.verified:
            body = self._opened(xorb, span, None)
            if body is not None:
                return body
            row = await self._lost(row)
        fill, bells = self._fill(row), self.room.bells
        troubles, at = fill.trouble_serial, fill.range_at(xorb, span.start)
        while True:
            since = bells.serial
            fill.raise_trouble(troubles)
            body = self._opened(xorb, span, fill)
            if body is not None:
                return body
            if at is not None:
                fill.want(at)
            await bells.heard(xorb, since, LONGEST_WAIT_SECONDS)

    def _opened(self, xorb: XetHash, span: ByteSpan, fill: XetFill | None) -> SegmentBody | None:
        segments = self.room.segments
        segment = self._segment_at(xorb, span.start)
        if segment is None or (fill is None and not segments.is_complete(segment)):
            return None
        fd = segments.open(segment)
        if fd is None:
            return None
        return SegmentBody(segment, fd, ByteSpan(span.start, min(span.end, segment.span.end)), fill)

    def _segment_at(self, xorb: XetHash, position: int) -> Segment | None:
        for segment in self.room.segments.of(xorb):
            if segment.span.start <= position < segment.span.end:
                return segment
        return None

    async def _lost(self, row: ReconstructionRow) -> ReconstructionRow:
        """Chunks of a proven file are not here: it has to be fetched and proven again."""
        await asyncio.to_thread(self.room.index.mark_unverified, row.file_id)
        self._rows.pop(row.file_id, None)
        found = self.known(row.file_id)
        if found is None:
            raise UpstreamUnreachable("this file was removed while it was opened; ask for it again")
        if not found.verified:
            self._fill(found).want_whole()
        return found

    def take_reads(self) -> dict[str, float]:
        """When files were last read through Xet, since the last call: for the index, in batches."""
        reads, self._read = self._read, {}
        return reads

    # -- plain readers ---------------------------------------------------------------------------------------

    def source(
        self,
        file: FileAt,
        caller: Caller,
        plain: Callable[[], ByteSource],
        wants_whole: Callable[[], bool],
    ) -> ByteSource:
        """The bytes of a file for a plain fill: from chunks that are here, by Xet, or by the plain road.

        plain: makes the plain road; called when it is needed. wants_whole: whether the whole file is wanted;
        a small range of what is not here goes the plain road, since nobody knows where in a xorb it lies.
        """
        proven = self.is_here(file.entry.etag)
        if file.entry.xet_hash is None and not proven:
            return plain()
        return XetSource(self, file, caller, plain, wants_whole)

    def proven_row(self, file: FileAt) -> ReconstructionRow | None:
        """The reconstruction of a content that is here and proven. For any thread."""
        kept = self._rows.get(file.entry.xet_hash or "")
        if kept is not None and time.monotonic() < kept[0]:
            row: ReconstructionRow | None = kept[1]
        else:
            row = self.room.index.by_etag(file.entry.etag)
            if row is not None and row.verified:
                self._keep(row)
        if row is None or not row.verified:
            return None
        return row if (row.etag, row.size_bytes) == (file.entry.etag, file.entry.size_bytes) else None

    async def filling(self, file: FileAt, caller: Caller) -> XetFill:
        """The fill of a whole file, begun now, for one plain fill.

        Raises:
            UpstreamBroken: a plain fill drew from this before, and failed; nobody knows yet what is wrong.
            MoongateError: as `reconstruction_of`.
        """
        row = await self.reconstruction_of(file, caller)
        fill = self._fill(row)
        if not row.verified:
            if row.file_id in self._drawn:
                self._drawn.discard(row.file_id)
                raise UpstreamBroken("a plain reader failed with the chunks of this file")
            self._drawn.add(row.file_id)
            fill.want_whole()
        return fill

    def note_read(self, file_id: str) -> None:
        self._read[file_id] = self.room.clock()

    async def lost(self, row: ReconstructionRow) -> None:
        """Chunks of a proven file turned out not to be here, or not to be chunks."""
        with suppress(MoongateError):
            await self._lost(row)

    def distrust(self, file_id: str) -> None:
        """Let plain readers of this file go the plain road for a while."""
        self._distrusted[file_id] = time.monotonic() + self.room.rules.distrust_seconds

    def is_distrusted(self, file_id: str) -> bool:
        until = self._distrusted.get(file_id)
        if until is not None and until < time.monotonic():
            del self._distrusted[file_id]
        return file_id in self._distrusted


def _ranges(answer: Reconstruction) -> dict[XetHash, list[ChunkRange]]:
    """The ranges that some term needs."""
    ranges: dict[XetHash, dict[ChunkRange, None]] = {}
    for term in answer.terms:
        one = answer.fetch_of(term)
        ranges.setdefault(term.xorb, {})[ChunkRange(one.start, one.end, one.span)] = None
    return {xorb: list(ones) for xorb, ones in ranges.items()}


def covers(row: ReconstructionRow, xorb: XetHash, span: ByteSpan) -> bool:
    """Whether a file needs all these bytes of a xorb."""
    spans = sorted(one.chunks.span for one in row.fetches if one.xorb == xorb)
    position = span.start
    for one in spans:
        if one.start <= position < one.end:
            position = one.end
    return position >= span.end


__all__ = ["Credentials", "XetFiles", "XetRules", "XetWatcher", "covers"]
