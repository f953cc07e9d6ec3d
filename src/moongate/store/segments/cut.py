"""Cutting: of a complete segment some chunks stay, as segments of their own, and the rest goes.

What stays is copied out and given its name before the old file goes. A crash in between leaves a piece inside
a complete segment, which counts as nothing and is collected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.segments.folder import chunk_ends, unlink
from moongate.store.segments.segment import CUT_SUFFIX, Segment, segment_at

_COPY_BYTES = 8 << 20


def cut(
    folder: str, segment: Segment, keep: Sequence[ChunkRange], drop: Callable[[str], None] = unlink
) -> int | None:
    """Keep these chunks of a segment and give its file to `drop`; bytes freed.

    None when its chunks cannot be told apart, or when the disk has no room for the copy: it stays whole.
    The folder's lock is held.
    """
    pieces = _pieces(folder, segment, keep)
    if pieces is None:
        return None
    made: list[str] = []
    try:
        with open(segment.path, "rb", buffering=0) as source:
            for piece in pieces:
                made.append(piece.path + CUT_SUFFIX)
                offset = piece.span.start - segment.span.start
                _copy(source.fileno(), offset, piece.length, made[-1])
    except OSError:
        for path in made:
            unlink(path)
        return None
    for piece in pieces:
        os.rename(piece.path + CUT_SUFFIX, piece.path)
    drop(segment.path)
    return segment.length - sum(piece.length for piece in pieces)


def _pieces(folder: str, segment: Segment, keep: Sequence[ChunkRange]) -> list[Segment] | None:
    """The segments to make. Where chunks end is read from the file, whatever the ranges tell."""
    if not keep:
        return []
    ends = chunk_ends(segment)
    if len(ends) - 1 != segment.end - segment.first or ends[-1] != segment.length:
        return None
    pieces = []
    for one in keep:
        first, end = max(one.first, segment.first), min(one.end, segment.end)
        if first < end:
            start = segment.span.start + ends[first - segment.first]
            span = ByteSpan(start, segment.span.start + ends[end - segment.first])
            pieces.append(segment_at(folder, segment.xorb, first, end, span))
    return pieces


def _copy(source: int, offset: int, length: int, target: str) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        end = offset + length
        while offset < end:
            copied = os.sendfile(fd, source, offset, min(_COPY_BYTES, end - offset))
            if not copied:
                raise OSError(5, "a segment became shorter")
            offset += copied
        os.fsync(fd)
    finally:
        os.close(fd)
