"""Sealed content: whole files that were verified, each under the name of its own hash.

A reader holds a shared advisory lock on the file it reads, so that eviction passes over it; removal by
order (`force`) unlinks all the same, and the reader ends on the bytes that it has open.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from moongate.core.digests import Etag, Hasher, content_hasher
from moongate.core.errors import StoreError, StoreFull, VerificationFailed
from moongate.store.layout import Layout

_COPY_BYTES = 1 << 20
_WRITERS = 8


class Blobs:
    """The sealed files of one store, on local disk. Any number of processes may share it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def open(self, etag: Etag) -> int | None:
        """A descriptor to read this content, with a shared lock on it; None when it is not here."""
        try:
            fd = os.open(self._layout.blob_name(etag), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # being evicted this very moment
            os.close(fd)
            return None
        return fd

    def size_bytes(self, etag: Etag) -> int | None:
        """Its length on disk; None when it is not here."""
        try:
            return self._layout.blob(etag).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, etag: Etag, *, force: bool = False) -> int:
        """Free this content and say how many bytes that was; 0 when it is not here or being read.

        With `force`, readers do not save it: they finish on what they have open.
        """
        path = self._layout.blob(etag)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            if not force:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return 0
            size_bytes = os.fstat(fd).st_size
            path.unlink(missing_ok=True)
            return size_bytes
        finally:
            os.close(fd)

    def quarantine(self, etag: Etag, why: str) -> Path:
        """Take content that is not what its name says out of service, with a note; where it lies now.

        Raises:
            StoreError: it could not be moved.
        """
        folder = self._layout.quarantine_dir
        number = 1 + sum(1 for _ in folder.glob(f"{etag}.*.json"))
        target = folder / f"{etag}.{number}"
        note = {"etag": etag, "why": why, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        try:
            target.with_name(target.name + ".json").write_text(json.dumps(note) + "\n")
            self._layout.blob(etag).rename(target)
        except OSError as error:
            raise StoreError(f"cannot quarantine a file: {error.strerror}") from error
        return target

    def iterate(self) -> Iterator[tuple[Etag, int, float]]:
        """Every sealed file: etag, length in bytes, time of its last change on disk."""
        for path in sorted(self._layout.blobs_dir.glob("*/*/*")):
            etag = self._layout.etag_of(path)
            if etag is None:
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield etag, status.st_size, status.st_mtime

    def add(self, etag: Etag, size_bytes: int, chunks: Iterator[bytes]) -> None:
        """Keep content that comes as a stream, when its hash is right. Present content is left as it is.

        Raises:
            VerificationFailed: the bytes are not what the etag says; nothing is kept.
            StoreFull: the disk has no room; nothing is kept.
        """
        temporary = self._layout.temporary(f"{etag}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                hasher, length = content_hasher(etag, size_bytes), 0
                for chunk in chunks:
                    hasher.update(chunk)
                    length += len(chunk)
                    file.write(chunk)
                if length != size_bytes or hasher.hexdigest() != etag:
                    raise VerificationFailed(f"{etag}: {length} bytes came, and they are not that content")
                file.flush()
                os.fsync(file.fileno())
            target = self._layout.blob(etag)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.rename(target)
        except OSError as error:
            raise StoreFull(f"cannot keep a file: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def put_many(self, contents: Mapping[Etag, bytes]) -> list[Etag]:
        """Keep small contents whose hashes were made of them just now; those that were not here.

        Raises:
            StoreFull: the disk has no room; what was kept by then stays, unknown to the index.
        """
        missing = [etag for etag in contents if self.size_bytes(etag) is None]
        if len(missing) > 1:
            with ThreadPoolExecutor(min(_WRITERS, len(missing)), thread_name_prefix="put") as pool:
                list(pool.map(lambda etag: self._put(etag, contents[etag]), missing))
        elif missing:
            self._put(missing[0], contents[missing[0]])
        return missing

    def adopt(self, etag: Etag, path: Path) -> None:
        """Seal a file that was written and verified elsewhere on this filesystem: it moves here.

        Raises:
            StoreFull: it could not be brought to disk; it stays where it is.
        """
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            target = self._layout.blob(etag)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            path.rename(target)
        except OSError as error:
            raise StoreFull(f"cannot keep a file: {error.strerror}") from error

    def _put(self, etag: Etag, content: bytes) -> None:
        temporary = self._layout.temporary(f"{etag}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            target = self._layout.blob(etag)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.rename(target)
        except OSError as error:
            raise StoreFull(f"cannot keep a file: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)


def hash_file(etag: Etag, fd: int, size_bytes: int) -> str:
    """The content hash of an open file, by the kind of hash that its etag is; constant memory.

    Empty when its length is not `size_bytes`.
    """
    hasher: Hasher = content_hasher(etag, size_bytes)
    buffer = memoryview(bytearray(_COPY_BYTES))
    position = 0
    while count := os.preadv(fd, [buffer], position):
        hasher.update(buffer[:count])
        position += count
    return hasher.hexdigest() if position == size_bytes else ""
