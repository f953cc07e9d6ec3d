"""Writing a bundle: its members in their order, going on where an earlier attempt was broken off."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from moongate.core.digests import Etag, content_hasher
from moongate.core.errors import StoreError, VerificationFailed
from moongate.hub.bundle_file import END, MANIFEST, BadBundle, BundleReader, BundleWriter
from moongate.hub.bundle_words import CommitRecord, Manifest, XetSaid
from moongate.hub.bundle_xet import checked_json, segment_name, segment_pieces
from moongate.store.blobs import Blobs
from moongate.store.index import Index
from moongate.store.segments import Segments

_PIECE_BYTES = 1 << 20
_CONTENT = ("blob", "xet", "segment")


class BundleProgress(Protocol):
    """Who watches an export or import. Calls are cheap."""

    def planned(self, files: int, size_bytes: int) -> None:
        """So much content is to be carried."""

    def advanced(self, size_bytes: int) -> None:
        """So many more bytes are carried."""

    def finished(self, etag: Etag, carried: bool) -> None:
        """This content is done; `carried` unless it was there before."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One member with content: what writes it, its bytes of content, and the file that it completes."""

    write: Callable[[BundleWriter], None]
    size_bytes: int
    completes: Etag | None


def write_bundle(
    part: Path,
    manifest: Manifest,
    records: Sequence[CommitRecord],
    index: Index,
    blobs: Blobs,
    segments: Segments,
    progress: BundleProgress,
) -> None:
    """Write the whole bundle to `part`, or the rest of it.

    Raises:
        VerificationFailed: a file here is not what its name says.
        StoreError: a file was removed meanwhile.
        OSError: the disk took no more.
    """
    head = manifest.as_json()
    kept_bytes, done = _resumable(part, head)
    shelf = _Shelf(index, blobs, segments, progress)
    with part.open("r+b" if kept_bytes else "wb") as file:
        file.truncate(kept_bytes)
        file.seek(kept_bytes)
        writer = BundleWriter(file)
        if not kept_bytes:
            writer.add_json(MANIFEST, head)
        for number, step in enumerate(shelf.steps(manifest)):
            if number < done:
                progress.advanced(step.size_bytes)
            else:
                step.write(writer)
            if step.completes is not None:
                progress.finished(step.completes, number >= done)
        for record in records:
            body = record.as_json()
            writer.add_json(f"records/{hashlib.sha256(body).hexdigest()}.json", body)
        writer.add_json(END, end_json(head))
        writer.end()
        file.flush()
        os.fsync(file.fileno())


def end_json(head: bytes) -> bytes:
    """The last member of a bundle that begins with this manifest."""
    return orjson.dumps({"bundle_sha256": hashlib.sha256(head).hexdigest()})


class _Shelf:
    """Where content is taken from."""

    def __init__(self, index: Index, blobs: Blobs, segments: Segments, progress: BundleProgress) -> None:
        self._index = index
        self._blobs = blobs
        self._segments = segments
        self._progress = progress

    def steps(self, manifest: Manifest) -> Iterator[_Step]:
        """The members with content, in order."""
        for etag, size_bytes in manifest.blobs.items():
            yield self._blob(etag, size_bytes)
        for said in manifest.xet:
            yield from self._xet_file(said)

    def _blob(self, etag: Etag, size_bytes: int) -> _Step:
        def write(writer: BundleWriter) -> None:
            writer.add(
                f"blobs/{etag}", size_bytes, self._told(_verified_pieces(self._blobs, etag, size_bytes))
            )

        return _Step(write, size_bytes, etag)

    def _xet_file(self, said: XetSaid) -> Iterator[_Step]:
        def write(writer: BundleWriter) -> None:
            writer.add_json(f"xet/{said.file_id}.json", checked_json(self._index, self._segments, said))

        last = len(said.chunks)
        yield _Step(write, 0, None if last else said.etag)
        for number in range(last):
            yield self._segment(said, number, said.etag if number + 1 == last else None)

    def _segment(self, said: XetSaid, number: int, completes: Etag | None) -> _Step:
        xorb, chunks = said.chunks[number]

        def write(writer: BundleWriter) -> None:
            pieces = segment_pieces(self._segments, said.etag, xorb, chunks)
            writer.add(f"xorbs/{segment_name(xorb, chunks)}", chunks.span.length, self._told(pieces))

        return _Step(write, chunks.span.length, completes)

    def _told(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._progress.advanced(len(piece))
            yield piece


def _verified_pieces(blobs: Blobs, etag: Etag, size_bytes: int) -> Iterator[bytes]:
    fd = blobs.open(etag)
    if fd is None:
        raise StoreError(f"{etag} was removed while it was exported; try again")
    with os.fdopen(fd, "rb") as file:
        hasher, left = content_hasher(etag, size_bytes), size_bytes
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            hasher.update(piece)
            left -= len(piece)
            yield piece
        if left or hasher.hexdigest() != etag:
            raise VerificationFailed(f"{etag} in the store is not what its name says; run `moongate verify`")


def _resumable(part: Path, head: bytes) -> tuple[int, int]:
    """How many bytes of an earlier attempt at the same bundle are good, and how many members with content.

    The last whole one is written anew, since nobody knows how the attempt ended.
    """
    try:
        file = part.open("rb")
    except FileNotFoundError:
        return 0, 0
    with file:
        reader = BundleReader(file)
        ends: list[int] = []
        try:
            member = reader.next()
            if member.kind != "manifest" or reader.json_bytes(member) != head:
                return 0, 0
            reader.skip()
            ends.append(reader.position)
            while reader.next().kind in _CONTENT:
                reader.skip()
                ends.append(reader.position)
        except BadBundle:
            pass  # that is where it was broken off
        if not ends:
            return 0, 0
        done = max(0, len(ends) - 2)
        return ends[done], done
