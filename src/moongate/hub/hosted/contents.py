"""The content of hosted files: in the store, as a whole blob or as proven chunks.

Content is shared by all repositories, hosted or proxied. What a hosted one has is not evicted; between
looking whether it is here and the row that holds it, `claimed` keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.store.blobs import Blobs
from moongate.store.claims import Claims
from moongate.store.index import Index

_MOST_READ_BYTES: Final = 16 << 20

MakeRoom = Callable[[int], None]
"""Frees so many bytes, within the store's limits.

Raises:
    StoreFull: they cannot be had.
"""


class PublicUpstream:
    """Which content may be committed because everybody can read it in a repository of upstream's.

    What is public upstream may be had by anybody, so knowing its hash is enough; if it is here.
    """

    def __init__(self, index: Index, contents: Contents) -> None:
        self._index = index
        self._contents = contents

    def __call__(self, etag: Etag, caller: Caller) -> int | None:
        """The size of the content; None when no public repository of upstream's is known to have it."""
        for file in self._index.where_is(etag):
            facts = self._index.get_facts(file.repo)
            lives_here = self._index.get_hosted(file.repo) is not None
            if facts is not None and facts.files_are_public and not lives_here:
                return file.entry.size_bytes if self._contents.is_here(etag) else None
        return None


class Contents:
    """Contents by etag."""

    def __init__(
        self, blobs: Blobs, claims: Claims, index: Index, make_room: MakeRoom, clock: Callable[[], float]
    ) -> None:
        self._blobs = blobs
        self._claims = claims
        self._index = index
        self._clock = clock
        self.make_room = make_room

    def claimed(self) -> AbstractContextManager[None]:
        """While this is held, no content goes. Not to be nested; for moments, never while a client sends."""
        return self._claims.held()

    def is_here(self, etag: Etag) -> bool:
        """Whether the whole content is here, verified."""
        return self._blobs.size_bytes(etag) is not None or self.xet_hash(etag) is not None

    def xet_hash(self, etag: Etag) -> str | None:
        """The Xet id of content that is here in proven chunks."""
        return next(
            (file.file_id for file in self._index.xet_files_of(etag) if file.verified_at is not None), None
        )

    def read(self, oid: str) -> bytes | None:
        """A small regular file's bytes; None when it is not here, or not small."""
        fd = self._blobs.open(Etag(oid))
        if fd is None:
            return None
        try:
            size_bytes = os.fstat(fd).st_size
            return os.pread(fd, size_bytes, 0) if size_bytes <= _MOST_READ_BYTES else None
        finally:
            os.close(fd)

    def put(self, contents: Mapping[Etag, bytes]) -> None:
        """Keep small contents, whose etags were made of them; call it while `claimed`."""
        new = self._blobs.put_many(contents)
        self._index.put_blobs({etag: len(contents[etag]) for etag in new}, self._clock())

    def adopt(self, etag: Etag, size_bytes: int, path: Path) -> None:
        """Keep a file that was verified to be this content; it moves. Call it while `claimed`."""
        self._blobs.adopt(etag, path)
        self._index.put_blob(etag, size_bytes, self._clock())
