"""Uploads through Xet to hosted repositories, in one place for whoever speaks HTTP.

XetUploads ── XorbUploads    takes xorbs in, proven and leased
     ├─────── ShardUploads   makes files of them, checked to the last byte
     ├─────── Dedup          says who has a chunk already
     └─────── XetRights      what a caller may use: theirs, and what they may read
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.names import RepoId
from moongate.hub.hosted.dedup import Dedup
from moongate.hub.hosted.shard_uploads import Progress, ShardUploads, Uploads
from moongate.hub.hosted.xet_rights import KnownXorb, Readers, XetRights
from moongate.hub.hosted.xorb_uploads import BROUGHT_SECONDS, GRANTED_SECONDS, MAX_BODY_BYTES, XorbUploads
from moongate.store.incoming import Incoming
from moongate.store.index import Index
from moongate.store.layout import Layout
from moongate.store.segments import Segments
from moongate.xet.hashes import XetHash, xorb_hash
from moongate.xet.shard import MAX_SHARD_BYTES
from moongate.xet.xorb import MAX_STORED_BYTES


class Access(Readers, Uploads, Protocol):
    """Says who may read and write, exactly as for a commit, and notes what was brought: see `XetAccess`."""

    def may_write(self, repo: RepoId, caller: Caller, *, pull_request: bool = False) -> None: ...


class XetUploads:
    """What clients may do when they write. All methods block; any thread may call them."""

    max_xorb_body_bytes = MAX_BODY_BYTES
    max_xorb_bytes = MAX_STORED_BYTES
    max_shard_bytes = MAX_SHARD_BYTES

    def __init__(
        self,
        layout: Layout,
        index: Index,
        segments: Segments,
        *,
        access: Access,
        make_room: Callable[[int], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._segments = segments
        self._access = access
        self._clock = clock
        self._xorbs = XorbUploads(layout, index, segments, make_room, clock)
        self._shards = ShardUploads(index, segments, access, access, clock)
        self._dedup = Dedup(index, segments, access, clock)

    def may_write(self, repo: RepoId, caller: Caller, *, pull_request: bool = False) -> None:
        """Return when this caller may upload to this repository, for a commit or for a pull request.

        Raises:
            NotAllowed, Absent: they may not, or it is not there for them.
        """
        self._access.may_write(repo, caller, pull_request=pull_request)

    # -- xorbs -----------------------------------------------------------------------------------------------

    def begin(self, expected_bytes: int) -> Incoming:
        """See `XorbUploads.begin`."""
        return self._xorbs.begin(expected_bytes)

    def has_xorb(self, xorb: XetHash, caller: Caller) -> bool:
        """Whether the caller need not send a xorb: all of it is here and theirs to use, and stays a while."""
        known = self._whole(xorb, caller)
        if known is None:
            return False
        now = self._clock()
        self._index.lease_xorbs(caller.key, {known.xorb: list(known.usable)}, now + BROUGHT_SECONDS, now)
        return True

    def xorb_bytes(self, xorb: XetHash, caller: Caller) -> int | None:
        """How long a xorb is that this caller may use; None when there is none."""
        known = self._whole(xorb, caller)
        return None if known is None else known.chunks(0, len(known.leaves)).span.length

    def _whole(self, xorb: XetHash, caller: Caller) -> KnownXorb | None:
        rights = XetRights(self._index, self._segments, self._access, caller, self._clock)
        for known in rights.named(xorb):
            leaves = [leaf for _, leaf in sorted(known.leaves.items())]
            if leaves and known.may_use(0, len(leaves)) and xorb in (xorb_hash(leaves), known.xorb):
                return known
        return None

    def take_xorb(self, sent: Incoming, xorb: XetHash, caller: Caller) -> bool:
        """Keep a xorb for its caller; False when they could use it before. Raises as `XorbUploads.take`."""
        known = self._whole(xorb, caller) is not None
        self._xorbs.take(sent, xorb, caller.key, seconds=BROUGHT_SECONDS)
        return not known

    def take_granted(self, sent: Incoming, xorb: XetHash, grant: str) -> None:
        """Keep a xorb that came by a grant, until `claim_granted`. Raises as `XorbUploads.take`."""
        self._xorbs.take(sent, xorb, _of_grant(grant), seconds=GRANTED_SECONDS)

    def claim_granted(self, xorb: XetHash, grant: str, caller: Caller) -> bool:
        """Give what came by a grant to its caller; False when nothing did. Again is free."""
        if self._xorbs.claim(xorb, _of_grant(grant), caller.key, seconds=BROUGHT_SECONDS):
            return True
        return self._whole(xorb, caller) is not None

    # -- files -----------------------------------------------------------------------------------------------

    def take_shard(self, shard: memoryview, repo: RepoId, caller: Caller, progress: Progress) -> bool:
        """See `ShardUploads.take`."""
        return self._shards.take(shard, repo, caller, progress)

    def dedup_answer(self, chunk: XetHash, caller: Caller) -> bytes | None:
        """See `Dedup.answer`."""
        return self._dedup.answer(chunk, caller)


def _of_grant(grant: str) -> str:
    return f"grant:{grant}"
