"""Spans of content that is here and proven, whether it lies whole or in chunks."""

from __future__ import annotations

import os

from moongate.core.digests import Etag
from moongate.core.errors import StoreError
from moongate.core.spans import ByteSpan
from moongate.store.blobs import Blobs
from moongate.store.chunk_reader import ChunkReader
from moongate.store.index import Index, ReconstructionRow
from moongate.store.segments import Segments
from moongate.xet.reconstruction import cut_terms


class ContentLost(StoreError):
    """Content that should be here is not."""


class AtRest:
    """Reads small spans, at once and as a whole. Any thread; blocks."""

    def __init__(self, blobs: Blobs, segments: Segments, index: Index) -> None:
        self._blobs = blobs
        self._segments = segments
        self._index = index

    def read(self, etag: Etag, span: ByteSpan) -> bytes:
        """The bytes of a span that lies inside the content.

        Raises:
            ContentLost: they are not here.
            StoreError: they cannot be read.
        """
        fd = self._blobs.open(etag)
        if fd is not None:
            try:
                data = os.pread(fd, span.length, span.start)
            except OSError as error:
                raise StoreError(f"cannot read {etag}: {error.strerror}") from error
            finally:
                os.close(fd)
        else:
            data = self._from_chunks(etag, span)
        if len(data) != span.length:
            raise ContentLost(f"{etag} is shorter than it should be")
        return data

    def _from_chunks(self, etag: Etag, span: ByteSpan) -> bytes:
        row = self._index.by_etag(etag)
        if row is None or not row.verified:
            raise ContentLost(f"{etag} is not here")
        return self._cut(row, span)

    def _cut(self, row: ReconstructionRow, span: ByteSpan) -> bytes:
        cut = cut_terms(row.terms, span)
        found = bytearray()
        skip = cut.offset_bytes
        with ChunkReader(self._segments) as reader:
            for term in cut.terms:
                for chunk in reader.chunks(term.xorb, term.start, term.end):
                    if skip >= len(chunk):
                        skip -= len(chunk)
                        continue
                    found += chunk[skip:]
                    skip = 0
                    if len(found) >= span.length:
                        return bytes(found[: span.length])
        return bytes(found)
