"""Content that was brought and is not yet in a commit.

However it came (LFS, Xet, git-lfs), finished content is noted by `uploaded`: from then on it stays for a
while although no commit lists it, and who brought it may commit it. Knowing a hash is not owning the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.rules import HostedRules
from moongate.store.index import HostedRow, Index
from moongate.wire.git_objects import blob_oid


class Elsewhere(Protocol):
    """Content of repositories that are not hosted: whether a caller may read it somewhere, and its size."""

    def __call__(self, etag: Etag, caller: Caller, /) -> int | None: ...


class Uploads:
    """Who brought what, and may therefore commit it."""

    def __init__(
        self,
        index: Index,
        places: Places,
        contents: Contents,
        rules: HostedRules,
        clock: Callable[[], float],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._index = index
        self._places = places
        self._contents = contents
        self._rules = rules
        self._clock = clock
        self._elsewhere = elsewhere

    def uploaded(self, row: HostedRow, caller_key: str, etag: Etag, size_bytes: int) -> None:
        """Note that a caller (by `Caller.key`) brought this content to a repository, whole and verified.

        Call it once the content is in the store and its rows are written. Again renews the lease.
        """
        until = self._clock() + self._rules.lease_seconds
        self._index.put_upload(row.number, caller_key, etag, size_bytes, until)

    def renew(self, row: HostedRow, caller_key: str, etag: Etag, size_bytes: int) -> bool:
        """Note, as `uploaded`, that a caller may commit content that is here; False: it is not here."""
        with self._contents.claimed():
            if not self._contents.is_here(etag):
                return False
            self.uploaded(row, caller_key, etag, size_bytes)
            return True

    def lend(self, source: HostedRow, row: HostedRow, caller: Caller, sha256: str) -> bool:
        """Let a caller who reads one repository commit a content of it to another; False: it has none."""
        blobs = self._index.hosted_blobs_with(source.number, Etag(sha256))
        return bool(blobs) and self.renew(row, caller.key, Etag(sha256), blobs[0].size_bytes)

    def bring(self, row: HostedRow, caller_key: str, files: Sequence[bytes]) -> list[str]:
        """Keep regular files that a caller brings to a repository; their oids, in order.

        Raises:
            StoreFull: there is no room.
        """
        oids = [blob_oid(content) for content in files]
        contents = {Etag(oid): content for oid, content in zip(oids, files, strict=True)}
        self._contents.make_room(sum(len(content) for content in contents.values()))
        held = self._index.hosted_blobs(row.number, contents)
        until = self._clock() + self._rules.lease_seconds
        with self._contents.claimed():
            self._contents.put(contents)
            sizes = {etag: len(content) for etag, content in contents.items() if etag not in held}
            self._index.put_uploads(row.number, caller_key, sizes, until)
        return oids

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
            if holder is not None and (holder is row or self._places.reads_files(holder, caller)):
                return self._index.hosted_blobs_with(number, etag)[0].size_bytes
        return None if self._elsewhere is None else self._elsewhere(etag, caller)
