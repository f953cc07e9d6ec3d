"""Clones and fetches: git itself answers, from a repository's folder, in the protocol the client speaks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress

import structlog

from moongate.hub.hosted.git_folders import GitFolders
from moongate.store.bare.process import GitProcess
from moongate.store.bare.programs import GitFailed, Programs, end, last_words
from moongate.store.index import HostedRow

_PIECE_BYTES = 256 << 10
_AT_ONCE = 8
_SAID_BYTES = 1 << 16
_DAMAGE = ("bad object", "corrupt", "could not read", "missing", "unable to read")
_NOT_THERE = re.compile(r"not our ref ([0-9a-f]{40})")

log = structlog.get_logger("moongate.git")


class Fetches:
    """Answers fetches."""

    def __init__(self, folders: GitFolders, programs: Programs, silence_seconds: float = 600.0) -> None:
        """`silence_seconds`: how long git may think before its next piece."""
        self._folders = folders
        self._programs = programs
        self._silence_seconds = silence_seconds
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def advertisement(self, row: HostedRow, protocol: str) -> bytes:
        """What git offers to a fetch. `protocol`: the client's `Git-Protocol`, checked; empty: the oldest.

        Raises:
            StoreError: the folder cannot be made, or git failed.
        """
        folder = await asyncio.to_thread(self._folders.ready, row)
        words = ("upload-pack", "--stateless-rpc", "--advertise-refs", str(folder.path))
        return await asyncio.to_thread(self._programs.run, folder.path, *words, more=_protocol(protocol))

    async def answer(self, row: HostedRow, protocol: str, question: bytes) -> AsyncGenerator[bytes]:
        """git's answer to a fetch's question, as it comes. Close it when nobody listens any more.

        What git itself refuses it tells the client, and the answer ends there.

        Raises:
            StoreError: the folder cannot be made, or git was stopped; also after some pieces.
        """
        async with self._turns:
            folder = await asyncio.to_thread(self._folders.ready, row)
            words = ("upload-pack", "--stateless-rpc", str(folder.path))
            git = await self._programs.start(folder.path, *words, more=_protocol(protocol))
            asking = asyncio.ensure_future(_ask(git.stdin, question))
            said = asyncio.ensure_future(git.stderr.read(_SAID_BYTES))
            try:
                async for piece in self._pieces(git):
                    yield piece
                code = await git.wait()
                words_said = last_words(await said)
            finally:
                end(git.pid, git.returncode)
                for task in (asking, said):
                    task.cancel()
                await asyncio.gather(asking, said, return_exceptions=True)
                await git.wait()
        if code:
            log.warning("a fetch failed", folder=folder.path.name, code=code, why=words_said)
            await asyncio.to_thread(self._mend, row, words_said)
        if code < 0:
            raise GitFailed("upload-pack", code, words_said)

    def _mend(self, row: HostedRow, words_said: str) -> None:
        """Has the folder made anew when git missed something that should be there."""
        absent = _NOT_THERE.search(words_said)
        tips = self._folders.tips(row) if absent else ()
        if any(word in words_said for word in _DAMAGE) or (absent and absent[1] in tips):
            self._folders.doubt(row)

    async def _pieces(self, git: GitProcess) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    piece = await git.stdout.read(_PIECE_BYTES)
            except TimeoutError:
                raise GitFailed("upload-pack", -1, "it took too long") from None
            if not piece:
                return
            yield piece


async def _ask(stdin: asyncio.StreamWriter, question: bytes) -> None:
    with suppress(ConnectionError):
        stdin.write(question)
        await stdin.drain()
        stdin.close()


def _protocol(protocol: str) -> Mapping[str, str]:
    return {"GIT_PROTOCOL": protocol} if protocol else {}
