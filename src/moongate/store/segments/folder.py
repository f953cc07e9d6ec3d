"""One xorb's folder: its lock, what lies in it, and putting in order what a crash left.

Whoever adds, leads, cuts or removes segments holds the folder's lock while it does; the lock is an advisory
one on the folder itself. Readers need no lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from moongate.core.errors import StoreError, StoreFull
from moongate.store.segments.segment import CUT_SUFFIX, LEAD_SUFFIX, Segment, read_name, segment_at
from moongate.xet.hashes import XetHash
from moongate.xet.xorb import HEADER_BYTES, BadXorb, read_headers


@contextmanager
def locked(folder: str, *, make: bool = False) -> Iterator[bool]:
    """Hold a folder's lock; the value is False when there is no such folder, and then there is no lock.

    Raises:
        StoreFull: it cannot be made.
    """
    while True:
        fd = _open(folder, make)
        if fd is None:
            yield False
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink > 0:
                yield True
                return
        finally:
            os.close(fd)


def _open(folder: str, make: bool) -> int | None:
    while True:
        try:
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if not make:
                return None
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreFull(f"cannot keep a xorb: {error.strerror}") from error


def names_in(folder: str) -> list[str]:
    """The names of a folder's files; nothing when it is not there."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def segments_in(folder: str, xorb: XetHash) -> tuple[Segment, ...]:
    """Its segments in order of their chunks, complete or not; those that lie inside another are left out.

    A segment inside another was being cut out of it when a crash came; the larger one is complete then.
    """
    found = [one for name in names_in(folder) if (one := read_name(folder, xorb, name)) is not None]
    found.sort(key=lambda one: (one.first, -one.end))
    apart: list[Segment] = []
    for one in found:
        if not apart or one.first >= apart[-1].end:
            apart.append(one)
    return tuple(apart)


# -- with the folder's lock held only ------------------------------------------------------------------------


def is_led(segment: Segment) -> bool:
    """Whether somebody is fetching it at this moment."""
    try:
        fd = os.open(segment.path + LEAD_SUFFIX, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_flock(fd)
    finally:
        os.close(fd)


def try_flock(fd: int) -> bool:
    """Take a file's exclusive lock, unless somebody has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def bytes_here(segment: Segment) -> int:
    """The length of its file; 0 when there is none."""
    try:
        return os.stat(segment.path).st_size
    except FileNotFoundError:
        return 0


def unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def settle(folder: str, segment: Segment) -> Segment | None:
    """Make a complete segment of what came of one that nobody fetches any more; None when no chunk did.

    Its file loses what follows the last whole chunk, then it gets the name of what it has. Dying in between
    leaves a shorter file under the old name, which can be settled again.
    """
    unlink(segment.path + LEAD_SUFFIX)
    chunks, end = _whole_chunks(segment)
    if not chunks:
        unlink(segment.path)
        return None
    span = type(segment.span)(segment.span.start, segment.span.start + end)
    settled = segment_at(folder, segment.xorb, segment.first, segment.first + chunks, span)
    try:
        os.truncate(segment.path, end)
        os.rename(segment.path, settled.path)
    except OSError as error:
        raise StoreError(f"cannot settle a segment: {error.strerror}") from error
    return settled


def _whole_chunks(segment: Segment) -> tuple[int, int]:
    """How many whole chunks its file has, and where the last of them ends."""
    try:
        ends = chunk_ends(segment)
    except FileNotFoundError:
        return 0, 0
    # All its chunks but too few bytes, or too many chunks: one of the two was a lie, and nothing is certain.
    return (0, 0) if len(ends) - 1 >= segment.end - segment.first else (len(ends) - 1, ends[-1])


def chunk_ends(segment: Segment) -> list[int]:
    """Where its whole chunks lie in its file: the first begins at item 0, chunk i ends at item i + 1.

    Ends early at a header that makes no sense, or with the bytes that are there.
    """
    fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size_bytes = min(os.fstat(fd).st_size, segment.length)
        ends = [0]
        while (header := os.pread(fd, HEADER_BYTES, ends[-1])) and len(header) == HEADER_BYTES:
            end = ends[-1] + HEADER_BYTES + int.from_bytes(header[1:4], "little")
            if end > size_bytes or not _is_header(header):
                break
            ends.append(end)
        return ends
    finally:
        os.close(fd)


def _is_header(header: bytes) -> bool:
    stored = int.from_bytes(header[1:4], "little")
    try:
        return len(read_headers(memoryview(header + bytes(stored)))) == 1
    except BadXorb:
        return False


def tidy(folder: str, xorb: XetHash, older_than: float) -> tuple[int, int]:
    """Remove what means nothing: strangers, leftovers of a crash, segments longer than their span.

    Of files that did not change since a time. How many files, and the bytes that they took.
    """
    keep = {one.path: one for one in segments_in(folder, xorb)}
    count = freed_bytes = 0
    for name in names_in(folder):
        path = f"{folder}/{name}"
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        segment = keep.get(path.removesuffix(LEAD_SUFFIX))
        if segment is not None and path.endswith(LEAD_SUFFIX):
            useless = not is_led(segment)
        elif segment is not None:
            useless = status.st_size > segment.length
        else:
            useless = path.endswith(CUT_SUFFIX) or status.st_mtime < older_than
        if useless:
            unlink(path)
            count += 1
            freed_bytes += status.st_size
    return count, freed_bytes


def drop_if_empty(folder: str) -> None:
    """Remove a folder without files. Who waits for its lock finds out that it is gone."""
    with suppress(OSError):
        os.rmdir(folder)
