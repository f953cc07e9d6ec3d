"""A push's objects, apart from the folder until they are judged.

git takes the pack in, under limits, where nobody serves from. Then its objects are listed, and read one at a
time. Nobody sees anything of it before `settle`; a death leaves a directory that the next tidying takes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moongate.core.errors import BadRequest
from moongate.store.bare.folder import BareFolder
from moongate.store.bare.process import GitProcess
from moongate.store.bare.programs import GitFailed, end, last_words
from moongate.wire.git_objects import OBJECT_KINDS, ObjectKind
from moongate.wire.pkt_lines import objects_announced

_FSCK = (
    "missingEmail=ignore,missingSpaceBeforeDate=ignore,badDate=ignore,badDateOverflow=ignore,badTimezone=ignore,"
    "zeroPaddedFilemode=ignore,missingNameBeforeEmail=ignore,badEmail=ignore,badName=ignore"
)
"""What old programs wrote, and nobody can mend without a new history."""


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object that a push brings. `path`: one place where it stands; empty for commits, tags and roots."""

    oid: str
    kind: ObjectKind
    size_bytes: int
    path: str


class Quarantine:
    """One push's objects. Use it as a context: what did not settle goes."""

    def __init__(self, folder: BareFolder, *, max_pack_bytes: int, max_objects: int) -> None:
        self._folder = folder
        self._max_pack_bytes = max_pack_bytes
        self._max_objects = max_objects
        self._path = folder.incoming_dir / uuid.uuid4().hex
        self._lock: int | None = None

    def __enter__(self) -> Quarantine:
        self._pack_dir.mkdir(mode=0o700, parents=True)
        self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    async def take(self, pieces: AsyncIterator[bytes]) -> None:
        """Lets git take in the pack that comes in these pieces, and reads them to their end.

        Raises:
            BadRequest: it is no pack, too large, of too many objects, broken off, or git would not have it.
            GitAbsent: git is not installed.
        """
        git = await self._folder.programs.start(
            self._folder.path,
            "index-pack",
            "--stdin",
            "--fix-thin",
            f"--strict={_FSCK}",
            f"--max-input-size={self._max_pack_bytes}",
            more=self._environment,
        )
        said = asyncio.gather(git.stderr.read(1 << 16), git.stdout.read(1 << 16))
        try:
            await self._feed(git, pieces)
            async with asyncio.timeout(self._folder.programs.limits.wall_seconds):
                words, _ = await said
                code = await git.wait()
        except TimeoutError:
            raise BadRequest("this push takes too long to be unpacked") from None
        finally:
            end(git.pid, git.returncode)
            said.cancel()
            with suppress(asyncio.CancelledError):
                await said
            await git.wait()
        if code:
            raise BadRequest(f"this push cannot be unpacked: {_why(code, words)}")

    async def _feed(self, git: GitProcess, pieces: AsyncIterator[bytes]) -> None:
        """Hands the pack on. When git has enough of it, the rest is dropped, so that we can answer."""
        start, count, length = bytearray(), None, 0
        async for piece in pieces:
            length += len(piece)
            if length > self._max_pack_bytes:
                raise BadRequest(f"a push brings at most {self._max_pack_bytes} bytes; push less at a time")
            if count is None:
                start += piece[:12]
                count = objects_announced(start)
                if count is not None and count > self._max_objects:
                    raise BadRequest(
                        f"a push brings at most {self._max_objects} objects; push less at a time"
                    )
            if git.stdin.is_closing():
                continue
            with suppress(ConnectionError):
                git.stdin.write(piece)
                await git.stdin.drain()
        if count is None:
            raise BadRequest("a push without its pack")
        git.stdin.close()

    def list_new(self, tips: Sequence[str]) -> None:
        """Finds the objects that these commits and tags lead to and the folder's refs do not. Blocking.

        Raises:
            BadRequest: something that they lead to is nowhere.
        """
        words = ("rev-list", "--objects", "--stdin", "--not", "--all")
        with self._listing.open("wb") as names:
            self._run(words, out=names, sent="".join(f"{tip}\n" for tip in tips).encode())
        shape = "--batch-check=%(objecttype) %(objectsize) %(objectname) %(rest)"
        with self._listing.open("rb") as names, self._described.open("wb") as described:
            self._run(("cat-file", "--buffer", shape), fed=names, out=described)

    def new_objects(self) -> Iterator[NewObject]:
        """What `list_new` found, one at a time; may be asked for again. Blocking."""
        with self._described.open("rb") as file:
            for line in file:
                yield _new_object(line.decode(errors="replace").rstrip("\n"))

    def _run(
        self,
        words: tuple[str, ...],
        *,
        out: IO[bytes],
        fed: IO[bytes] | None = None,
        sent: bytes | None = None,
    ) -> None:
        programs = self._folder.programs
        with programs.piped(self._folder.path, *words, more=self._environment, fed=fed, out=out) as git:
            try:
                _, said = git.communicate(sent, programs.limits.wall_seconds)
            except subprocess.TimeoutExpired:
                raise BadRequest("this push takes too long to be looked at") from None
        if git.returncode:
            raise BadRequest(f"this push is not whole: {_why(git.returncode, said)}")

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Objects of the push and the folder, one question at a time. Blocking."""
        words = ("cat-file", "--batch")
        with self._folder.programs.piped(self._folder.path, *words, more=self._environment) as git:
            assert git.stdin is not None and git.stdout is not None  # noqa: S101, PT018 - both are pipes
            yield Reader(git.stdin, git.stdout)

    def settle(self) -> None:
        """Moves the push's packs into the folder. Call it with the folder locked."""
        # the index of a pack comes last: without it git does not look at the pack
        for suffix in ("*.pack", "*.rev", "*.idx"):
            for path in self._pack_dir.glob(suffix):
                path.chmod(0o444)
                path.rename(self._folder.pack_dir / path.name)

    @property
    def _listing(self) -> Path:
        return self._path / "listing"

    @property
    def _described(self) -> Path:
        return self._path / "described"

    @property
    def _pack_dir(self) -> Path:
        return self._path / "objects" / "pack"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "GIT_OBJECT_DIRECTORY": str(self._path / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(self._folder.objects_dir)),
        }


