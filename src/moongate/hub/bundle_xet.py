"""Xet files in bundles: which of their chunks travel, how they are read here and taken in there.

A file that is kept as proven chunks travels as its reconstruction and those chunks that neither an earlier
file of the bundle nor an earlier bundle brought. On arrival a file counts once it was proven: every chunk
decodes, and the file has both of its hashes, whoever brought its chunks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from moongate.core.digests import Etag
from moongate.core.errors import StoreError, UpstreamBroken, VerificationFailed
from moongate.hub.bundle_file import BadBundle, BundleReader, Member
from moongate.hub.bundle_words import Chunks, XetSaid
from moongate.store.chunk_ranges import ChunkRange, difference, union
from moongate.store.chunk_reader import BadSegment, ChunkReader, ChunksLost
from moongate.store.index import Index, ReconstructionRow
from moongate.store.proof import fault_of
from moongate.store.release import discard, is_complete
from moongate.store.segments import Segment, Segments
from moongate.xet.hashes import XetHash, hash_hex
from moongate.xet.reconstruction import (
    FetchRange,
    Reconstruction,
    Term,
    read_reconstruction,
    write_v1,
)

_PIECE_BYTES = 1 << 20


def segment_name(xorb: XetHash, chunks: ChunkRange) -> str:
    """What a bundle calls these chunks, below `xorbs/`."""
    return f"{hash_hex(xorb)}/{chunks.first}-{chunks.end}_{chunks.span.start}-{chunks.span.end}"


def proven_row(index: Index, segments: Segments, etag: Etag, size_bytes: int) -> ReconstructionRow | None:
    """The reconstruction of a content whose chunks are here, proven; None when it is not kept so."""
    row = index.by_etag(etag)
    if row is None or not row.verified or row.size_bytes != size_bytes:
        return None
    return row if is_complete(segments, index, row.file_id) else None


# Export


@dataclass(frozen=True, slots=True)
class XetPlan:
    """What travels as chunks, and which chunks of an earlier bundle that needs."""

    files: tuple[XetSaid, ...]
    assumed_chunks: Chunks


def plan_xet(
    index: Index, rows: Iterable[ReconstructionRow], etags_before: Mapping[Etag, int], before: Chunks
) -> XetPlan:
    """Each chunk once: with the first file that needs it, unless it came `before`."""
    had: dict[XetHash, list[ChunkRange]] = {xorb: list(ones) for xorb, ones in before.items()}
    assumed: dict[XetHash, list[ChunkRange]] = {}
    files = []
    for row in rows:
        carried: list[tuple[XetHash, ChunkRange]] = []
        for xorb, needs in sorted(index.ranges_of(row.file_id).items()):
            assumed.setdefault(xorb, []).extend(_common(needs, before.get(xorb, ())))
            if row.etag not in etags_before:
                new = difference(needs, had.get(xorb, ()))
                carried += ((xorb, one) for one in new)
                had.setdefault(xorb, []).extend(new)
        if row.etag not in etags_before:
            digest = hashlib.sha256(reconstruction_json(row)).hexdigest()
            files.append(XetSaid(row.file_id, row.etag, row.size_bytes, digest, tuple(carried)))
    return XetPlan(tuple(files), {xorb: union(ones) for xorb, ones in sorted(assumed.items()) if ones})


def _common(ranges: Iterable[ChunkRange], others: Iterable[ChunkRange]) -> list[ChunkRange]:
    ranges = list(ranges)
    return difference(ranges, difference(ranges, others))


def reconstruction_json(row: ReconstructionRow) -> bytes:
    """A file's reconstruction as a bundle has it."""
    fetches: dict[XetHash, list[FetchRange]] = {}
    for one in row.fetches:
        chunks = one.chunks
        fetches.setdefault(one.xorb, []).append(FetchRange(chunks.first, chunks.end, chunks.span, ""))
    told = Reconstruction(0, row.terms, {xorb: tuple(ones) for xorb, ones in fetches.items()})
    return orjson.dumps(write_v1(told))


def checked_json(index: Index, segments: Segments, said: XetSaid) -> bytes:
    """The reconstruction of a file to export, once all of its bytes were found right.

    Raises:
        VerificationFailed: they are not.
        StoreError: it was removed meanwhile.
    """
    row = index.get_reconstruction(said.file_id)
    body = b"" if row is None else reconstruction_json(row)
    if row is None or hashlib.sha256(body).hexdigest() != said.digest:
        raise _removed(said.etag)
    try:
        why = fault_of(segments, row)
    except ChunksLost:
        raise _removed(said.etag) from None
    except BadSegment as error:
        why = error.message
    if why:
        raise VerificationFailed(f"{said.etag} in the store is not what its name says; run `moongate verify`")
    return body


