"""The raw bytes of stored chunks: decoded many at once, in memory that is used again.

    Decoder   stored ── decode ──► raw chunks ── together ──► one piece
       ├── _Compiled   the loops of the extra `fast`; what they leave is decoded as by the other
       └── _Plain      lz4 and numpy

Rules of this file:
- A chunk must yield exactly the raw length that its header tells; no more than that is ever produced.
- Fresh memory costs as much as decoding, and so does every copy.
- `groups` brings numpy, which takes long to load: it is imported when it is needed, which with the loops is
  hardly ever.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import lz4.frame

from moongate.xet import compiled
from moongate.xet.compiled import MOST_CHUNKS, Loops
from moongate.xet.hashes import Leaf, XetHash, chunk_hash, xorb_hash
from moongate.xet.loops import ROOM_BYTES
from moongate.xet.xorb import (
    HEADER_BYTES,
    MAX_XORB_BYTES,
    MAX_XORB_CHUNKS,
    ROW_WORDS,
    BadXorb,
    Scheme,
    StoredChunk,
    chunks_in,
    read_headers,
    rows_of,
)


class Decoder(Protocol):
    """Decodes runs of neighbouring chunks. For one thread at a time."""

    @property
    def stored(self) -> memoryview:
        """Room for a run of stored chunks: whoever has them puts them here. `ROOM_BYTES` long."""

    def decode(self, chunks: Sequence[StoredChunk], base: int = 0) -> list[memoryview]:
        """The raw bytes of chunks that lie in `stored`, in order; good until the next call.

        base: which byte of their xorb `stored` begins with. Not more at once than `fitting` tells.

        Raises:
            BadXorb: one does not decompress to the length that its header tells.
        """

    def decode_rows(self, rows: array[int], base: int = 0) -> Sequence[memoryview]:
        """As `decode`, chunks given by `rows_of`, for whom it is the same where one ends: in few pieces."""

    def together(self) -> memoryview | bytes:
        """What the last `decode` gave, in one piece; good as long as that."""


def new_decoder() -> Decoder:
    """A decoder, to be kept."""
    loops = compiled.take()
    return _Plain() if loops is None else _Compiled(loops)


def retire(decoder: Decoder) -> None:
    """Nobody uses it any more, nor anything that it gave: its memory is for the next one."""
    if isinstance(decoder, _Compiled):
        compiled.give_back(decoder.loops)
    elif isinstance(decoder, _Plain) and len(_idle) < _IDLE_KEPT:
        _idle.append(decoder.rooms)


@contextmanager
def _borrowed() -> Iterator[Decoder]:
    decoder = new_decoder()
    try:
        yield decoder
    finally:
        retire(decoder)


def fitting(chunks: Sequence[StoredChunk]) -> int:
    """How many of the first chunks can be decoded at once: at least one."""
    raw_bytes = stored_bytes = 0
    for at, chunk in enumerate(chunks[:MOST_CHUNKS]):
        raw_bytes += _in_words(chunk.raw_bytes)
        stored_bytes += HEADER_BYTES + chunk.stored_bytes
        if at and max(raw_bytes, stored_bytes) > ROOM_BYTES:
            return at
    return min(len(chunks), MOST_CHUNKS)


def decode_chunks(data: memoryview, chunks: Sequence[StoredChunk], base: int = 0) -> list[bytes]:
    """The raw bytes of neighbouring chunks, in order; `data` begins at byte `base` of their xorb.

    Raises:
        BadXorb: one does not decompress to the length that its header tells.
    """
    raws, at = list[bytes](), 0
    with _borrowed() as decoder:
        while at < len(chunks):
            some = chunks[at : at + fitting(chunks[at:])]
            start, end = some[0].data_start, some[-1].end
            decoder.stored[: end - start] = data[start - base : end - base]
            raws += map(bytes, decoder.decode(some, start))
            at += len(some)
    return raws


def decode_chunk(data: memoryview, chunk: StoredChunk) -> bytes | memoryview:
    """The raw bytes of one chunk.

    Raises:
        BadXorb: it does not decompress to the length that its header tells.
    """
    if chunk.scheme is Scheme.NONE and chunk.stored_bytes == chunk.raw_bytes:
        return data[chunk.data_start : chunk.end]
    return decode_chunks(data, [chunk])[0]


def read_leaves(data: memoryview) -> list[Leaf]:
    """The hash and raw length of every chunk, computed from the bytes.

    Raises:
        BadXorb: the bytes are no xorb.
    """
    return [(chunk_hash(decode_chunk(data, chunk)), chunk.raw_bytes) for chunk in read_headers(data)]


def verify_xorb(data: memoryview, expected: XetHash) -> list[Leaf]:
    """The leaves of a whole xorb whose hash is right.

    Raises:
        BadXorb: the bytes are no xorb, or not that one.
    """
    if len(data) > MAX_XORB_BYTES + MAX_XORB_CHUNKS * 64:
        raise BadXorb("a xorb of more than 64 MiB")
    leaves = read_leaves(data)
    if xorb_hash(leaves) != expected:
        raise BadXorb("the bytes are not the xorb that they were said to be")
    return leaves


class _Compiled:
    """Decodes from and into the memory of the loops: nothing is copied before or after."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self._frames = _Frames()
        self._last: list[memoryview] | int = 0

    @property
    def stored(self) -> memoryview:
        return self.loops.room

    def decode(self, chunks: Sequence[StoredChunk], base: int = 0) -> list[memoryview]:
        raw = _stored_raw(self.stored, chunks, base)
        if raw is not None:
            self._last = raw
            return raw
        self._last = self._unpack(rows_of(chunks), base)
        pieces, at = list[memoryview](), 0
        for chunk in chunks:
            pieces.append(self.loops.out[at : at + chunk.raw_bytes])
            at += chunk.raw_bytes
        return pieces

    def decode_rows(self, rows: array[int], base: int = 0) -> Sequence[memoryview]:
        return [self.loops.out[: self._unpack(rows, base)]]

    def together(self) -> memoryview | bytes:
        last = self._last
        return self.loops.out[:last] if isinstance(last, int) else _together(last, self.loops.out)

    def _unpack(self, rows: array[int], base: int) -> int:
        """Unpack all of them into `out`; how many bytes that makes."""
        raw_bytes = sum(rows[3::ROW_WORDS])
        if rows[-ROW_WORDS] + rows[1 - ROW_WORDS] - base > ROOM_BYTES or raw_bytes > ROOM_BYTES:
            raise ValueError("more chunks than fit")
        unpacked = self.loops.unpack(rows, base)
        if not all(unpacked):
            at = 0
            for chunk, done in zip(chunks_in(rows), unpacked, strict=True):
                if not done:
                    self._otherwise(chunk, base, self.loops.out[at : at + chunk.raw_bytes])
                at += chunk.raw_bytes
        return raw_bytes

    def _otherwise(self, chunk: StoredChunk, base: int, out: memoryview) -> None:
        if chunk.scheme is Scheme.NONE:
            raise _other_length(chunk, chunk.stored_bytes)
        raw = _unframed(self._frames, chunk, self.stored[chunk.data_start - base : chunk.end - base])
        out[:] = _ungrouped(raw) if chunk.scheme is Scheme.BG4_LZ4 else raw


