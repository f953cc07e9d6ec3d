"""Drafts of policy files, kept for whoever tries them until they are done with: one per person and file.

    <home>/drafts/<32 hex: of the user and the file's name>

A draft is nobody else's, and holds nothing until somebody copies it to where rules live.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from moongate.core.errors import StoreError

_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Draft:
    """What was written, and when."""

    text: str
    kept_at: float


class Drafts:
    """Blocks. Any process of a home finds those of every other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, user: str, file: str) -> Draft | None:
        """Somebody's draft of a file."""
        path = self._path(user, file)
        try:
            return Draft(path.read_text(encoding="utf-8"), path.stat().st_mtime)
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def keep(self, user: str, file: str, text: str) -> None:
        """Keep it in place of the one before.

        Raises:
            StoreError: it cannot be written.
        """
        path = self._path(user, file)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StoreError(f"the draft cannot be kept: {error.strerror}") from error
        self._forget_oldest()

    def drop(self, user: str, file: str) -> None:
        """Forget it, if there is one."""
        self._path(user, file).unlink(missing_ok=True)

    def _path(self, user: str, file: str) -> Path:
        return self._folder / hashlib.sha256(f"{user}\0{file}".encode()).hexdigest()[:32]

    def _forget_oldest(self) -> None:
        aged = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process was faster
                aged.append((path.stat().st_mtime, path))
        for _, path in sorted(aged)[:-_MOST]:
            path.unlink(missing_ok=True)
