"""`Segments`: xorbs at rest, in runs of whole chunks, each stored once for all files and repositories.

    segment.py   a run of chunks, and its name       lead.py   who fetches it, and how it grows
    folder.py    one xorb's folder, and its lock     cut.py    giving up some of its chunks

Rules of this room:
- A segment's file is byte for byte that span of a xorb, as upstream packed it, or whoever uploaded it. It
  grows at its end; its length on disk is its progress, and it is complete when it is as long as its span. So
  a process may die at any moment.
- Where chunks end depends on who packed them, so one name stands for one packing. Upstream's goes by the
  xorb's hash; uploaded ones go by `packing_hash`, and never meet it.
- Segments of one xorb never overlap. What is asked for is first reduced by what is there or on its way; where
  chunks lie inside is known from the names of the neighbours.
- That bytes are here says nothing about their being right: a reconstruction that was verified says that.
- A reader holds a shared lock on the file it reads, and whatever frees room passes over it. By order
  (`force`) it goes all the same, and the reader ends on the bytes that it has open.
- Whoever is about to fetch puts the reconstruction into the index first and asks `missing` then: that way
  round, nothing that it needs is freed behind its back.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moongate.core.errors import BadName, StoreError, StoreFull, UpstreamBroken
from moongate.core.spans import ByteSpan
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.layout import Layout
from moongate.store.segments.cut import cut
from moongate.store.segments.folder import (
    bytes_here,
    chunk_ends,
    drop_if_empty,
    is_led,
    locked,
    segments_in,
    settle,
    tidy,
    try_flock,
    unlink,
)
from moongate.store.segments.lead import Lead, begin
from moongate.store.segments.segment import Segment, segment_at
from moongate.xet.hashes import XetHash, hash_hex, parse_hash

__all__ = ["ChunkRange", "Kept", "Lead", "Segment", "Segments", "chunk_ends"]

_REMEMBERED_XORBS = 50_000
_SETTLED_NS = 100_000_000  # a folder changed within one tick of the clock shows the same time twice
_ALL_BYTES_OF_A_XORB = 1 << 32


@dataclass(frozen=True, slots=True)
class Kept:
    """What `keep_only` did with one xorb. `busy`: segments left alone, because read or being fetched."""

    freed_bytes: int = 0
    busy: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A folder's segments, as they were when it had this time of change."""

    folder: str
    changed_ns: int
    settled: bool
    segments: tuple[Segment, ...]


