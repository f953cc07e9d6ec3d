"""Questions to upstream and requests passed through, over aiohttp.

Rules:

- Every redirect is followed by hand, at most five, each checked by the guard. A credential goes to the
  origin only, and once a redirect has left the origin it is not sent again, wherever the next one leads.
- Questions (`get`, `post`, `head_file`) are tried twice when the connection fails or upstream says 502, 503
  or 504, and have one deadline for all tries, redirects and bytes. Streams are passed as they come, once;
  a silent one is given up.
- A 429 closes its bucket for everybody in this process until upstream's own time is up (see `limits`).
- Answers are bounded: 64 MiB of body, 32 KiB of a header line.
- Error texts name hosts, never paths, queries or headers.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from moongate.core.callers import Secret
from moongate.core.errors import (
    BadRequest,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from moongate.core.names import RepoId
from moongate.upstream.guard import AddressGuard, redirected
from moongate.upstream.limits import PATIENCE_SECONDS, Limits, bucket_of
from moongate.upstream.transport import Transport, read_body, read_pieces
from moongate.wire.bearer import basic, bearer
from moongate.wire.errors import error_from_answer, wait_seconds
from moongate.wire.headers import FileHeaders, read_file_headers

MAX_BODY_BYTES = 64 << 20
MAX_REDIRECTS = 5

_TRIES = 2
_BACKOFF_SECONDS = 0.25
# A question's deadline, and a stream's longest silence, in units of the timeout for one step.
_QUESTION_STEPS = 6
_SILENCE_STEPS = 6
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING_TROUBLE = (502, 503, 504)
_MAX_REDIRECT_BODY_BYTES = 64 << 10
_GIT_SUFFIXES = ("/info/refs", "/git-upload-pack", "/git-receive-pack")
_KEPT = "!\"#$%&'()*+,/:;<=>?@[]^`{|}~"
# Ours to set, or meaningless on another connection.
_NOT_FORWARDED = frozenset(
    ("authorization", "connection", "cookie", "expect", "host", "keep-alive", "proxy-authorization")
) | frozenset(("te", "trailer", "transfer-encoding", "upgrade"))
# What another host than the origin may see.
_HARMLESS = frozenset(
    ("accept", "accept-encoding", "if-match", "if-none-match", "if-range", "range", "user-agent")
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DECODED = ("Content-Encoding", "Content-Length", "Transfer-Encoding")


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A complete answer. `headers` are looked up in any case; `body` is decoded.

    `final_path` is the path and query at the origin where redirects ended, which differs from the one asked
    when a repository was renamed.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    final_path: str

    def json(self) -> object:
        """The body's JSON.

        Raises:
            UpstreamBroken: it is none.
        """
        try:
            told: object = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise UpstreamBroken("upstream's answer is malformed JSON") from None
        return told


@dataclass(frozen=True, slots=True)
class UpstreamStream:
    """An answer on its way: status and headers are here, the body comes by `chunks`, still encoded."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    final_path: str
    _response: aiohttp.ClientResponse = field(repr=False)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            UpstreamUnreachable: it broke off.
            UpstreamTimeout: it went silent.
        """
        return read_pieces(self._response)


Following = Literal["everywhere", "inside", "resend", "hand-back"]
"""How far a request follows redirects.

