"""Xorbs that clients send: proven while they are nobody's, then kept under a name of our own, and leased.

A xorb's hash says what its chunks are and not how they are packed, and two clients may pack them in two ways.
So an uploaded xorb is kept under a hash over both (`packing_hash`), where its bytes mean one thing for ever,
and no upload can get between upstream's packing of a xorb and those who read it.

It is visible to nobody but its uploader, until a file is made of it. The lease comes before the bytes: what
is neither needed nor leased may be freed at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from moongate.core.errors import BadRequest
from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.incoming import Incoming, WholeXorb, read_xorb
from moongate.store.index import ChunkRun, Index
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from moongate.xet.hashes import XetHash, packing_hash
from moongate.xet.shard import is_dedup_chunk
from moongate.xet.xorb import MAX_XORB_BYTES, MAX_XORB_CHUNKS, BadXorb

MAX_BODY_BYTES = MAX_XORB_BYTES + MAX_XORB_CHUNKS * 64
"""An old client sends a footer behind the chunks."""

BROUGHT_SECONDS = 86400.0
"""How long a xorb waits for the shard that makes a file of it."""

GRANTED_SECONDS = 3600.0
"""How long a xorb that came by a grant waits for its client to say so."""


class XorbUploads:
    """Takes xorbs in. All methods block; any thread may call them."""

    def __init__(
        self,
        layout: Layout,
        index: Index,
        segments: Segments,
        make_room: Callable[[int], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._layout = layout
        self._index = index
        self._segments = segments
        self._make_room = make_room
        self._clock = clock

    def begin(self, expected_bytes: int) -> Incoming:
        """A place for bytes that are about to come. Close it, whatever comes of it.

        Raises:
            StoreFull: there is no room for so many.
        """
        self._make_room(expected_bytes)
        return Incoming(self._layout)

    def take(self, incoming: Incoming, expected: XetHash, holder: str, *, seconds: float) -> None:
        """Keep a xorb for its holder, for so long, when it is the one that it was said to be.

        Raises:
            BadRequest: it is not, or is no xorb at all; nothing is kept.
            StoreFull: there is no room for it.
        """
        try:
            xorb = read_xorb(incoming)
        except BadXorb as error:
            raise BadRequest(f"Not a xorb: {error.message}.") from error
        if xorb.hash != expected:
            raise BadRequest("These chunks do not make the xorb of that hash.")
        incoming.shorten(xorb.ends[-1])
        self._keep(incoming, xorb, holder, self._clock() + seconds)

    def _keep(self, incoming: Incoming, xorb: WholeXorb, holder: str, until: float) -> None:
        name = packing_hash(xorb.hash, xorb.ends)
        chunks = ChunkRange(0, len(xorb.leaves), ByteSpan(0, xorb.ends[-1]))
        dedup = [chunk for chunk, _ in xorb.leaves if is_dedup_chunk(chunk, first_of_file=False)]
        self._index.lease_xorbs(holder, {name: [chunks]}, until, self._clock())
        self._index.put_chunks(name, xorb.hash, ChunkRun(0, xorb.leaves), dedup)
        self._segments.adopt(name, chunks, incoming.path)

    def claim(self, name: XetHash, holder: str, to: str, *, seconds: float) -> bool:
        """Give what a holder has of a xorb to another one; False when it has nothing of it."""
        now = self._clock()
        moved = [
            self._index.move_lease(holder, to, xorb, now + seconds, now)
            for xorb in self._index.xorbs_named(name)
        ]
        return any(moved)