class Segments:
    """The segments of one store, on local disk. Any number of threads and processes may share them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: dict[XetHash, _Seen] = {}
        self._lock = threading.Lock()

    # -- reading ---------------------------------------------------------------------------------------------

    def of(self, xorb: XetHash) -> tuple[Segment, ...]:
        """What lies here of a xorb, in order of its chunks, complete or growing. Costs one `stat`."""
        seen = self._seen.get(xorb)
        folder = self._folder(xorb) if seen is None else seen.folder
        try:
            changed_ns = os.stat(folder).st_mtime_ns
        except FileNotFoundError:
            self._seen.pop(xorb, None)
            return ()
        if seen is not None and seen.settled and seen.changed_ns == changed_ns:
            return seen.segments
        settled = time.time_ns() - changed_ns > _SETTLED_NS
        segments = segments_in(folder, xorb)
        with self._lock:
            while len(self._seen) >= _REMEMBERED_XORBS:
                del self._seen[next(iter(self._seen))]
            self._seen[xorb] = _Seen(folder, changed_ns, settled, segments)
        return segments

    def cover(self, xorb: XetHash, first: int, end: int) -> list[Segment]:
        """The segments that have some of these chunks, in order, complete or growing, perhaps with gaps."""
        return [one for one in self.of(xorb) if one.first < end and first < one.end]

    def open(self, segment: Segment) -> int | None:
        """A descriptor to read it, with a shared lock on it; None when it is not here (any more)."""
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        fcntl.flock(fd, fcntl.LOCK_SH)  # whoever has the other lock is only looking whether we have this one
        return fd

    def progress(self, segment: Segment) -> int:
        """How many of its bytes are here; 0 when it is gone, perhaps because others go on under another name.

        Who waits for a segment to grow, and sees nobody lead it, asks `missing` again.
        """
        return min(bytes_here(segment), segment.length)

    def is_complete(self, segment: Segment) -> bool:
        return bytes_here(segment) == segment.length

    def has(self, xorb: XetHash, first: int, end: int) -> bool:
        """Whether all these chunks are here."""
        for one in self.cover(xorb, first, end):
            if one.first > first or not self.is_complete(one):
                return False
            first = one.end
        return first >= end

    def iterate(self) -> Iterator[Segment]:
        """Every segment of the store, complete or not."""
        for xorb in self.xorbs():
            yield from segments_in(self._folder(xorb), xorb)

    def xorbs(self) -> Iterator[XetHash]:
        """Every xorb of which something may be here."""
        for shelf in sorted(_entries(str(self._layout.xorbs_dir))):
            for name in sorted(_entries(f"{self._layout.xorbs_dir}/{shelf}")):
                with suppress(BadName):
                    yield parse_hash(name)

    def stored_bytes(self) -> int:
        """What all segments take on disk. Walks every folder."""
        return sum(bytes_here(segment) for segment in self.iterate())

    # -- fetching --------------------------------------------------------------------------------------------

    def missing(self, xorb: XetHash, first: int, end: int, span: ByteSpan) -> list[Segment]:
        """What must still be fetched of chunks `first` up to `end`, which upstream says lie in `span`.

        What somebody is fetching right now counts as there, to be waited for. What came of a fetch that was
        given up is gone on with when it lies within these chunks, and otherwise kept up to its last whole
        chunk. In order; lead them one by one, and ask again when one cannot be led.

        Raises:
            UpstreamBroken: `span` cannot be, or does not go with what upstream said of its neighbours.
            StoreFull: the disk has no room for a folder.
        """
        if not (0 <= first < end and 0 <= span.start < span.end < _ALL_BYTES_OF_A_XORB):
            raise UpstreamBroken("upstream tells of a range of a xorb that cannot be")
        folder = self._folder(xorb)
        with locked(folder):
            gaps: list[Segment] = []
            at, start = first, span.start
            for one in self._usable(folder, xorb, first, end):
                if one.first >= at:
                    gaps += _gap(folder, xorb, at, one.first, start, one.span.start)
                    if bytes_here(one) != one.length and not is_led(one):
                        gaps.append(one)
                at, start = one.end, one.span.end
            if at <= end:
                gaps += _gap(folder, xorb, at, end, start, span.end)
        return gaps

    def _usable(self, folder: str, xorb: XetHash, first: int, end: int) -> Iterator[Segment]:
        """The segments with some of these chunks; abandoned ones that go beyond them are settled first."""
        for one in segments_in(folder, xorb):
            if one.first >= end or first >= one.end:
                continue
            within = first <= one.first and one.end <= end
            if within or bytes_here(one) == one.length or is_led(one):
                yield one
            elif (settled := settle(folder, one)) is not None and settled.end > first and settled.first < end:
                yield settled

    def try_lead(self, segment: Segment) -> Lead | None:
        """Become the one who fetches a segment.

        None when somebody else does, when it is complete, or when it would overlap another one by now: look
        at its progress, or ask `missing` again.

        Raises:
            StoreFull: its file cannot be made.
        """
        folder = self._folder(segment.xorb)
        with locked(folder, make=True):
            for one in segments_in(folder, segment.xorb):
                if one.first < segment.end and segment.first < one.end and one != segment:
                    return None
            return begin(segment, folder)

    # -- taking in -------------------------------------------------------------------------------------------

    def adopt(self, xorb: XetHash, chunks: ChunkRange, path: str) -> bool:
        """Make a file the segment of these chunks: it is moved in. False, and it stays, when all are here.

        What lies inside already must be cut from the same bytes; it gives way. Lease the chunks before, or
        they may be freed at any moment.

        Raises:
            StoreFull: it could not be made durable, or moved.
        """
        folder = self._folder(xorb)
        segment = segment_at(folder, xorb, chunks.first, chunks.end, chunks.span)
        try:
            _make_durable(path)
            with locked(folder, make=True):
                inside = [one for one in segments_in(folder, xorb) if one.path != segment.path]
                if self.has(xorb, chunks.first, chunks.end):
                    return False
                os.rename(path, segment.path)
                for one in inside:
                    unlink(one.path)
        except OSError as error:
            raise StoreFull(f"cannot keep a xorb: {error.strerror}") from error
        return True

    def make_durable(self, xorb: XetHash, first: int, end: int) -> None:
        """Have what lies here of these chunks on disk, whatever happens to the machine then.

        Raises:
            StoreFull: it could not be written.
        """
        for one in self.cover(xorb, first, end):
            try:
                with suppress(FileNotFoundError):
                    _make_durable(one.path)
            except OSError as error:
                raise StoreFull(f"cannot keep a segment: {error.strerror}") from error

    # -- freeing ---------------------------------------------------------------------------------------------

    def remove(self, segment: Segment, *, force: bool = False) -> int:
        """Free a segment and say how many bytes that was; 0 when it is not here, read, or being fetched.

        With `force`, readers do not save it: they finish on what they have open.
        """
        folder = self._folder(segment.xorb)
        with locked(folder) as there:
            if not there:
                return 0
            freed = _free(folder, segment, [], force=force)
            drop_if_empty(folder)
        return freed or 0

    def keep_only(
        self,
        xorb: XetHash,
        needed: Callable[[], Sequence[ChunkRange]],
        *,
        force: bool = False,
        idle_since: float = float("inf"),
    ) -> Kept:
        """Free what lies here of a xorb, but for the chunks that are needed (joined, in order).

        `needed` is asked with the xorb locked, so that who begins to need something a moment later finds
        what is left. What changed after `idle_since` stays, and so does what is read (unless by `force`) or
        being fetched.
        """
        folder = self._folder(xorb)
        freed_bytes = busy = 0
        with locked(folder) as there:
            if not there:
                return Kept()
            ranges = needed()
            for one in segments_in(folder, xorb):
                if not _is_idle(one, idle_since):
                    continue
                freed = _free(folder, one, ranges, force=force)
                busy += freed is None
                freed_bytes += freed or 0
            drop_if_empty(folder)
        return Kept(freed_bytes, busy)

    def is_busy(self, segment: Segment) -> bool:
        """Whether it is read or being fetched at this moment."""
        with locked(self._folder(segment.xorb)) as there:
            return there and (is_led(segment) or _is_read(segment))

    def tidy(self, older_than: float) -> tuple[int, int]:
        """Remove files that mean nothing and did not change since a time; how many, and their bytes."""
        count = freed_bytes = 0
        for xorb in self.xorbs():
            folder = self._folder(xorb)
            with locked(folder) as there:
                if there:
                    files, length = tidy(folder, xorb, older_than)
                    count, freed_bytes = count + files, freed_bytes + length
                    drop_if_empty(folder)
        return count, freed_bytes

    def touch(self, xorb: XetHash, now: float) -> None:
        """Let what lies here of a xorb count as changed now."""
        for one in segments_in(self._folder(xorb), xorb):
            with suppress(FileNotFoundError):
                os.utime(one.path, (now, now))

    def quarantine(self, segment: Segment, keep: Sequence[ChunkRange], why: str) -> Path | None:
        """Take a segment out of service, with a note; chunks that are known to be right stay.

        Where it lies now; None when it is not here any more.

        Raises:
            StoreError: it could not be moved.
        """
        directory = self._layout.quarantine_dir
        name = f"{hash_hex(segment.xorb)}_{segment.first}-{segment.end}"
        note = {
            "xorb": hash_hex(segment.xorb),
            "chunks": [segment.first, segment.end],
            "why": why,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        folder = self._folder(segment.xorb)
        try:
            with locked(folder) as there:
                if not there or not os.path.exists(segment.path):
                    return None
                target = directory / f"{name}.{1 + sum(1 for _ in directory.glob(f'{name}.*.json'))}"
                target.with_name(target.name + ".json").write_text(json.dumps(note) + "\n")
                if cut(folder, segment, keep, lambda path: os.rename(path, target)) is None:
                    os.rename(segment.path, target)
                drop_if_empty(folder)
        except OSError as error:
            raise StoreError(f"cannot quarantine a segment: {error.strerror}") from error
        return target

    def _folder(self, xorb: XetHash) -> str:
        return self._layout.xorb_name(hash_hex(xorb))


def _make_durable(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _gap(folder: str, xorb: XetHash, first: int, end: int, start: int, stop: int) -> list[Segment]:
    """What lies between two neighbours: a segment, or nothing when they touch."""
    if (first < end) != (start < stop) or start > stop:
        raise UpstreamBroken("upstream tells of one xorb in two ways")
    return [segment_at(folder, xorb, first, end, ByteSpan(start, stop))] if first < end else []


def _free(folder: str, segment: Segment, needed: Sequence[ChunkRange], *, force: bool) -> int | None:
    """Free what is not needed of a segment; bytes, or None when it was left alone. The lock is held."""
    keep = [one for one in needed if one.first < segment.end and segment.first < one.end]
    if len(keep) == 1 and keep[0].first <= segment.first and segment.end <= keep[0].end:
        return 0
    if is_led(segment) or (not force and _is_read(segment)):
        return None
    size_bytes = bytes_here(segment)
    if not keep:
        unlink(segment.path)
        return size_bytes
    if size_bytes == segment.length:
        return cut(folder, segment, keep)
    settled = settle(folder, segment)
    if settled is None:
        return size_bytes
    freed = _free(folder, settled, needed, force=force)
    return size_bytes - settled.length + (freed or 0)


def _is_read(segment: Segment) -> bool:
    try:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_flock(fd)
    finally:
        os.close(fd)


def _is_idle(segment: Segment, since: float) -> bool:
    try:
        return os.stat(segment.path).st_mtime < since
    except FileNotFoundError:
        return False


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
