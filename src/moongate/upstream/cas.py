"""Upstream's CAS, asked on behalf of a fill: tokens from the Hub, reconstructions from the CAS.

Rules of this file:
- The Hub gives a token for one repository and commit, and says where the CAS is; the guard has the last word.
  The caller's credential goes to the Hub alone, the token to the CAS alone.
- Version 2 is asked first. Where it is not known (404, 501) and version 1 answers, version 1 is asked from
  then on.
- What the CAS refuses is upstream's trouble, never the caller's: their access was decided by the Hub.
- Error texts name hosts, never tokens or addresses with a signature.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
import orjson
from yarl import URL

from moongate.core.callers import Secret
from moongate.core.errors import (
    MoongateError,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from moongate.core.names import CommitHash, RepoId
from moongate.upstream.client import UpstreamClient
from moongate.upstream.guard import AddressGuard
from moongate.upstream.transport import Transport, read_body
from moongate.upstream.xorbs import XorbConnection
from moongate.wire.bearer import bearer
from moongate.wire.errors import error_from_answer
from moongate.xet.reconstruction import Reconstruction, read_reconstruction

_MAX_BODY_BYTES = 256 << 20
_EARLY_SECONDS = 60.0
_TRIES = 3
_BACKOFF_SECONDS = 0.25
# A question's deadline, in units of the timeout for one step: a large file has a long answer.
_QUESTION_STEPS = 12
_PASSING_TROUBLE = (502, 503, 504)
_UNKNOWN_VERSION = (404, 501)
_MAX_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class CasToken:
    """Where the CAS is, what opens it, and until when (unix time)."""

    url: str
    secret: Secret
    expires_at: float


@dataclass(frozen=True, slots=True)
class CasRoad:
    """By which repository and commit a file's chunks may be asked for, and with whose credential."""

    repo: RepoId
    commit_hash: CommitHash
    credential: Secret | None = None

    @property
    def _key(self) -> tuple[RepoId, CommitHash, str]:
        return self.repo, self.commit_hash, self.credential.fingerprint if self.credential else ""