`everywhere`: to every allowed host. `inside`: within the origin, stopping at one that leaves it. `resend`:
within the origin, with its body; others are refused. `hand-back`: not at all, and those that leave the origin
are refused.
"""


class _Request(NamedTuple):
    method: str
    headers: CIMultiDict[str]
    body: bytes | AsyncIterator[bytes] | None
    following: Following


class _Ended(NamedTuple):
    """Where following redirects ended. `next_url` is set when it stopped at a redirect."""

    response: aiohttp.ClientResponse
    final_path: str
    next_url: str | None


class UpstreamClient:
    """Speaks to one upstream. Belongs to one event loop; close it when done.

    Args:
        origin: upstream's address; may end in a path prefix.
        timeout_seconds: for connecting, and for each silence while a question is answered.
        offline: never connect; every request is `UpstreamUnreachable`.
    """

    def __init__(
        self,
        origin: str,
        guard: AddressGuard,
        *,
        timeout_seconds: float,
        user_agent: str,
        offline: bool = False,
    ) -> None:
        self._base = origin.rstrip("/")
        self._prefix = urlsplit(self._base).path
        self._guard = guard
        self._timeout_seconds = timeout_seconds
        self._user_agent = user_agent
        self._offline = offline
        self._limits = Limits()
        self._transport = Transport(guard)

    async def get(
        self, path_qs: str, credential: Secret | None, headers: Iterable[tuple[str, str]] = ()
    ) -> UpstreamAnswer:
        """Upstream's answer to a GET of this raw path and query, redirects followed; any status below 500.

        Raises:
            UpstreamBusy: 429, or the limit is known to be used up.
            UpstreamUnreachable, UpstreamTimeout: no connection, no answer in time, or a 5xx.
            UpstreamRefused: a redirect that policy forbids, or too many.
            UpstreamBroken: an answer that is not HTTP or absurdly large.
        """
        wanted = CIMultiDict([("Accept-Encoding", "gzip, deflate"), *_forwarded(headers)])
        return await self._asked(_Request("GET", wanted, None, "everywhere"), path_qs, credential)

    async def post(
        self, path_qs: str, body: bytes, content_type: str, credential: Secret | None
    ) -> UpstreamAnswer:
        """Upstream's answer to a POST that only asks, and so may be repeated; otherwise as `get`.

        A 307 or 308 within the origin is followed with the body.
        """
        wanted = CIMultiDict([("Content-Type", content_type), ("Accept-Encoding", "gzip, deflate")])
        if content_type.startswith("application/vnd.git-lfs"):
            wanted["Accept"] = content_type
        return await self._asked(_Request("POST", wanted, body, "resend"), path_qs, credential)

    async def head_file(
        self, repo: RepoId, revision: str, path: str, credential: Secret | None
    ) -> FileHeaders:
        """What upstream says of a file.

        Redirects within the origin are followed; one that leaves it is checked, and is `location`. When the
        origin itself has the bytes, `location` is None. Success proves that the credential may read the file.

        Raises:
            RepoAbsent, RevisionAbsent, EntryAbsent, GatedRepo, BadToken, NotAllowed: as upstream coded it.
            UpstreamError: as `get`; `UpstreamBroken` also when the headers name no commit, etag or size.
        """
        path_qs = f"{repo.file_path}/resolve/{quote(revision, safe='')}/{quote(path)}"
        wanted = CIMultiDict([("Accept-Encoding", "identity")])
        answer = await self._asked(_Request("HEAD", wanted, None, "inside"), path_qs, credential)
        if answer.status >= 400:
            raise error_from_answer(answer.status, answer.headers, authenticated=credential is not None)
        if answer.status not in (200, *_REDIRECTS):
            raise UpstreamBroken(f"upstream answered {answer.status} to a question about a file")
        return read_file_headers(answer.headers, answer.status)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path_qs: str,
        headers: Iterable[tuple[str, str]],
        body: AsyncIterator[bytes] | None,
        credential: Secret | None,
    ) -> AsyncIterator[UpstreamStream]:
        """A request passed through, and its answer as it comes, whatever its status.

        Redirects of GET and HEAD are followed as for `get`. For other methods, whose body cannot be sent
        twice, one within the origin is handed back with a `Location` relative to our own base, so that the
        client repeats the request through us; one that leaves the origin is refused.

        Raises:
            UpstreamBusy: the limit is known to be used up (a fresh 429 is passed as it is).
            UpstreamUnreachable, UpstreamTimeout, UpstreamRefused, UpstreamBroken: as `get`.
        """
        self._check_online()
        bucket = bucket_of(path_qs, credential)
        await self._limits.wait(bucket)
        wanted = CIMultiDict(_forwarded(headers))
        wanted.setdefault("Accept-Encoding", "identity")
        if body is None:
            wanted.popall("Content-Length", None)
        following: Following = "everywhere" if method in ("GET", "HEAD") else "hand-back"
        silence_seconds = self._timeout_seconds * _SILENCE_STEPS
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeout_seconds, sock_read=silence_seconds
        )
        request = _Request(method, wanted, body, following)
        ended = await self._follow(request, path_qs, credential, timeout, decode=False)
        try:
            told = CIMultiDict(ended.response.headers)
            if ended.response.status == 429:
                self._limits.close(bucket, wait_seconds(told))
            if ended.next_url is not None:
                told["Location"] = self._own_path(ended.next_url)
            yield UpstreamStream(ended.response.status, told, ended.final_path, ended.response)
        finally:
            ended.response.close()

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        await self._transport.close()

    async def _asked(self, request: _Request, path_qs: str, credential: Secret | None) -> UpstreamAnswer:
        """The answer of the first try that has one, before the deadline; see the rules on top."""
        self._check_online()
        try:
            async with asyncio.timeout(self._timeout_seconds * _QUESTION_STEPS):
                return await self._tried(request, path_qs, credential)
        except TimeoutError:
            raise UpstreamTimeout("upstream took too long to answer in full") from None

    async def _tried(self, request: _Request, path_qs: str, credential: Secret | None) -> UpstreamAnswer:
        bucket = bucket_of(path_qs, credential)
        for tries_left in reversed(range(_TRIES)):
            await self._limits.wait(bucket)
            try:
                answer = await self._ask(request, path_qs, credential)
            except UpstreamUnreachable:
                if not tries_left:
                    raise
                await _back_off(_BACKOFF_SECONDS)
                continue
            if answer.status != 429 and answer.status < 500:
                return answer
            error = error_from_answer(answer.status, answer.headers, answer.body)
            if isinstance(error, UpstreamBusy):
                self._limits.close(bucket, error.retry_after_seconds)
            elif answer.status not in _PASSING_TROUBLE:
                raise error
            elif tries_left:
                await _back_off(_pause_seconds(answer.headers))
            if not tries_left:
                raise error
        raise AssertionError("every try returns or raises")

    async def _ask(self, request: _Request, path_qs: str, credential: Secret | None) -> UpstreamAnswer:
        step = self._timeout_seconds
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=step, sock_read=step)
        ended = await self._follow(request, path_qs, credential, timeout, decode=True)
        try:
            told = CIMultiDict(ended.response.headers)
            content = b""
            if request.method != "HEAD":
                content = await read_body(ended.response, MAX_BODY_BYTES)
                for name in _DECODED:
                    told.popall(name, None)
            if ended.next_url is not None:
                told["Location"] = ended.next_url
            return UpstreamAnswer(ended.response.status, told, content, ended.final_path)
        finally:
            ended.response.close()

    async def _follow(
        self,
        request: _Request,
        path_qs: str,
        credential: Secret | None,
        timeout: aiohttp.ClientTimeout,
        *,
        decode: bool,
    ) -> _Ended:
        """Send, and follow redirects as far as the request allows."""
        url, final_path = self._url(path_qs), path_qs
        for _ in range(MAX_REDIRECTS + 1):
            checked = self._guard.check_url(url)
            at_origin = self._guard.is_origin(checked)
            if at_origin:
                final_path = self._own_path(url)
            else:
                credential = None
            headers = self._headers(request.headers, checked, credential, at_origin=at_origin)
            response = await self._transport.send(
                request.method, checked, headers, request.body, timeout, decode=decode
            )
            if response.status not in _REDIRECTS:
                return _Ended(response, final_path, None)
            try:
                url = redirected(str(checked), response.headers.get("Location"))
                inside = self._guard.is_origin(self._guard.check_url(url))
                if _stops(request.following, response.status, inside=inside):
                    return _Ended(response, final_path, url)
                await _drain(response)
            except BaseException:
                response.close()
                raise
            response.release()
        raise UpstreamRefused(f"upstream redirected more than {MAX_REDIRECTS} times")

    def _headers(
        self, wanted: Mapping[str, str], url: URL, credential: Secret | None, *, at_origin: bool
    ) -> CIMultiDict[str]:
        """What is sent to this address."""
        sent = CIMultiDict(
            (name, value) for name, value in wanted.items() if at_origin or name.lower() in _HARMLESS
        )
        sent.setdefault("User-Agent", self._user_agent)
        sent.setdefault("Accept", "*/*")
        if credential is not None:
            is_git = url.raw_path.endswith(_GIT_SUFFIXES)
            sent["Authorization"] = basic(credential) if is_git else bearer(credential)
        return sent

    def _url(self, path_qs: str) -> str:
        if not path_qs.startswith("/"):
            raise BadRequest("a request path begins with a slash")
        try:
            return self._base + quote(path_qs, safe=_KEPT, errors="surrogateescape")
        except UnicodeError:
            raise BadRequest("the request path is not text") from None

    def _own_path(self, url: str) -> str:
        """The path and query of an address at the origin, below our base."""
        parts = urlsplit(url)
        path = parts.path.removeprefix(self._prefix) or "/"
        return f"{path}?{parts.query}" if parts.query else path

    def _check_online(self) -> None:
        if self._offline:
            raise UpstreamUnreachable("this gateway is offline and asks no upstream")


def _forwarded(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """A caller's headers without those that are ours to set.

    Raises:
        BadRequest: one holds a control character.
    """
    kept = [(name, value) for name, value in headers if name.lower() not in _NOT_FORWARDED]
    if any(_CONTROL.search(name + value) for name, value in kept):
        raise BadRequest("a request header holds a control character")
    return kept


def _stops(following: Following, status: int, *, inside: bool) -> bool:
    """Whether to stop at a redirect with this status, which stays inside the origin or leaves it."""
    if following == "hand-back" and not inside:
        raise UpstreamRefused("upstream redirected a write to another host")
    if following == "resend" and not (inside and status in (307, 308)):
        raise UpstreamRefused("upstream redirected a question in a way that loses it")
    return following == "hand-back" or (following == "inside" and not inside)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a redirect's small body, so that its connection can be used again."""
    if (response.content_length or 0) <= _MAX_REDIRECT_BODY_BYTES and not response.headers.get(
        "Transfer-Encoding"
    ):
        await read_body(response, _MAX_REDIRECT_BODY_BYTES)


def _pause_seconds(headers: Mapping[str, str]) -> float:
    return min(wait_seconds(headers), PATIENCE_SECONDS) if "Retry-After" in headers else _BACKOFF_SECONDS


async def _back_off(seconds: float) -> None:
    # Spread, so that many who failed together do not come back together.
    await asyncio.sleep(seconds * (1 + random.random()))  # noqa: S311
