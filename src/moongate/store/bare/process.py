"""`GitProcess`: a running git for the event loop, with pipes to its three ends.

`subprocess` starts it, so that the child is git at once. The event loop's own way runs Python between fork
and exec, and there a lock that another thread held at the fork is held for ever.
"""

from __future__ import annotations

import asyncio
import subprocess
from typing import IO


class GitProcess:
    """What of `asyncio.subprocess.Process` is needed. See that it ends."""

    def __init__(
        self,
        git: subprocess.Popen[bytes],
        stdin: asyncio.StreamWriter,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader,
    ) -> None:
        self.pid = git.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._git = git

    @classmethod
    async def of(cls, git: subprocess.Popen[bytes]) -> GitProcess:
        """A git that was started with unbuffered pipes."""
        assert git.stdin and git.stdout and git.stderr  # noqa: S101, PT018 - pipes
        return cls(git, await _writer(git.stdin), await _reader(git.stdout), await _reader(git.stderr))

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._git.poll()

    async def wait(self) -> int:
        """How it ended, once it has. For one that has closed its pipes, or was killed: a thread waits."""
        code = await asyncio.to_thread(self._git.wait)
        self.stdin.close()
        return code


async def _reader(pipe: IO[bytes]) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def _writer(pipe: IO[bytes]) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
