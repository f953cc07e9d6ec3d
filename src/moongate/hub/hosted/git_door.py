"""git's way into hosted repositories: who may, and then a fetch or a push."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from moongate.core.callers import Caller
from moongate.core.names import RepoId
from moongate.hub.hosted.fetches import Fetches
from moongate.hub.hosted.pushes import Pushed, Pushes
from moongate.hub.hosted.repos import HostedRepos
from moongate.wire.pkt_lines import PushHead


class GitDoor:
    """Fetches and pushes of hosted repositories. Belongs to one event loop.

    Every method raises what `HostedRepos.repo_for` does for who may not.
    """

    def __init__(self, repos: HostedRepos, fetches: Fetches, pushes: Pushes) -> None:
        self._repos = repos
        self._fetches = fetches
        self._pushes = pushes

    def hosts(self, repo: RepoId) -> bool:
        """Whether a repository of this name lives here, if it exists at all. A point read."""
        return self._repos.hosts(repo)

    def check(self, repo: RepoId, caller: Caller, *, writes: bool) -> None:
        """Return when this caller may fetch, or push. Some point reads."""
        self._repos.files_for(repo, caller, "write" if writes else "read")

    async def refs_to_fetch(self, repo: RepoId, caller: Caller, protocol: str) -> bytes:
        """What git offers to a fetch; see `Fetches.advertisement`."""
        return await self._fetches.advertisement(self._repos.files_for(repo, caller), protocol)

    async def fetch(
        self, repo: RepoId, caller: Caller, protocol: str, question: bytes
    ) -> AsyncGenerator[bytes]:
        """git's answer to a fetch's question; see `Fetches.answer`."""
        row = self._repos.files_for(repo, caller)
        async with aclosing(self._fetches.answer(row, protocol, question)) as pieces:
            async for piece in pieces:
                yield piece

    def refs_to_push(self, repo: RepoId, caller: Caller) -> Mapping[str, str]:
        """Every ref with its target, for who may push."""
        row = self._repos.repo_for(repo, caller, "write")
        return {ref.name: ref.target for ref in self._repos.refs(row)}

    async def push(
        self, repo: RepoId, caller: Caller, head: PushHead, pieces: AsyncIterator[bytes]
    ) -> Pushed:
        """What became of a push; see `Pushes.receive`."""
        return await self._pushes.receive(self._repos.repo_for(repo, caller, "write"), caller, head, pieces)
