"""Files that clients upload, until they are whole and verified: in one go, or in parts at their offsets.

Nothing here is ever read by anybody but the upload itself. A file that nobody continues goes by age.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from moongate.core.digests import Hasher
from moongate.core.errors import StoreFull
from moongate.store.layout import DATA_SUFFIX, TEMPORARY_SUFFIX, Layout

BLOCK_BYTES = 512
"""What `st_blocks` counts."""

_COPY_BYTES = 1 << 20


def uploading_bytes(layout: Layout) -> int:
    """What uploads under way take up on disk."""
    taken = 0
    with suppress(FileNotFoundError), os.scandir(layout.uploads_dir) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # it became whole, or was given up
                taken += entry.stat().st_blocks * BLOCK_BYTES
    return taken


class UploadFiles:
    """The uploads of one store, on local disk."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.uploads_dir

    def whole(self) -> UploadFile:
        """A new file for an upload in one go.

        Raises:
            StoreFull: it cannot be made.
        """
        return UploadFile(self._folder / f"{uuid.uuid4().hex}{TEMPORARY_SUFFIX}", 0, keep=False)

    def part(self, upload: str, offset: int) -> UploadFile:
        """A part of an upload, to be written from its offset on; other parts may be written meanwhile.

        Raises:
            StoreFull: its file cannot be made.
        """
        return UploadFile(self.path(upload), offset, keep=True)

    def path(self, upload: str) -> Path:
        """Where the parts of an upload are. It may not exist."""
        return self._folder / f"{upload}{DATA_SUFFIX}"

    def sha256(self, upload: str, size_bytes: int) -> str:
        """The hash of all of an upload's parts; empty when it has another length, or is not there."""
        hasher, position = hashlib.sha256(), 0
        buffer = memoryview(bytearray(_COPY_BYTES))
        try:
            with self.path(upload).open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    hasher.update(buffer[:count])
                    position += count
        except FileNotFoundError:
            return ""
        return hasher.hexdigest() if position == size_bytes else ""

    def drop(self, upload: str) -> None:
        """Give up an upload's parts. Again is free."""
        self.path(upload).unlink(missing_ok=True)


class UploadFile:
    """One file, or part of one, being written. Leaving it without `keep` takes it away again."""

    def __init__(self, path: Path, offset: int, *, keep: bool) -> None:
        self.path = path
        self.hasher = hashlib.sha256()
        self.along: Hasher | None = None
        """Another hasher that is given the same bytes."""
        self.written_bytes = 0
        self._offset = offset
        self._keep = keep
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFull(f"cannot keep an upload: {error.strerror}") from error

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes.

        Raises:
            StoreFull: the disk has no room for them.
        """
        view, at = memoryview(data), 0
        try:
            while at < len(view):
                at += os.pwrite(self._fd, view[at:], self._offset + self.written_bytes + at)
        except OSError as error:
            raise StoreFull(f"cannot keep an upload: {error.strerror}") from error
        self.hasher.update(view)
        if self.along is not None:
            self.along.update(view)
        self.written_bytes += len(view)

    def keep(self) -> None:
        """Leave the file where it is: it was adopted, or is one of several parts."""
        self._keep = True

    def __enter__(self) -> UploadFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        if not self._keep:
            self.path.unlink(missing_ok=True)