class _Plain:
    """Decodes with what is always there."""

    def __init__(self) -> None:
        self.rooms = _idle.pop() if _idle else (_room(), _room(), _room())
        self.stored, self._woven, self._joined = self.rooms
        self._frames = _Frames()
        self._last: list[memoryview] = []
        self._scratch: Any = None

    def decode(self, chunks: Sequence[StoredChunk], base: int = 0) -> list[memoryview]:
        raw = _stored_raw(self.stored, chunks, base)
        self._last = self._decoded(chunks, base) if raw is None else raw
        return self._last

    def decode_rows(self, rows: array[int], base: int = 0) -> Sequence[memoryview]:
        return self.decode(chunks_in(rows), base)

    def together(self) -> memoryview | bytes:
        return _together(self._last, self._joined)

    def _decoded(self, chunks: Sequence[StoredChunk], base: int) -> list[memoryview]:
        pieces, done = list[memoryview](), 0
        for chunk in chunks:
            stored = self.stored[chunk.data_start - base : chunk.end - base]
            raw = stored if chunk.scheme is Scheme.NONE else _unframed(self._frames, chunk, stored)
            if chunk.scheme is Scheme.BG4_LZ4:
                woven = self._woven[done : done + len(raw)]
                self._weave(raw, woven)
                done += _in_words(len(raw))
                raw = woven
            pieces.append(memoryview(raw))
        return pieces

    def _weave(self, raw: bytes | memoryview, out: memoryview) -> None:
        from moongate.xet.groups import scratch_for, weave  # noqa: PLC0415 - see above

        if self._scratch is None:
            self._scratch = scratch_for(ROOM_BYTES)
        weave(raw, out, self._scratch)


