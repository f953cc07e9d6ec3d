"""Content that was brought and is not yet in a commit.

However it came (LFS, Xet, git-lfs), finished content is noted by `uploaded`: from then on it stays for a
while although no commit lists it, and who brought it may commit it. Knowing a hash is not owning the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.rules import HostedRules
from moongate.store.index import HostedRow, Index


class Elsewhere(Protocol):
    """Content of repositories that are not hosted: whether a caller may read it somewhere, and its size."""

    def __call__(self, etag: Etag, caller: Caller, /) -> int | None: ...


class Uploads:
    """Who brought what, and may therefore commit it."""

    def __init__(
        self,
        index: Index,
        places: Places,
        rules: HostedRules,
        clock: Callable[[], float],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._index = index
        self._places = places
        self._rules = rules
        self._clock = clock
        self._elsewhere = elsewhere

    def uploaded(self, row: HostedRow, caller_key: str, etag: Etag, size_bytes: int) -> None:
        """Note that a caller (by `Caller.key`) brought this content to a repository, whole and verified.

        Call it once the content is in the store and its rows are written. Again renews the lease.
        """
        until = self._clock() + self._rules.lease_seconds
        self._index.put_upload(row.number, caller_key, etag, size_bytes, until)

    def may_commit(self, row: HostedRow, caller: Caller, etag: Etag) -> int | None:
        """The size of content that a caller may commit to a repository; None when they may not.

        They brought it, or it stands in a repository that they may read: this one, another hosted one, or a
        proxied one whose content is here.
        """
        size_bytes = self._index.upload(row.number, caller.key, etag, self._clock())
        if size_bytes is not None:
            return size_bytes
        for number in self._index.holders(etag):
            holder = row if number == row.number else self._index.get_hosted_number(number)
            if holder is not None and (holder is row or self._places.role_of(holder, caller) is not None):
                return self._index.hosted_blobs_with(number, etag)[0].size_bytes
        return None if self._elsewhere is None else self._elsewhere(etag, caller)