def _removed(etag: Etag) -> StoreError:
    return StoreError(f"{etag} was removed while it was exported; try again")


def segment_pieces(segments: Segments, etag: Etag, xorb: XetHash, chunks: ChunkRange) -> Iterator[bytes]:
    """The bytes of these chunks, from the segments that have them.

    Raises:
        StoreError: they were removed meanwhile.
    """
    position = chunks.span.start
    for segment in segments.cover(xorb, chunks.first, chunks.end):
        fd = segments.open(segment)
        if fd is None:
            break
        with os.fdopen(fd, "rb", buffering=0) as file:
            end = min(segment.span.end, chunks.span.end)
            while segment.span.start <= position < end:
                offset = position - segment.span.start
                piece = os.pread(file.fileno(), min(end - position, _PIECE_BYTES), offset)
                if not piece:
                    break
                position += len(piece)
                yield piece
    if position != chunks.span.end:
        raise _removed(etag)


# Import


@dataclass(slots=True)
class XetIntake:
    """Takes Xet files in, one after the other, as the bundle tells of them."""

    reader: BundleReader
    index: Index
    segments: Segments
    now: float
    make_room: Callable[[int], None] | None
    advanced: Callable[[int], None]
    waiting: list[Etag] = field(default_factory=list)
    """Files that could not be proven, because chunks that others should have brought are not here."""
    added_bytes: int = 0

    def take(self, said: XetSaid) -> bool:
        """Read one file's members; whether it was proven now, and not before.

        Raises:
            BadBundle: the members are others, are damaged, make no sense, or end early.
            VerificationFailed: the chunks are not those of the file; nothing of it is kept.
            StoreFull: no room.
        """
        told = self._reconstruction(said)
        row = self.index.get_reconstruction(said.file_id)
        if row is not None and row.verified and (row.etag, row.size_bytes) != (said.etag, said.size_bytes):
            raise BadBundle("the bundle tells another content of a Xet file than the one that is here")
        here = row is not None and row.verified and is_complete(self.segments, self.index, said.file_id)
        if not here:
            self._note(said, told, row)
        for xorb, chunks in said.chunks:
            if self.reader.next() != Member("segment", segment_name(xorb, chunks), chunks.span.length):
                raise BadBundle("the bundle's members are not those of its table of contents")
            if here:
                self.advanced(chunks.span.length)
            else:
                self._keep(xorb, chunks)
        if here:
            return False
        if not self._prove(said.file_id):
            self.waiting.append(said.etag)
            return False
        return True

    def prove_waiting(self, files: Iterable[XetSaid]) -> None:
        """Prove what waited, here or since an earlier bundle, for chunks that these files brought."""
        xorbs = {xorb for said in files for xorb, _ in said.chunks}
        for file_id in sorted({one for xorb in xorbs for one in self.index.references(xorb)}):
            row = self.index.get_reconstruction(file_id)
            if row is None or row.verified:
                continue
            try:
                proven = self._prove(file_id)
            except VerificationFailed:
                if row.etag in self.waiting:
                    raise
                continue  # its own bundle, or upstream, sent that
            if proven and row.etag in self.waiting:
                self.waiting.remove(row.etag)

    def _reconstruction(self, said: XetSaid) -> Reconstruction:
        member = self.reader.next()
        if (member.kind, member.name_hash) != ("xet", said.file_id):
            raise BadBundle("the bundle's members are not those of its table of contents")
        body = self.reader.json_bytes(member)
        if hashlib.sha256(body).hexdigest() != said.digest:
            raise BadBundle("a reconstruction in the bundle is damaged")
        try:
            told = read_reconstruction(orjson.loads(body))
        except (UpstreamBroken, orjson.JSONDecodeError):
            raise BadBundle("a reconstruction in the bundle makes no sense") from None
        needs = _ranges(told)
        strange = any(difference([one], needs.get(xorb, ())) for xorb, one in said.chunks)
        if strange or told.offset_bytes or told.unpacked_bytes != said.size_bytes:
            raise BadBundle("a reconstruction in the bundle makes no sense")
        return told

    def _note(self, said: XetSaid, told: Reconstruction, row: ReconstructionRow | None) -> None:
        """Let the index know first: what no file needs may be freed at any moment."""
        ranges = _ranges(told)
        if row is not None and row.verified:
            self.index.mark_unverified(said.file_id)
        elif row is not None and row.terms == told.terms and row.etag == said.etag:
            kept = {(one.xorb, one.chunks) for one in row.fetches}
            if kept == {(xorb, one) for xorb, ones in ranges.items() for one in ones}:
                return  # perhaps a gateway is fetching it at this moment
        self.index.put_reconstruction(said.file_id, said.etag, said.size_bytes, told.terms, ranges, self.now)

    def _keep(self, xorb: XetHash, chunks: ChunkRange) -> None:
        """Keep those bytes of the member at hand that are not here yet."""
        try:
            gaps = self.segments.missing(xorb, chunks.first, chunks.end, chunks.span)
        except UpstreamBroken:
            raise BadBundle("the bundle contradicts what is here of a xorb") from None
        if gaps and self.make_room is not None:
            self.make_room(sum(gap.length - self.segments.progress(gap) for gap in gaps))
        member = Member("segment", segment_name(xorb, chunks), chunks.span.length)
        stream = _Stream(self.reader.pieces(member), chunks.span.start, self.advanced)
        for gap in gaps:
            self._fill(gap, stream)
        stream.skip_to(chunks.span.end)

    def _fill(self, gap: Segment, stream: _Stream) -> None:
        lead = self.segments.try_lead(gap)
        if lead is None:  # a gateway fetches it at this moment; if it does not come, the proof says so
            return
        try:
            stream.skip_to(gap.span.start + lead.position)
            for piece in stream.until(gap.span.end):
                lead.append(piece)
                self.added_bytes += len(piece)
        finally:
            lead.close()

    def _prove(self, file_id: str) -> bool:
        """Whether a file whose chunks are all here is right; False when some are not.

        Raises:
            VerificationFailed: it is wrong. What only it has is gone.
        """
        row = self.index.get_reconstruction(file_id)
        if row is None or not is_complete(self.segments, self.index, file_id):
            return False
        try:
            why = fault_of(self.segments, row)
            self._decode_extras(row)
        except ChunksLost:
            return False
        except BadSegment as error:
            why = error.message
        if why:
            discard(self.segments, self.index, file_id)
            raise VerificationFailed(
                f"the bundle's chunks are not those of {row.etag}: {why}; nothing of it was kept"
            )
        return self.index.mark_verified(file_id, row.etag, self.now, row.noted_at)

    def _decode_extras(self, row: ReconstructionRow) -> None:
        """Chunks that came with a file's, and do not occur in it: at least they have to be chunks."""
        with ChunkReader(self.segments) as reader:
            for xorb, ranges in self.index.ranges_of(row.file_id).items():
                used = [term for term in row.terms if term.xorb == xorb]
                for one in ranges:
                    for first, end in _unused(one, used):
                        for _ in reader.chunks(xorb, first, end):
                            pass


