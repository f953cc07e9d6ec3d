"""Journals: lines that a process hands to the kernel one by one, and that outlive it.

    folder/<word>.jsonl   held by the process that writes it (advisory lock); by nobody: it is gone
    folder/<word>.tmp     being made

A line is the kernel's when `append` returns: killing the process loses none. A power cut may lose the last
seconds, since nothing here is synced. Each line begins with its newline, so that one that a full disk tore
spoils no other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from moongate.core.errors import StoreError
from moongate.store.layout import PRIVATE_MODE

_SUFFIX: Final = ".jsonl"
_FILE_MODE: Final = 0o600


class Journal:
    """One process's. Its file is made with the first line; not before a fork."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._descriptor = -1

    def append(self, line: bytes) -> None:
        """Hands a line, without its newline, to the kernel.

        Raises:
            StoreError: it could not be written.
        """
        try:
            if self._descriptor < 0:
                self._path, self._descriptor = self._made(())
            _write(self._descriptor, b"\n" + line)
        except OSError as error:
            raise StoreError(f"cannot write to {self._folder}: {error.strerror}") from error

    def end(self) -> None:
        """Forgets all lines: what they told is kept elsewhere by now."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._path, self._descriptor = None, -1

    def renew(self, lines: Sequence[bytes]) -> Callable[[], None]:
        """Goes on in a new file that begins with these lines; call what is returned to forget the old one.

        Raises:
            StoreError: it could not be made; the old one goes on.
        """
        before, descriptor = self._path, self._descriptor
        try:
            self._path, self._descriptor = self._made(lines)
        except OSError as error:
            raise StoreError(f"cannot write to {self._folder}: {error.strerror}") from error

        def forget() -> None:
            if before is not None:
                before.unlink(missing_ok=True)
                os.close(descriptor)

        return forget

    def _made(self, lines: Sequence[bytes]) -> tuple[Path, int]:
        """A file that is held before anybody can find it."""
        self._folder.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
        unseen = self._folder / f"{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(unseen, flags, _FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _write(descriptor, b"".join(b"\n" + line for line in lines))
            path = unseen.with_suffix(_SUFFIX)
            unseen.rename(path)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                unseen.unlink()
            raise
        return path, descriptor


def _write(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def left_behind(folder: Path) -> Iterator[tuple[list[bytes], Callable[[], None]]]:
    """Every journal whose process is gone: its lines, and what forgets it. Nobody else gets it meanwhile.

    A line may be empty, or torn.
    """
    for path in sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else ():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else took it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                yield path.read_bytes().split(b"\n"), partial(path.unlink, missing_ok=True)
        except OSError:
            continue  # its process lives
        finally:
            os.close(descriptor)
