"""Fetches feeds of threat intelligence: one address at a time, bounded, behind the guard.

Rules:

- A feed's own host is its origin, and may be a private address, for an operator named it; redirects lead
  there or to hosts named for this feed, nowhere else. The feed's secret goes to the origin only.
- A body has a bound, an answer a deadline. Two tries.
- Error texts name hosts, never paths, queries or headers. A secret is read when it is needed, kept nowhere.
- A feed on this machine is a file or a folder; nothing outside the folder is read.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from moongate.core.callers import Secret
from moongate.core.errors import (
    AnswerTooLong,
    BadRequest,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from moongate.upstream.guard import AddressGuard, redirected
from moongate.upstream.transport import Transport, read_body
from moongate.wire.errors import wait_seconds

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MOST_REDIRECTS: Final = 5
_TRIES: Final = 2
_ANSWER_SECONDS: Final = 300.0
_MOST_KEY_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class FeedAnswer:
    """An answer; `headers` are by names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class FeedFetcher:
    """Gets addresses of one remote feed. An asynchronous context manager; belongs to one event loop."""

    def __init__(
        self,
        url: str,
        *,
        allowed_hosts: Sequence[str] = (),
        credential: tuple[str, Secret] | None = None,
        max_bytes: int,
        timeout_seconds: float,
        user_agent: str,
        offline: bool = False,
    ) -> None:
        """`credential`: the name of the header that carries it, and its value.

        Raises:
            UpstreamRefused: the address, or an allowed host, cannot be understood.
        """
        self._guard = AddressGuard(url, allowed_hosts)
        self._transport = Transport(self._guard)
        self._credential = credential
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._user_agent = user_agent
        self._offline = offline

    async def __aenter__(self) -> FeedFetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    async def __call__(self, url: str, headers: Mapping[str, str] = {}) -> FeedAnswer:
        """The answer at an address of the feed, redirects followed.

        Raises:
            UpstreamBusy: 429.
            UpstreamUnreachable, UpstreamTimeout: no answer, or 5xx.
            UpstreamRefused: an address that is not the feed's, or a redirect to one.
            AnswerTooLong: longer than the feed may be.
        """
        if self._offline:
            raise UpstreamUnreachable("this gateway is offline and fetches no feeds")
        for tries_left in reversed(range(_TRIES)):
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await self._ask(url, headers)
            except TimeoutError:
                raise UpstreamTimeout("the feed took too long to answer in full") from None
            except UpstreamUnreachable:
                if not tries_left:
                    raise
                await asyncio.sleep(0.25)
        raise AssertionError("every try returns or raises")

    async def _ask(self, url: str, headers: Mapping[str, str]) -> FeedAnswer:
        step = self._timeout_seconds
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=step, sock_read=step)
        is_trusted = True
        for _ in range(_MOST_REDIRECTS + 1):
            checked = self._guard.check_url(url)
            is_trusted = is_trusted and self._guard.is_origin(checked)
            sent = self._headers(headers, is_trusted=is_trusted)
            response = await self._transport.send("GET", checked, sent, None, timeout, decode=True)
            try:
                if response.status not in _REDIRECTS:
                    return await self._answer(response)
                url = redirected(str(checked), response.headers.get("Location"))
            finally:
                response.close()
        raise UpstreamRefused(f"the feed redirected more than {_MOST_REDIRECTS} times")

    def _headers(self, wanted: Mapping[str, str], *, is_trusted: bool) -> CIMultiDict[str]:
        sent = CIMultiDict(wanted)
        sent.setdefault("Accept", "*/*")
        sent["User-Agent"] = self._user_agent
        sent["Accept-Encoding"] = "gzip, deflate"
        if self._credential is not None and is_trusted:
            name, secret = self._credential
            sent[name] = secret.reveal()
        return sent

    async def _answer(self, response: aiohttp.ClientResponse) -> FeedAnswer:
        told = {name.lower(): value for name, value in response.headers.items()}
        host = URL(response.url).raw_host
        if response.status == 429:
            raise UpstreamBusy(f"{host} limits how often it may be asked", wait_seconds(response.headers))
        if response.status >= 500:
            raise UpstreamUnreachable(f"{host} answered {response.status}")
        body = b"" if response.status == 304 else await read_body(response, self._max_bytes)
        return FeedAnswer(response.status, told, body)


class FileFetcher:
    """Reads a feed on this machine: a file, or files below a folder."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes

    async def __aenter__(self) -> FileFetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def __call__(self, url: str, headers: Mapping[str, str] = {}) -> FeedAnswer:
        """The file of this name: 200, or 404 when it is not there.

        Raises:
            UpstreamRefused: it lies outside the feed's folder.
            UpstreamBroken: it cannot be read.
            AnswerTooLong: it is longer than the feed may be.
        """
        return await asyncio.to_thread(self._read, Path(unquote(url.split("?", maxsplit=1)[0])))

    def _read(self, wanted: Path) -> FeedAnswer:
        try:
            base, path = self._path.resolve(), wanted.resolve()
            folder = base if base.is_dir() else base.parent
            if folder not in path.parents:
                raise UpstreamRefused("the feed led to a file outside its folder")
            if not path.is_file():
                return FeedAnswer(404, {})
            if path.stat().st_size > self._max_bytes:
                raise AnswerTooLong(f"the feed's file is longer than {self._max_bytes >> 20} MiB")
            return FeedAnswer(200, {}, path.read_bytes())
        except (OSError, ValueError):
            raise UpstreamBroken("the feed's file cannot be read") from None


def read_key(named: str) -> Secret:
    """The secret that `env:NAME` or `file:PATH` names.

    Raises:
        BadRequest: it is not there.
    """
    where, _, name = named.partition(":")
    if where == "env":
        value = os.environ.get(name, "")
    else:
        try:
            with Path(name).open(encoding="utf-8") as opened:
                value = opened.read(_MOST_KEY_BYTES)
        except (OSError, UnicodeDecodeError):
            value = ""
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise BadRequest(f"there is no key in {where}:{name}")
    return Secret(value)


def credential_of(header: str, user: str, key: Secret) -> tuple[str, Secret]:
    """A key as the header that carries it: as it is, as a bearer token, or as a password of HTTP Basic."""
    if user:
        pair = base64.b64encode(f"{user}:{key.reveal()}".encode()).decode()
        return "Authorization", Secret(f"Basic {pair}")
    if header.lower() == "bearer":
        return "Authorization", Secret(f"Bearer {key.reveal()}")
    return header, key
