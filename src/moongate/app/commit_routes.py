"""Commits to hosted repositories: the question before, and the commit itself, read line by line.

Regular files are brought into the store as their lines come, some at a time, so that a commit of a thousand
files takes no more memory than its largest ones. Nothing of it is seen before the commit lands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal
from urllib.parse import parse_qs

import orjson
from aiohttp import hdrs, web

from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.passing import accept_body, body_pieces
from moongate.app.replies import JSON_TYPE, Reply
from moongate.core.callers import Caller
from moongate.core.errors import AuthRequired, BadRequest, ScopeMissing
from moongate.core.names import RepoId, parse_revision
from moongate.hub.hosted.drafts import Draft
from moongate.hub.hosted.repos import HostedRepos
from moongate.wire.commit_lines import read_line
from moongate.wire.preupload import read_preupload

MAX_LINE_BYTES: Final = 64 << 20
"""A regular file of 10 MB takes a line of 14 MB; some clients send longer ones in line."""

_MAX_QUESTION_BYTES: Final = 16 << 20
_INLINE_BYTES: Final = 256 << 10


class CommitRoutes:
    """The two steps of a commit that are asked of the repository itself."""

    def __init__(self, hosted: HostedRepos, base_url: Callable[[web.BaseRequest], str]) -> None:
        self._hosted = hosted
        self._base_url = base_url

    async def preupload(self, exchange: Exchange, repo: RepoId, revision: str) -> web.StreamResponse:
        """How each of some files is to be sent."""
        allow(exchange, "POST")
        row = self._hosted.repo_for(repo, exchange.caller, self._wanted(exchange))
        question = read_preupload(await read_body(exchange, _MAX_QUESTION_BYTES))
        answer = self._hosted.preupload.answer
        told = await asyncio.to_thread(answer, row, parse_revision(revision), question)
        return Reply(200, (JSON_TYPE,), orjson.dumps(told), request_id=exchange.request_id)

    async def commit(self, exchange: Exchange, repo: RepoId, revision: str) -> web.StreamResponse:
        """A commit on a branch, or (`create_pr`) a pull request that begins with it."""
        allow(exchange, "POST")
        caller = exchange.caller
        row = self._hosted.repo_for(repo, caller, self._wanted(exchange))
        create_pr = wants_pull_request(exchange)
        draft = Draft(self._hosted.uploads, row, caller)
        async for line in _lines(exchange):
            draft.take(
                read_line(line) if len(line) < _INLINE_BYTES else await asyncio.to_thread(read_line, line)
            )
            if draft.is_heavy:
                await asyncio.to_thread(draft.bring)
        await asyncio.to_thread(draft.bring)
        made = await asyncio.to_thread(
            self._hosted.commit, row, parse_revision(revision), draft.request(), caller, create_pr=create_pr
        )
        exchange.tell(
            "repo.commit", repo, commit_hash=made.commit_hash, subject=revision, details={"way": "api"}
        )
        url = f"{self._base_url(exchange.request)}{row.repo.file_path}"
        told: dict[str, object] = {
            "success": True,
            "commitOid": made.commit_hash,
            "commitUrl": f"{url}/commit/{made.commit_hash}",
            "hookOutput": "",
        }
        if made.pull_request is not None:
            told["pullRequestUrl"] = f"{url}/discussions/{made.pull_request}"
        return Reply(200, (JSON_TYPE,), orjson.dumps(told), request_id=exchange.request_id)

    @staticmethod
    def _wanted(exchange: Exchange) -> Literal["read", "write"]:
        """What a caller must be allowed: who may read may open a pull request, with a token that writes."""
        if not wants_pull_request(exchange):
            return "write"
        may_speak(exchange.caller)
        return "read"


def wants_pull_request(exchange: Exchange) -> bool:
    """Whether the query asks for a pull request."""
    return parse_qs(exchange.query).get("create_pr", ["0"])[-1].lower() in ("1", "true")


def may_speak(caller: Caller) -> None:
    """Return when a caller may open discussions and pull requests, and comment, where they can read.

    Raises:
        AuthRequired, ScopeMissing: they may not.
    """
    if caller.is_operator:
        return
    if caller.kind == "anonymous":
        raise AuthRequired("This needs a token: set HF_TOKEN to one that may write.")
    if caller.kind != "token" or caller.scope == "read":
        raise ScopeMissing("This token only reads; this needs one with scope write.")


async def _lines(exchange: Exchange) -> AsyncIterator[bytes]:
    """The body's lines that hold something; none longer than `MAX_LINE_BYTES`."""
    request = exchange.request
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise BadRequest("A commit is sent without Content-Encoding.")
    await accept_body(request)
    started: list[bytes] = []
    size_bytes = 0
    async for piece in body_pieces(request):
        *whole, rest = piece.split(b"\n")
        for end in whole:
            line = b"".join([*started, end])
            started, size_bytes = [], 0
            if line.strip():
                yield line
        started.append(rest)
        size_bytes += len(rest)
        if size_bytes > MAX_LINE_BYTES:
            raise BadRequest(f"a line of the commit is longer than {MAX_LINE_BYTES} bytes; use LFS")
    line = b"".join(started)
    if line.strip():
        yield line
