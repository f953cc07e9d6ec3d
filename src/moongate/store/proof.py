"""Whether a Xet file at rest is right: every chunk decodes, and the file has both of its hashes."""

from __future__ import annotations

from collections.abc import Callable

from moongate.core.digests import content_hasher
from moongate.store.chunk_reader import ChunkReader
from moongate.store.index import ReconstructionRow
from moongate.store.segments import Segments
from moongate.xet.hashes import Leaf, chunk_hash, file_hash, hash_hex


def fault_of(
    segments: Segments, row: ReconstructionRow, go_on: Callable[[int], bool] = lambda size_bytes: True
) -> str | None:
    """What is wrong with a file; empty when nothing is.

    `go_on` is told of raw bytes as they are hashed; None when it said no.

    Raises:
        ChunksLost, BadSegment: chunks are not here, or are none.
    """
    hasher = content_hasher(row.etag, row.size_bytes)
    leaves: list[Leaf] = []
    with ChunkReader(segments) as reader:
        for term in row.terms:
            left_bytes = term.unpacked_bytes
            for raw in reader.chunks(term.xorb, term.start, term.end):
                if not go_on(len(raw)):
                    return None
                leaves.append((chunk_hash(raw), len(raw)))
                hasher.update(raw)
                left_bytes -= len(raw)
            if left_bytes:
                return "a term has another length than its chunks"
    found = hash_hex(file_hash(leaves))
    if found != row.file_id:
        return f"its {len(leaves)} chunks hash to {found}"
    found = hasher.hexdigest()
    return "" if found == row.etag else f"its bytes hash to {found}"
