"""git as a program: found, kept from everybody's settings, and bounded in memory, time and what it writes.

Nothing that a push brings is read by a git without these limits: a pack that unfolds without end ends its own
git and nothing else.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moongate.core.errors import StoreError
from moongate.store.bare.process import GitProcess

_CONFIG: Mapping[str, str] = {
    "safe.directory": "*",
    "core.alternateRefsCommand": "true",
    "core.bigFileThreshold": "16m",
    "core.compression": "1",
    "core.packedGitLimit": "256m",
    "core.packedGitWindowSize": "32m",
    "core.deltaBaseCacheLimit": "64m",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
    "pack.deltaCacheSize": "64m",
    "pack.writeReverseIndex": "true",
    "protocol.version": "2",
    "transfer.unpackLimit": "1",
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.allowFilter": "true",
    "uploadpack.advertiseBundleURIs": "false",
}
_KEPT_VARIABLES = ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
_LAST_WORDS_CHARS = 300


class GitFailed(StoreError):
    """git ended badly. `words` is what it said on stderr, at most a few hundred characters."""

    def __init__(self, doing: str, code: int, words: str) -> None:
        super().__init__(f"git {doing} ended with {code}: {words}")
        self.words = words
        self.code = code


class GitAbsent(StoreError):
    """The program git is not installed where this gateway runs."""

    def __init__(self) -> None:
        super().__init__("git is not installed where this gateway runs; install it to clone and push here")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one git may take."""

    memory_bytes: int = 1 << 30
    cpu_seconds: int = 600
    file_bytes: int = 8 << 30
    wall_seconds: float = 900.0


class Programs:
    """Runs git."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()

    def run(
        self, folder: Path, *words: str, sent: bytes = b"", more: Mapping[str, str] | None = None
    ) -> bytes:
        """What git prints. Blocking.

        Raises:
            GitFailed: it ended badly, or took too long.
            GitAbsent: it is not installed.
        """
        with self.piped(folder, *words, more=more) as git:
            try:
                out, said = git.communicate(sent, timeout=self.limits.wall_seconds)
            except subprocess.TimeoutExpired:
                raise GitFailed(words[0], -signal.SIGKILL, "it took too long") from None
        if git.returncode:
            raise GitFailed(words[0], git.returncode, last_words(said))
        return out

    @contextmanager
    def piped(
        self,
        folder: Path,
        *words: str,
        more: Mapping[str, str] | None = None,
        fed: IO[bytes] | None = None,
        out: IO[bytes] | None = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """git with pipes to its three ends; it is killed when the block ends before it does. Blocking.

        fed, out: files for what it reads and prints, instead of pipes.

        Raises:
            GitAbsent: it is not installed.
        """
        pipe = subprocess.PIPE
        git = subprocess.Popen(  # noqa: S603 - a program that we found, words that are ours or oids
            self._command(folder, words),
            env=self._environment(more or {}),
            stdin=pipe if fed is None else fed,
            stdout=pipe if out is None else out,
            stderr=pipe,
            start_new_session=True,
        )
        try:
            self._bound(git.pid)
            yield git
        finally:
            end(git.pid, git.poll())
            for end_of_pipe in (git.stdin, git.stdout, git.stderr):
                if end_of_pipe is not None:
                    with suppress(OSError):
                        end_of_pipe.close()
            git.wait()

    async def start(self, folder: Path, *words: str, more: Mapping[str, str] | None = None) -> GitProcess:
        """git with pipes to its three ends, for the event loop; see that it ends.

        Raises:
            GitAbsent: it is not installed.
        """
        pipe = subprocess.PIPE
        git = subprocess.Popen(  # noqa: S603, ASYNC220 - as in `piped`; it takes no longer than a fork
            self._command(folder, words),
            env=self._environment(more or {}),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            bufsize=0,
        )
        try:
            self._bound(git.pid)
            return await GitProcess.of(git)
        except BaseException:  # nobody else knows of it yet
            end(git.pid, git.poll())
            git.wait()
            raise

    def _command(self, folder: Path, words: Sequence[str]) -> list[str]:
        program = shutil.which("git")
        if program is None:
            raise GitAbsent
        return [program, f"--git-dir={folder}", *words]

    @staticmethod
    def _environment(more: Mapping[str, str]) -> dict[str, str]:
        """Nobody's settings but ours: no hook, no home, no proxy, no prompt."""
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        config = {"GIT_CONFIG_COUNT": str(len(_CONFIG))}
        for place, (key, value) in enumerate(_CONFIG.items()):
            config |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
        ours = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "HOME": os.devnull,
            "LC_ALL": "C.UTF-8",
        }
        return kept | config | ours | dict(more)

    def _bound(self, pid: int) -> None:
        """Sets the limits before git was fed anything; what it starts inherits them."""
        limits = self.limits
        with suppress(ProcessLookupError):
            for kind, most in (
                (resource.RLIMIT_AS, limits.memory_bytes),
                (resource.RLIMIT_CPU, limits.cpu_seconds),
                (resource.RLIMIT_FSIZE, limits.file_bytes),
                (resource.RLIMIT_CORE, 0),
            ):
                resource.prlimit(pid, kind, (most, most))


def end(pid: int, code: int | None) -> None:
    """Kills git and what it started, unless it ended by itself."""
    if code is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def last_words(said: bytes) -> str:
    """What git said at last, on one line."""
    line = " ".join(said.decode(errors="replace").split())
    return line[-_LAST_WORDS_CHARS:]