class Reader:
    """A git that hands out objects."""

    def __init__(self, questions: IO[bytes], answers: IO[bytes]) -> None:
        self._questions = questions
        self._answers = answers

    def read(self, oid: str) -> tuple[ObjectKind, bytes]:
        """An object, whole; its size should be known.

        Raises:
            BadRequest: there is none of that name.
        """
        try:
            self._questions.write(f"{oid}\n".encode())
            self._questions.flush()
            answer = self._answers.readline().decode().split()
            kind = _kind(answer[1]) if len(answer) == 3 else None
            if kind is None:
                raise BadRequest(f"this push is not whole: it lacks {oid}")
            body = self._answers.read(int(answer[2]) + 1)
        except OSError as error:
            raise GitFailed("cat-file", -1, str(error.strerror)) from error
        if len(body) != int(answer[2]) + 1:
            raise GitFailed("cat-file", -1, "it ended early")
        return kind, body[:-1]


def _new_object(line: str) -> NewObject:
    """A line of kind, size, oid and path; of oid and `missing` when it is nowhere."""
    kind_word, _, rest = line.partition(" ")
    kind = _kind(kind_word)
    if kind is None:
        raise BadRequest(f"this push is not whole: it lacks {kind_word[:40]}")
    size, oid, path = (*rest.split(" ", 2), "")[:3]
    return NewObject(oid, kind, int(size), path)


def _kind(word: str) -> ObjectKind | None:
    return next((kind for kind in OBJECT_KINDS if word == kind), None)


def _quoted(path: str) -> str:
    """A path in a list that is separated by colons."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _why(code: int, said: bytes) -> str:
    words = last_words(said)
    if code < 0 and not words:
        return "it needs more memory or time than a push may take"
    return words or f"git ended with {code}"
