"""`ChunksAtHand`: ranges of xorbs that a proven file needs, from segments that are here, without waiting.

Takes the same ranges as `XetFiles.open_range` and finds nothing where that would have to wait. Segments stay
open for a moment (`hub.handles`), since most are asked for in several ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from moongate.core.spans import ByteSpan
from moongate.hub.handles import Handle, Handles
from moongate.hub.xet_files import XetFiles, covers
from moongate.store.index import ReconstructionRow
from moongate.store.segments import Segment
from moongate.xet.hashes import XetHash


class HeldChunks(NamedTuple):
    """Bytes of an open segment, as they lie in its file. Release the handle once."""

    handle: Handle
    offset: int
    size_bytes: int


class ChunksAtHand:
    """The proven files of one process. Belongs to the event loop."""

    def __init__(self, xets: XetFiles) -> None:
        self._xets = xets
        self._segments = xets.room.segments
        self._handles: Handles[Segment] = Handles(self._segments.open)

    def close(self) -> None:
        """Let go of every segment that nobody reads."""
        self._handles.close()

    def proven(self, file_id: str) -> ReconstructionRow | None:
        """What a file is made of, if every byte of it was checked."""
        row = self._xets.known(file_id)
        return row if row is not None and row.verified else None

    @staticmethod
    def needs(row: ReconstructionRow, xorb: XetHash, span: ByteSpan) -> bool:
        """Whether the file needs all these bytes of a xorb."""
        return covers(row, xorb, span)

    def take(
        self, row: ReconstructionRow, xorb: XetHash, spans: Sequence[ByteSpan]
    ) -> list[list[HeldChunks]] | None:
        """Each span in order, in pieces; None when some of it is not here. Takes note of the read."""
        lying, taken = self._segments.of(xorb), list[list[HeldChunks]]()
        for span in spans:
            pieces = self._pieces(lying, span)
            taken.append(pieces)
            if sum(piece.size_bytes for piece in pieces) != span.length:
                for piece in (piece for some in taken for piece in some):
                    piece.handle.release()
                return None
        self._xets.note_read(row.file_id)
        return taken

    def _pieces(self, lying: Sequence[Segment], span: ByteSpan) -> list[HeldChunks]:
        """The span, up to the first byte that is not here."""
        pieces: list[HeldChunks] = []
        position = span.start
        for segment in lying:
            if not segment.span.start <= position < min(segment.span.end, span.end):
                continue
            handle = self._handles.acquire(segment)
            if handle is None:
                break
            if handle.size_bytes != segment.length:
                handle.release()
                break
            end = min(segment.span.end, span.end)
            pieces.append(HeldChunks(handle, position - segment.span.start, end - position))
            position = end
        return pieces


__all__ = ["ChunksAtHand", "HeldChunks"]
