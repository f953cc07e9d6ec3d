"""The ranges of xorbs that a Xet file is made of: in which order they are needed, which part is held."""

from __future__ import annotations

from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.index import KeptFetch, ReconstructionRow
from moongate.xet.hashes import XetHash
from moongate.xet.reconstruction import FetchRange

HOLD_BYTES = (128 << 10) + 8
"""What is held of a file that is not proven: at least its last chunk, header and all."""


def in_order(row: ReconstructionRow) -> list[KeptFetch]:
    """A file's ranges, in the order in which its terms first need them."""
    by_xorb: dict[XetHash, list[KeptFetch]] = {}
    for one in row.fetches:
        by_xorb.setdefault(one.xorb, []).append(one)
    ordered: dict[KeptFetch, None] = {}
    for term in row.terms:
        for one in by_xorb.get(term.xorb, ()):
            if one.chunks.first <= term.start and term.end <= one.chunks.end:
                ordered[one] = None
                break
    ordered.update(dict.fromkeys(row.fetches))
    return list(ordered)


def hold_of(row: ReconstructionRow) -> tuple[XetHash, ByteSpan] | None:
    """The end of the last term's range, which nobody gets before the file is proven; None for no bytes."""
    last = row.terms[-1] if row.terms else None
    for one in row.fetches:
        if last and one.xorb == last.xorb and one.chunks.first <= last.start and last.end <= one.chunks.end:
            span = one.chunks.span
            return one.xorb, ByteSpan(max(span.start, span.end - HOLD_BYTES), span.end)
    return None


def offers(offer: FetchRange, chunks: ChunkRange) -> bool:
    """Whether what upstream offers holds these chunks, at the same place."""
    starts = (offer.start == chunks.first) == (offer.span.start == chunks.span.start)
    ends = (offer.end == chunks.end) == (offer.span.end == chunks.span.end)
    within = offer.start <= chunks.first and chunks.end <= offer.end
    inside = offer.span.start <= chunks.span.start and chunks.span.end <= offer.span.end
    return starts and ends and within and inside