class _Stream:
    """The bytes of one member, by their place in the xorb."""

    def __init__(self, pieces: Iterator[bytes], position: int, advanced: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._position = position
        self._advanced = advanced
        self._left = memoryview(b"")

    def skip_to(self, position: int) -> None:
        for _ in self.until(position):
            pass

    def until(self, position: int) -> Iterator[memoryview]:
        """The bytes from where it stands up to `position`."""
        while self._position < position:
            if not self._left:
                self._left = memoryview(next(self._pieces))
            piece = self._left[: position - self._position]
            self._left = self._left[len(piece) :]
            self._position += len(piece)
            self._advanced(len(piece))
            yield piece


def _ranges(told: Reconstruction) -> dict[XetHash, list[ChunkRange]]:
    return {
        xorb: [ChunkRange(one.start, one.end, one.span) for one in ones]
        for xorb, ones in told.fetches.items()
    }


def _unused(one: ChunkRange, terms: Iterable[Term]) -> Iterator[tuple[int, int]]:
    """The runs of chunks of a range that no term has."""
    at = one.first
    for term in sorted(terms, key=lambda term: term.start):
        if at < min(term.start, one.end):
            yield at, min(term.start, one.end)
        at = max(at, term.end)
    if at < one.end:
        yield at, one.end
