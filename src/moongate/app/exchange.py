"""One request on its way through the front door, and what is known of it so far.

The dispatcher makes it, the door adds who asks, the route's handler adds what came of it, and the log line
and the counters are written from it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from aiohttp import web

from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.names import RepoId
from moongate.core.records import FileAt

Outcome = Literal["hit", "miss", "stale", "pass"]

_counter = itertools.count(1)
_process_word = [os.urandom(6).hex()]


def _renew_process_word() -> None:
    _process_word[0] = os.urandom(6).hex()


os.register_at_fork(after_in_child=_renew_process_word)  # a forked worker must not repeat its parent's ids


@dataclass(slots=True, eq=False)
class Record:
    """What is counted and logged of a request. `path` and `query` are raw, as they came over the wire.

    `outcome` stays None for answers of our own (pages, health, errors). `status` 0 means the client left
    before an answer started. `trace` is the client's own id of the request, if it sent one.

    file: whose bytes were sent. reconstructed: files whose chunks the client may read from now on, and how
        many bytes of each it asked for. agent: what the client calls itself. forwarded: for whom a proxy in
        front of us says that it asks.
    """

    method: str
    path: str
    query: str
    request_id: str
    peer: str | None = None
    trace: str | None = None
    started: float = field(default_factory=time.perf_counter)
    route: str = "unknown"
    repo: RepoId | None = None
    caller: Caller = ANONYMOUS
    outcome: Outcome | None = None
    status: int = 0
    sent_bytes: int = 0
    error: str = ""
    file: FileAt | None = None
    reconstructed: tuple[tuple[FileAt, int], ...] = ()
    agent: str = ""
    forwarded: str | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a handler did, of a kind of `hub.audit.KINDS`; the exchange says who asked for it."""

    kind: str
    repo: RepoId | None = None
    commit_hash: str = ""
    digest: str = ""
    subject: str = ""
    reason: str = ""
    details: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True, eq=False, kw_only=True)
class Exchange(Record):
    """A request on its way, with the request itself."""

    request: web.BaseRequest
    happened: list[Happening] = field(default_factory=list)
    """What is written down for an auditor before the answer goes out."""

    def tell(self, kind: str, repo: RepoId | None = None, **more: Any) -> None:
        """Has it written down that this was done; see `Happening`."""
        self.happened.append(Happening(kind, repo, **more))

    @property
    def is_read(self) -> bool:
        return self.method in ("GET", "HEAD")

    @property
    def path_qs(self) -> str:
        """Path and query, as they came."""
        return f"{self.path}?{self.query}" if self.query else self.path


class PageHandler(Protocol):
    """What answers one address of our own. Raises core errors; never a bare status."""

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse: ...


RouteHandler = Callable[[Exchange, Any], Awaitable[web.StreamResponse]]
"""What answers one kind of route; the second argument is a value of the class it is registered for."""


def begin(request: web.BaseRequest) -> Exchange:
    """The exchange of a request that just arrived, with an id that no other process shares."""
    target = request.raw_path
    if target[:1] != "/":
        # absolute-form (RFC 9112, 3.2.2): only the path tells what is asked
        target = _path_of_absolute(target)
    path, _, query = target.partition("?")
    query = query.partition("#")[0]
    headers = request.headers
    return Exchange(
        request.method,
        path,
        query,
        new_request_id(),
        request.remote,
        headers.get("X-Amzn-Trace-Id"),
        agent=headers.get("User-Agent", ""),
        forwarded=headers.get("X-Forwarded-For"),
        request=request,
    )


def new_request_id() -> str:
    """An id that no other process shares."""
    return f"{_process_word[0]}{next(_counter):08x}"


def _path_of_absolute(target: str) -> str:
    _, found, rest = target.partition("://")
    if not found:
        return "/"
    slash = rest.find("/")
    return rest[slash:] if slash >= 0 else "/"
