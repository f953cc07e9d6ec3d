"""Upstream as this room asks it: counted, never in offline mode, with coded errors in place of statuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamUnreachable
from moongate.core.names import CommitHash, RepoId, RepoPath
from moongate.hub.events import HubEvents, Purpose
from moongate.hub.rules import HubRules
from moongate.upstream.client import UpstreamAnswer, UpstreamClient
from moongate.wire.errors import error_from_answer
from moongate.wire.headers import FileHeaders

T = TypeVar("T")


class Asker:
    """The questions that can be put to upstream."""

    def __init__(
        self, upstream: UpstreamClient, rules: HubRules, events: HubEvents, clock: Callable[[], float]
    ) -> None:
        self._upstream = upstream
        self._rules = rules
        self._events = events
        self._clock = clock

    async def get(
        self,
        path_qs: str,
        credential: Secret | None,
        purpose: Purpose,
        *,
        about_repo: bool = True,
        any_success: bool = False,
        headers: Sequence[tuple[str, str]] = (),
    ) -> UpstreamAnswer:
        """Upstream's answer of 200, or of any 2xx when that is wanted.

        Raises:
            MoongateError: what another status means, or why there was no answer.
        """

        async def ask() -> UpstreamAnswer:
            answer = await self._upstream.get(path_qs, credential, headers)
            if any_success and 200 < answer.status < 300:
                return answer
            return _good(answer, credential, about_repo=about_repo)

        return await self._counted(purpose, ask)

    async def post(
        self, path_qs: str, body: bytes, content_type: str, credential: Secret | None, purpose: Purpose
    ) -> UpstreamAnswer:
        """As `get`, for the few questions that are POSTs."""

        async def ask() -> UpstreamAnswer:
            answer = await self._upstream.post(path_qs, body, content_type, credential)
            return _good(answer, credential, about_repo=True)

        return await self._counted(purpose, ask)

    async def head_file(
        self,
        repo: RepoId,
        commit_hash: CommitHash,
        path: RepoPath,
        credential: Secret | None,
        purpose: Purpose,
    ) -> FileHeaders:
        """What upstream says of one file; its success proves that the credential may read it."""

        async def ask() -> FileHeaders:
            return await self._upstream.head_file(repo, commit_hash, path, credential)

        return await self._counted(purpose, ask)

    async def _counted(self, purpose: Purpose, ask: Callable[[], Awaitable[T]]) -> T:
        if self._rules.offline:
            raise UpstreamUnreachable("this gateway is offline, and what you ask for is not kept here")
        began, error = self._clock(), None
        try:
            return await ask()
        except BaseException as caught:
            error = type(caught).__name__
            raise
        finally:
            self._events.asked_upstream(purpose, self._clock() - began, error)


def _good(answer: UpstreamAnswer, credential: Secret | None, *, about_repo: bool) -> UpstreamAnswer:
    if answer.status == 200:
        return answer
    raise error_from_answer(
        answer.status,
        answer.headers,
        answer.body,
        authenticated=credential is not None,
        about_repo=about_repo,
    )