class CasClient:
    """Speaks to the CAS of one upstream. Belongs to one event loop; close it when done."""

    def __init__(
        self,
        upstream: UpstreamClient,
        guard: AddressGuard,
        *,
        timeout_seconds: float,
        user_agent: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._guard = guard
        self._timeout_seconds = timeout_seconds
        self._user_agent = user_agent
        self._clock = clock
        self._transport = Transport(guard)
        self._tokens: dict[object, CasToken] = {}
        self._asking: dict[object, asyncio.Task[CasToken]] = {}
        self._version_1: set[str] = set()

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        for task in list(self._asking.values()):
            task.cancel()
        await self._transport.close()

    def connect(self) -> XorbConnection:
        """Connections of one worker thread to wherever xorbs lie. Opens nothing yet."""
        return XorbConnection(self._guard, self._timeout_seconds, self._user_agent)

    async def token(self, road: CasRoad) -> CasToken:
        """What opens the CAS for this repository and commit; asked again a minute before it ends.

        Concurrent calls share one question.

        Raises:
            RepoAbsent, GatedRepo, NotAllowed, UpstreamError: as the Hub said.
            UpstreamRefused: it names a CAS where we must not go.
            UpstreamBroken: it names none.
        """
        key = road._key
        known = self._tokens.get(key)
        if known is not None and self._clock() < known.expires_at - _EARLY_SECONDS:
            return known
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask_token(road))
            task.add_done_callback(lambda done: self._asked(key, done))
        return await asyncio.shield(task)

    def _asked(self, key: object, task: asyncio.Task[CasToken]) -> None:
        self._asking.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        if len(self._tokens) >= _MAX_TOKENS:
            self._tokens.clear()
        self._tokens[key] = task.result()

    async def _ask_token(self, road: CasRoad) -> CasToken:
        path = f"{road.repo.api_path}/xet-read-token/{road.commit_hash}"
        answer = await self._upstream.get(path, road.credential)
        if answer.status != 200:
            raise error_from_answer(
                answer.status, answer.headers, answer.body, authenticated=road.credential is not None
            )
        token = _read_token(answer.json(), answer.headers)
        self._guard.check_url(token.url)
        return token

    async def reconstruction(self, road: CasRoad, file_id: str, size_bytes: int) -> Reconstruction:
        """The whole file: its terms in order, and where each xorb's ranges can be fetched for a while.

        Raises:
            UpstreamBroken: the CAS does not know the file, or what it says makes no sense or no file of
                this size.
            UpstreamError, NotAllowed, Absent: as for `token`, or the CAS failed.
        """
        token = await self.token(road)
        told = await self._ask_versions(token, file_id)
        if told.status == 401:  # it ended before its time: once more with a fresh one
            if self._tokens.get(road._key) == token:
                del self._tokens[road._key]
            told = await self._ask_versions(await self.token(road), file_id)
        if told.status != 200:
            raise _error(told)
        answer = read_reconstruction(_json(told.body))
        if answer.offset_bytes or answer.unpacked_bytes != size_bytes:
            raise UpstreamBroken(
                f"upstream's CAS tells {answer.unpacked_bytes} bytes of a file that has {size_bytes}"
            )
        return answer

    async def _ask_versions(self, token: CasToken, file_id: str) -> _Told:
        if token.url not in self._version_1:
            told = await self._ask(f"{token.url}/v2/reconstructions/{file_id}", token)
            if told.status not in _UNKNOWN_VERSION:
                return told
        told = await self._ask(f"{token.url}/v1/reconstructions/{file_id}", token)
        if told.status == 200:
            self._version_1.add(token.url)
        return told

    async def _ask(self, url: str, token: CasToken) -> _Told:
        """The answer of the first try that has one."""
        checked = self._guard.check_url(url)
        trouble: UpstreamError | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds * _QUESTION_STEPS):
                for attempt in range(_TRIES):
                    if attempt:
                        await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt)
                    try:
                        told = await self._get(checked, token)
                    except UpstreamUnreachable as error:
                        trouble = error
                        continue
                    if told.status not in _PASSING_TROUBLE:
                        return told
                    trouble = UpstreamUnreachable(f"upstream's CAS answered {told.status}")
        except TimeoutError:
            raise UpstreamTimeout("upstream's CAS took too long to answer in full") from None
        raise trouble or UpstreamUnreachable("upstream's CAS cannot be reached")

    async def _get(self, url: URL, token: CasToken) -> _Told:
        step = self._timeout_seconds
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=step, sock_read=step)
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Authorization": bearer(token.secret),
            "User-Agent": self._user_agent,
        }
        response = await self._transport.send("GET", url, headers, None, timeout, decode=True)
        try:
            body = await read_body(response, _MAX_BODY_BYTES)
            return _Told(response.status, dict(response.headers), body)
        finally:
            response.close()


@dataclass(frozen=True, slots=True)
class _Told:
    status: int
    headers: Mapping[str, str]
    body: bytes


def _error(told: _Told) -> MoongateError:
    if told.status == 404:
        return UpstreamBroken("upstream's CAS does not know a file that upstream lists")
    error = error_from_answer(told.status, told.headers)
    return (
        error
        if isinstance(error, UpstreamError)
        else UpstreamBroken(f"upstream's CAS answered {told.status}")
    )


def _json(body: bytes) -> object:
    try:
        told: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamBroken("upstream's CAS sent malformed JSON") from None
    return told


def _read_token(told: object, headers: Mapping[str, str]) -> CasToken:
    body = told if isinstance(told, dict) else {}
    url = body.get("casUrl") or headers.get("X-Xet-Cas-Url")
    secret = body.get("accessToken") or headers.get("X-Xet-Access-Token")
    expires = body.get("exp") or headers.get("X-Xet-Token-Expiration") or 0
    try:
        expires_at = float(expires)
    except (TypeError, ValueError):
        expires_at = math.nan
    if not (isinstance(url, str) and url and isinstance(secret, str) and math.isfinite(expires_at)):
        raise UpstreamBroken("upstream's Xet token makes no sense")
    if not (secret.isascii() and secret.isprintable()):
        raise UpstreamBroken("upstream's Xet token makes no sense")
    return CasToken(url.rstrip("/"), Secret(secret), expires_at)