_IDLE_KEPT: Final = 16
_idle: list[tuple[memoryview, memoryview, memoryview]] = []


def _room() -> memoryview:
    return memoryview(bytearray(ROOM_BYTES))


def _stored_raw(data: memoryview, chunks: Sequence[StoredChunk], base: int) -> list[memoryview] | None:
    """The chunks as they lie there; None when one of them is compressed.

    Raises:
        BadXorb: one that is stored raw has another length than its header tells.
    """
    if chunks[-1].end - base > len(data) or sum(chunk.raw_bytes for chunk in chunks) > ROOM_BYTES:
        raise ValueError("more chunks than fit")
    is_raw = True
    for chunk in chunks:
        if chunk.scheme is not Scheme.NONE:
            is_raw = False
        elif chunk.stored_bytes != chunk.raw_bytes:
            raise _other_length(chunk, chunk.stored_bytes)
    return [data[chunk.data_start - base : chunk.end - base] for chunk in chunks] if is_raw else None


def _together(pieces: Sequence[memoryview], room: memoryview) -> memoryview | bytes:
    """Pieces in one, because every call that lets go of the interpreter may wait long to get it back."""
    if len(pieces) == 1:
        return pieces[0]
    at = 0
    for piece in pieces:
        room[at : at + len(piece)] = piece
        at += len(piece)
    return room[:at]


def _in_words(length: int) -> int:
    """The length up to the next word: weaving is fastest where words begin."""
    return -(-length // 4) * 4


def _ungrouped(raw: bytes) -> memoryview:
    from moongate.xet.groups import ungrouped  # noqa: PLC0415 - see above

    return ungrouped(raw)


def _unframed(frames: _Frames, chunk: StoredChunk, stored: memoryview) -> bytes:
    raw = frames.decompressed(stored, chunk.raw_bytes)
    if len(raw) != chunk.raw_bytes:
        raise _other_length(chunk, len(raw))
    return raw


def _other_length(chunk: StoredChunk, found: int) -> BadXorb:
    return BadXorb(f"a chunk has {found} bytes where its header tells {chunk.raw_bytes}")


class _Frames:
    """Decompresses one frame after the other; what that takes is made once, and anew after a bad one.

    A context that was reset after a frame that ended early finds fault with good ones.
    """

    def __init__(self) -> None:
        self._context: Any = None

    def decompressed(self, stored: memoryview, raw_bytes: int) -> bytes:
        """At most `raw_bytes` and one more are ever produced, whatever the frame would unpack to.

        Raises:
            BadXorb: it is no frame, or is cut off.
        """
        context, self._context = self._context, None
        if context is None:
            context = lz4.frame.create_decompression_context()
        else:
            lz4.frame.reset_decompression_context(context)
        try:
            raw, _, ended = lz4.frame.decompress_chunk(context, stored, max_length=raw_bytes + 1)
        except RuntimeError as error:
            raise BadXorb("a chunk does not decompress") from error
        if ended:
            self._context = context
        elif len(raw) <= raw_bytes:
            raise BadXorb("a chunk's compressed data is cut off")
        whole: bytes = raw
        return whole
