"""Xet files without upstream's CAS: their chunks are made of the bytes that the plain road brings.

    XetService ── XetFiles    the usual way: upstream's xorbs
         └─────── MadeFile    a file's reconstruction, and every range of it made anew (`xet.made`)
                     └ MadeBody   bytes of such a range, as the plain fill brings them

A client that came for a reconstruction which cannot be asked for gets one that is made up. One that has a
reconstruction, and finds that the xorbs cannot be had, asks again for addresses (403 makes it): it gets those
of ranges made for the very terms that it knows.

- It would not notice other terms, and put wrong bytes together: so for as long as addresses hold, a file is
  told of in one way alone, by all processes. When upstream changes its mind, it is read plainly meanwhile.
- The last byte is held back until the whole file has its sha256, as with any plain reader; and until what is
  here of its xorbs, which others may have been given unproven, was found to be the same bytes.
- From then on the file is a blob, and no more is given out of xorbs that are not proven.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.digests import Etag
from moongate.core.errors import (
    EntryAbsent,
    MoongateError,
    StoreFull,
    UpstreamBroken,
    VerificationFailed,
)
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.fill import FileBody
from moongate.hub.xet_body import SegmentBody
from moongate.hub.xet_files import XetFiles
from moongate.store.agreement import agrees
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.index import Index, KeptFetch, ReconstructionRow
from moongate.store.pieces import FilePiece, Piece
from moongate.store.release import discard
from moongate.xet.hashes import XetHash, hash_hex
from moongate.xet.made import MadeRanges, made_up_terms, make_ranges, structure_key
from moongate.xet.reconstruction import Term

TOLD_SECONDS = 4000.0
"""How long clients may hold on to what they were told of a file: longer than addresses hold."""

_TOLD_AGAIN_SECONDS = 200.0
_AWAY_SECONDS = 300.0
_FILES_KEPT = 1000
_TOLD_KEPT = 20_000

OpenFile = Callable[[FileAt, Caller, ByteSpan], Awaitable[FileBody]]


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A Xet file whose ranges are made of its plain bytes, and for whom those are fetched."""

    file: FileAt
    caller: Caller
    file_id: str
    terms: tuple[Term, ...]
    made: MadeRanges
    data_key: str
    """What stands for the xorb in data addresses."""
    row: ReconstructionRow | None = None
    """The reconstruction that these ranges stand for; None when it is made up."""
    verified: bool = False

    @property
    def etag(self) -> Etag:
        return self.file.entry.etag

    @property
    def size_bytes(self) -> int:
        return self.file.entry.size_bytes

    @property
    def fetches(self) -> tuple[KeptFetch, ...]:
        """Its ranges; spans count in the stream of all of them."""
        return tuple(
            KeptFetch(one.xorb, ChunkRange(one.first, one.end, one.span)) for one in self.made.ranges
        )


class MadeBody:
    """Bytes of a made range, to send in pieces. Positions count in the stream of the file's ranges."""

    fd: Final = -1
    base: Final = 0

    def __init__(
        self, made: MadeRanges, span: ByteSpan, plain: FileBody, agree: Callable[[int], Awaitable[None]]
    ) -> None:
        """`agree`: given the descriptor of the whole file, raises unless nobody was given anything else."""
        self.span = span
        self._made = made
        self._plain = plain
        self._agree = agree

    @property
    def outcome(self) -> Literal["hit", "miss"]:
        return self._plain.outcome

    async def ready(self, position: int, end: int) -> int:
        """How many bytes from `position` on may be sent now; waits for the first. Raises as `FileBody`."""
        reach, known = position, ByteSpan(0, 0)
        for part in self._made.parts(position, end):
            if isinstance(part, bytes):
                reach += len(part)
                continue
            if not known:
                count = await self._plain.ready(part.start, self._plain.size_bytes)
                known = ByteSpan(part.start, part.start + count)
            taken = min(part.end, known.end) - part.start
            if not known.start <= part.start or taken <= 0:
                break  # elsewhere in the file, or not here yet: asked for when it is its turn
            if part.start + taken == self._plain.size_bytes:
                await self._agree(self._plain.fd)
            reach += taken
            if taken < part.length:
                break
        return reach - position

    def pieces(self, position: int, end: int) -> Iterator[Sequence[Piece]]:
        """What `ready` said may be sent."""
        yield [
            memoryview(part)
            if isinstance(part, bytes)
            else FilePiece(self._plain.fd, part.start, part.length)
            for part in self._made.parts(position, end)
        ]

    def read(self, position: int, count: int) -> bytes:
        """A few bytes that are ready."""
        return b"".join(
            part if isinstance(part, bytes) else self._plain.read(part.start, part.length)
            for part in self._made.parts(position, position + count)
        )

    def pause(self) -> None:
        """Nothing is held in memory."""

    async def instead(self, span: ByteSpan) -> FileBody:
        """Nothing is left to do when the disk is full.

        Raises:
            StoreFull: always.
        """
        raise StoreFull("no room for this file")

    def close(self) -> None:
        self._plain.close()


