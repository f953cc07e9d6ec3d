"""One bare repository on disk.

<folder>/                 HEAD, config, packed-refs, objects/pack: what git reads
├─ filling                there while objects come in; found at a start, it says that some are missing
└─ incoming/<id>/         a push that is not judged yet; `lock` in it is held by whoever judges
<folder>.lock             held while the folder changes (advisory lock)
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from moongate.core.errors import StoreError
from moongate.store.bare.programs import GitFailed, Programs
from moongate.wire.git_refs import is_ref_name

_PATIENCE_SECONDS = 600.0
_MOST_PACKS = 32
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
_NAME_BYTES = 40


class BareFolder:
    """A bare repository that git can serve, once it was made."""

    def __init__(self, path: Path, programs: Programs) -> None:
        self.path = path
        self.programs = programs

    @property
    def objects_dir(self) -> Path:
        return self.path / "objects"

    @property
    def pack_dir(self) -> Path:
        return self.objects_dir / "pack"

    @property
    def incoming_dir(self) -> Path:
        return self.path / "incoming"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the folder, across processes. Blocking.

        Raises:
            StoreError: others kept it for too long, or the disk refused.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot make a git folder: {error.strerror}") from error
        try:
            _lock(fd)
            yield
        finally:
            os.close(fd)

    def prepare(self) -> None:
        """Makes the folder, anew if a former filling broke off. Call it locked."""
        if self._filling.exists():
            self.remove()
        try:
            for directory in (self.pack_dir, self.path / "refs", self.incoming_dir):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, text in (("HEAD", "ref: refs/heads/main\n"), ("config", _CONFIG)):
                if not (self.path / name).exists():
                    self._replace(self.path / name, text)
        except OSError as error:
            raise StoreError(f"cannot make a git folder: {error.strerror}") from error

    @contextmanager
    def filled(self) -> Iterator[None]:
        """While objects come in whose links are not here yet. What breaks off is made anew next time."""
        self._filling.touch()
        yield
        self._filling.unlink(missing_ok=True)

    def refs_text(self) -> str | None:
        """The refs as they are written down; None: there is no folder yet."""
        try:
            return (self.path / "packed-refs").read_text()
        except FileNotFoundError:
            return None

    def write_refs(self, refs: Mapping[str, str]) -> None:
        """Puts these refs in place of the former ones, all at once."""
        self._replace(self.path / "packed-refs", refs_text(refs))

    def take_pack(self, pack: bytes) -> None:
        """Adds a pack that we made ourselves."""
        self.programs.run(self.path, "index-pack", "--stdin", sent=pack)

    def tidy(self) -> None:
        """Joins small packs once there are many, and removes what dead pushes left. Call it locked."""
        self._remove_dead_pushes()
        if sum(1 for _ in self.pack_dir.glob("*.pack")) > _MOST_PACKS:
            self.programs.run(self.path, "repack", "--geometric=2", "-d", "-q")

    def remove(self) -> None:
        """Makes the folder go. Again is free."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def probe(self) -> Iterator[Probe]:
        """Which objects are here, one question at a time."""
        with self.programs.piped(self.path, "cat-file", "--batch-check=%(objectname)") as git:
            assert git.stdin is not None and git.stdout is not None  # noqa: S101, PT018 - both are pipes
            yield Probe(git.stdin, git.stdout)

    @property
    def _filling(self) -> Path:
        return self.path / "filling"

    def _remove_dead_pushes(self) -> None:
        for folder in self.incoming_dir.glob("*"):
            if not is_alive(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _replace(self, path: Path, text: str) -> None:
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with temporary.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StoreError(f"cannot write to a git folder: {error.strerror}") from error


class Probe:
    """A git that says whether objects are there."""

    def __init__(self, questions: IO[bytes], answers: IO[bytes]) -> None:
        self._questions = questions
        self._answers = answers

    def has(self, oid: str) -> bool:
        """Whether this object is in the folder, also when it came a moment ago."""
        try:
            self._questions.write(f"{oid}\n".encode())
            self._questions.flush()
            answer = self._answers.readline()
        except OSError as error:
            raise GitFailed("cat-file", -1, str(error.strerror)) from error
        if not answer:
            raise GitFailed("cat-file", -1, "it ended early")
        return len(answer) == _NAME_BYTES + 1


def refs_text(refs: Mapping[str, str]) -> str:
    """Refs as git keeps them in one file. A name that git would not read is left out."""
    lines = (f"{oid} {name}\n" for name, oid in sorted(refs.items()) if is_ref_name(name))
    return "# pack-refs with: sorted\n" + "".join(lines)


def is_alive(folder: Path) -> bool:
    """Whether somebody holds the lock of a push's folder."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _lock(fd: int) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise StoreError("a git folder is kept busy by another process for too long") from None
            time.sleep(0.05)
