"""Which xorb has this chunk? Answered from what the caller may read, so that clients send only what is new.

An answer tells of the xorb, and of those that follow it in the files that need it: whoever sends a file again
that changed a little learns of all of it by its first chunk. Chunk hashes are keyed anew each time: an answer
is of use only to somebody who has the chunks. What the caller may not use of a xorb is told as chunks that
nobody has.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

from moongate.core.callers import Caller
from moongate.hub.hosted.xet_rights import KnownXorb, Readers, XetRights
from moongate.store.index import Index
from moongate.store.segments import Segments
from moongate.xet.hashes import Leaf, XetHash
from moongate.xet.shard import ShardXorb, dedup_answer

ANSWER_SECONDS = 86400.0
"""How long a client may go by an answer; what it was told of stays a little longer."""

_SLACK_SECONDS = 3600.0
_MOST_CHUNKS = 1 << 16
_MOST_FILES = 8


class Dedup:
    """Answers dedup queries. Blocks; any thread may call it."""

    def __init__(
        self, index: Index, segments: Segments, readers: Readers, clock: Callable[[], float] = time.time
    ) -> None:
        self._index = index
        self._segments = segments
        self._readers = readers
        self._clock = clock

    def answer(self, chunk: XetHash, caller: Caller) -> bytes | None:
        """A shard that tells of xorbs with this chunk; None when there is none that this caller may use."""
        candidates = self._index.xorbs_with_chunk(chunk)
        if not candidates:
            return None
        rights = XetRights(self._index, self._segments, self._readers, caller, self._clock)
        first = next(
            (one for xorb in candidates if (one := rights.of(xorb)) is not None and _offers(one, chunk)), None
        )
        if first is None:
            return None
        now, told, count = self._clock(), list[KnownXorb](), 0
        for known in self._with_neighbours(first, rights):
            count += _end(known)
            if told and count > _MOST_CHUNKS:
                break
            told.append(known)
        leased = {one.xorb: list(one.usable) for one in told}
        self._index.lease_xorbs(caller.key, leased, now + ANSWER_SECONDS + _SLACK_SECONDS, now)
        blocks = [ShardXorb(self._index.name_of_xorb(one.xorb), tuple(_leaves(one))) for one in told]
        return dedup_answer(blocks, secrets.token_bytes(32), int(now), int(now + ANSWER_SECONDS))

    def _with_neighbours(self, first: KnownXorb, rights: XetRights) -> Iterator[KnownXorb]:
        """The xorb, and the others of the files that need it: first those that come behind it."""
        yield first
        seen = {first.xorb}
        for file_id in rights.files_with(first.xorb)[:_MOST_FILES]:
            row = self._index.get_reconstruction(file_id)
            if row is None:
                continue
            xorbs = list(dict.fromkeys(term.xorb for term in row.terms))
            at = xorbs.index(first.xorb) if first.xorb in xorbs else 0
            for xorb in (*xorbs[at:], *xorbs[:at]):
                if xorb not in seen:
                    seen.add(xorb)
                    if (known := rights.of(xorb)) is not None:
                        yield known


def _end(known: KnownXorb) -> int:
    return known.usable[-1].end


def _offers(known: KnownXorb, chunk: XetHash) -> bool:
    return any(leaf == chunk and known.may_use(at, at + 1) for at, (leaf, _) in known.leaves.items())


def _leaves(known: KnownXorb) -> Iterator[Leaf]:
    """Its chunks, up to the last one that the caller may use; others are none that anybody has."""
    for number in range(_end(known)):
        if known.may_use(number, number + 1):
            yield known.leaves[number]
        else:
            yield XetHash(secrets.token_bytes(32)), 1