class XetService:
    """What Xet clients are served from: xorbs, or what stands for them. Belongs to one event loop."""

    def __init__(
        self,
        xets: XetFiles,
        index: Index,
        open_file: OpenFile,
        keeps: Callable[[Etag], bool],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """open_file: opens a file by the plain road (`Content.fill`). keeps: whether a content is a blob."""
        self._xets = xets
        self._index = index
        self._open_file = open_file
        self._keeps = keeps
        self._clock = clock
        self._away: OrderedDict[str, float] = OrderedDict()
        self._made: OrderedDict[tuple[str, str], MadeFile] = OrderedDict()
        self._agreed: OrderedDict[tuple[str, float], bool] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def reconstruction_of(self, file: FileAt, caller: Caller) -> ReconstructionRow | MadeFile:
        """What a file is made of; see `XetFiles.reconstruction_of`. Made, when its xorbs are out of reach."""
        file_id = file.entry.xet_hash
        if file_id is None:
            return await self._xets.reconstruction_of(file, caller)
        row = self._xets.known(file_id)
        if self._keeps(file.entry.etag) if row is None else self.is_out_of_reach(row):
            made = self._chosen(file, caller, row)
            if made is not None:
                return made
        row = await self._xets.reconstruction_of(file, caller)
        if not self._may_tell_row(row):
            raise UpstreamBroken("upstream tells of this file in another way than it did a while ago")
        return row

    async def instead(self, file: FileAt, caller: Caller, error: MoongateError) -> MadeFile:
        """A reconstruction that is made, when the real one cannot be had because of `error`.

        Raises:
            MoongateError: that error, when the plain road leads nowhere either.
        """
        entry = file.entry
        file_id = entry.xet_hash
        if file_id is None or not entry.size_bytes:
            raise error
        self.went_away(file_id)
        made = self._chosen(file, caller, self._xets.known(file_id))
        if made is None:
            raise error
        try:
            body = await self._open_file(file, caller, ByteSpan(0, entry.size_bytes))
            try:
                await body.ready(0, entry.size_bytes)
            finally:
                body.close()
        except MoongateError:
            raise error from None
        return made

    def known(self, file_id: str) -> ReconstructionRow | None:
        """See `XetFiles.known`."""
        return self._xets.known(file_id)

    def ensure(self, row: ReconstructionRow | MadeFile) -> None:
        """Begin to fetch a whole file. What is made is fetched as it is read."""
        if isinstance(row, ReconstructionRow):
            self._xets.ensure(row)

    # -- data ------------------------------------------------------------------------------------------------

    def went_away(self, file_id: str) -> None:
        """The xorbs of a file could not be had: for a while its chunks are made."""
        self._xets.distrust(file_id)  # the fill that brings the bytes is not to try it there
        self._away[file_id] = self._clock() + _AWAY_SECONDS
        _bound(self._away, _FILES_KEPT)

    def is_out_of_reach(self, source: ReconstructionRow | MadeFile) -> bool:
        """Whether the chunks of this reconstruction are made for now: the client is to ask for addresses."""
        if isinstance(source, MadeFile) or source.verified:
            return False
        return self._away.get(source.file_id, 0.0) > self._clock() or self._keeps(source.etag)

    def made_for(self, key: str, file_id: str) -> MadeFile | None:
        """The file whose made ranges an address of this key counts in, if such a file is known."""
        kept = self._made.get((key, file_id))
        if kept is not None:
            return kept
        row = self._xets.known(file_id)
        if row is not None and any(hash_hex(one.xorb) == key for one in row.fetches):
            return None
        for file in self._index.where_is(Etag(key) if row is None else row.etag):
            if file.entry.xet_hash == file_id:
                made = self._made_up(file, ANONYMOUS) if row is None else self._of_row(file, ANONYMOUS, row)
                if made is not None and made.data_key == key:
                    self._made[key, file_id] = made
                    _bound(self._made, _FILES_KEPT)
                    return made
        return None

    async def open_range(
        self, source: ReconstructionRow | MadeFile, xorb: XetHash, span: ByteSpan
    ) -> AsyncGenerator[SegmentBody | MadeBody, None]:
        """Bodies to send one after the other, together `span`; see `XetFiles.open_range`."""
        if isinstance(source, ReconstructionRow):
            async for body in self._xets.open_range(source, xorb, span):
                yield body
            return
        ranges = source.made.ranges
        if not ranges or not span or span.end > ranges[-1].span.end:
            raise EntryAbsent("the file has no such range")
        parts = [part for part in source.made.parts(span.start, span.end) if isinstance(part, ByteSpan)]
        hull = ByteSpan(min((p.start for p in parts), default=0), max((p.end for p in parts), default=1))
        plain = await self._open_file(source.file, source.caller, hull)
        made = MadeBody(source.made, span, plain, lambda fd: self._agree(source, fd))
        try:
            yield made
        finally:
            made.close()

    async def _agree(self, source: MadeFile, fd: int) -> None:
        """Return when what is here of the file's xorbs is what the whole file has.

        Raises:
            VerificationFailed: it is not, or that cannot be told; nothing of it is kept.
        """
        row = source.row
        if row is None or (row.file_id, row.noted_at) in self._agreed:
            return
        segments = self._xets.room.segments
        if not await asyncio.to_thread(agrees, segments, row, fd):
            await asyncio.to_thread(discard, segments, self._index, row.file_id)
            raise VerificationFailed(f"upstream's xorbs for {row.etag} are not those of that content")
        self._agreed[row.file_id, row.noted_at] = True
        _bound(self._agreed, _FILES_KEPT)

    # -- one way of telling ----------------------------------------------------------------------------------

    def _chosen(self, file: FileAt, caller: Caller, row: ReconstructionRow | None) -> MadeFile | None:
        """The file as made for its reconstruction, or for one that is made up: as it may be told of."""
        for made in (
            None if row is None else self._of_row(file, caller, row),
            self._made_up(file, caller),
        ):
            if made is None:
                continue
            if self._may_tell(made.file_id, structure_key(made.terms, _ranges(made.fetches))):
                self._made[made.data_key, made.file_id] = made
                _bound(self._made, _FILES_KEPT)
                return made
        return None

    def _may_tell_row(self, row: ReconstructionRow) -> bool:
        known = (row.file_id, f"{row.noted_at}")
        if self._told.get(known, 0.0) > self._clock():
            return True
        may = self._may_tell(row.file_id, structure_key(row.terms, _ranges(row.fetches)))
        if may:
            self._told[known] = self._clock() + _TOLD_AGAIN_SECONDS
        return may

    def _may_tell(self, file_id: str, structure: str) -> bool:
        """Whether nobody was told of this file in another way not long ago; from now on in this one."""
        now = self._clock()
        if self._told.get((file_id, structure), 0.0) > now:
            return True
        if not self._index.try_lease(f"xet told {file_id}", structure, TOLD_SECONDS, now):
            return False
        self._told[file_id, structure] = now + _TOLD_AGAIN_SECONDS
        _bound(self._told, _TOLD_KEPT)
        return True

    def _of_row(self, file: FileAt, caller: Caller, row: ReconstructionRow) -> MadeFile | None:
        if (row.etag, row.size_bytes) != (file.entry.etag, file.entry.size_bytes):
            return None
        made = make_ranges(row.etag, row.terms, _ranges(row.fetches))
        return None if made is None else MadeFile(file, caller, row.file_id, row.terms, made, made.key, row)

    def _made_up(self, file: FileAt, caller: Caller) -> MadeFile | None:
        entry = file.entry
        terms = made_up_terms(entry.etag, entry.size_bytes)
        made = make_ranges(entry.etag, terms, {term.xorb: [(term.start, term.end)] for term in terms})
        if made is None or entry.xet_hash is None:
            return None
        return MadeFile(file, caller, entry.xet_hash, terms, made, entry.etag)


def _ranges(fetches: Sequence[KeptFetch]) -> Mapping[XetHash, list[tuple[int, int]]]:
    ranges: dict[XetHash, list[tuple[int, int]]] = {}
    for one in fetches:
        ranges.setdefault(one.xorb, []).append((one.chunks.first, one.chunks.end))
    return ranges


def _bound(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
