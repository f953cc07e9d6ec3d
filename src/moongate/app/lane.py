"""The fast lane: an answer that lies in memory is given where its request arrives, without a task.

A metadata hit needs nothing awaited, yet a general handler pays for a task, a request object, a response
object and several coroutines. The lane takes only what is sure: a plain GET or HEAD on an idle connection,
from a Host that was checked before, by a caller who is known without asking, on a route that was parsed
before, whose fresh answer the hub has at hand for this caller. All else goes the ordinary way,
which decides everything again, so the lane can be left out without changing any answer.

What was found is believed for `memo_seconds`, a small part of the time that a branch is believed for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage

from moongate.app.door import Door
from moongate.app.exchange import Record, new_request_id
from moongate.app.file_routes import INLINE_BYTES, Resolved, plain_headers
from moongate.app.metrics import Metrics
from moongate.app.replies import date_line, freshness, head_bytes, head_start
from moongate.app.request_log import RequestLog
from moongate.app.sendfile import FileSender
from moongate.app.xet_routes import XetHeaders
from moongate.core.callers import Caller
from moongate.core.names import RepoId, RepoPath, Revision
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.answers import Answer
from moongate.hub.fill import FileBody
from moongate.wire import routes
from moongate.wire.ranges import Unsatisfiable, parse_range
from moongate.wire.xet_words import file_xet_headers, wants_file_info

_HEADS_KEPT = 512
_MEMOS_KEPT = 2048
_MOST_BYTES = 64 << 10
"""Longer answers gain little here; and the heads kept hold on to their answers."""
_TAKEN = (
    routes.Info,
    routes.Tree,
    routes.Refs,
    routes.Commits,
    routes.TreeSize,
    routes.Listing,
    routes.ApiOther,
    routes.RepoOther,
)


class AnswersAtHand(Protocol):
    """What the lane needs of `hub.ProxiedRepos`."""

    @property
    def generation(self) -> int: ...
    def at_hand(self, route: routes.Route, query: str, caller: Caller) -> Answer | None: ...


class FilesAtHand(Protocol):
    """What the lane needs of `content.Content`."""

    def file_at_hand(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved] | None: ...

    def sealed(self, file: FileAt) -> FileBody | None: ...


class _Ready(NamedTuple):
    """An answer found: its constant head, its body."""

    head: bytes
    body: bytes
    status: int


class _Long(NamedTuple):
    """A sealed file found, too long to read: the start of its head, an open body, and the span to send."""

    head: bytes
    body: FileBody
    span: ByteSpan
    status: int


class LongAnswer(NamedTuple):
    """An answer that is sent piece by piece: its head, an open body, and the span to send.

    Whoever gets it sends it and says so with `FastLane.sent`, whatever came of it.
    """

    head: bytes
    body: FileBody
    span: ByteSpan
    record: Record
    started: float


class FastLane:
    """Answers requests synchronously, or says that it cannot. One per process."""

    def __init__(  # noqa: PLR0913 - it stands in for the rooms behind it
        self,
        answers: AnswersAtHand,
        files: FilesAtHand,
        door: Door,
        known_route: Callable[[str], routes.Route | None],
        metrics: Metrics,
        request_log: RequestLog,
        memo_seconds: float = 0.0,
        sender: FileSender | None = None,
        xet: XetHeaders | None = None,
    ) -> None:
        self._xet = xet
        self.sender = sender
        self._memo_seconds = memo_seconds
        self._generation = 0
        self._memos: dict[tuple[str, str, str, str], tuple[float, routes.Route, _Ready]] = {}
        self._answers = answers
        self._files = files
        self._door = door
        self._known_route = known_route
        self._metrics = metrics
        self._log = request_log
        self._heads: dict[tuple[int, str], tuple[object, bytes]] = {}

    def answer(self, message: RawRequestMessage, peer: str | None) -> bytes | LongAnswer | None:
        """What answers this request; None when it must go the ordinary way."""
        started = time.perf_counter()
        method, headers = message.method, message.headers
        if (method != "GET" and method != "HEAD") or message.should_close or message.version[1] != 1:  # noqa: PLR1714
            return None
        path, _, query = message.path.partition("?")
        host = headers.get(hdrs.HOST)
        if host is None or not self._door.knows_host(host):
            return None
        caller = self._door.caller_at_hand(headers)
        if caller is None:
            return None
        key = (method, message.path, host, caller.key)
        if self._generation != self._answers.generation:
            self._generation = self._answers.generation
            self._memos.clear()
        memo = self._memos.get(key)
        plain = hdrs.IF_NONE_MATCH not in headers and not wants_file_info(headers.get(hdrs.ACCEPT))
        if memo is not None and memo[0] > started and plain:
            route: routes.Route = memo[1]
            ready: _Ready | _Long = memo[2]
        else:
            found = self._find(message, path, query, caller, host)
            if found is None:
                return None
            route, ready = found
            if (
                self._memo_seconds
                and not isinstance(ready, _Long)
                and not (method == "GET" and isinstance(route, routes.Resolve))
            ):
                self._remember(key, started, route, ready)
        record = Record(method, path, query, new_request_id(), peer, headers.get("X-Amzn-Trace-Id"), started)
        record.route, record.repo = type(route).__name__, getattr(route, "repo", None)
        record.caller, record.outcome, record.status = caller, "hit", ready.status
        if isinstance(ready, _Long):
            head = b"%b%bX-Request-Id: %b\r\n\r\n" % (ready.head, date_line(), record.request_id.encode())
            return LongAnswer(head, ready.body, ready.span, record, started)
        head, body, _ = ready
        if method == "HEAD":
            body = b""
        record.sent_bytes = len(body)
        seconds = time.perf_counter() - started
        self._metrics.count(record, seconds)
        self._log.write(record, seconds)
        return b"%b%bX-Request-Id: %b\r\n\r\n%b" % (head, date_line(), record.request_id.encode(), body)

    def sent(self, answer: LongAnswer, sent_bytes: int, error: str = "") -> None:
        """A long answer ended: after so many bytes of its body, with an error if it was broken off."""
        answer.body.close()
        record, seconds = answer.record, time.perf_counter() - answer.started
        record.sent_bytes, record.error = sent_bytes, error
        self._metrics.count(record, seconds)
        self._log.write(record, seconds)

    def _find(
        self, message: RawRequestMessage, path: str, query: str, caller: Caller, host: str
    ) -> tuple[routes.Route, _Ready | _Long] | None:
        route = self._known_route(path)
        ready: _Ready | _Long | None
        if isinstance(route, routes.Resolve):
            ready = self._file(route, message, caller, host)
        elif isinstance(route, _TAKEN):
            ready = self._answer(route, query, caller, host)
        else:
            return None
        return None if ready is None else (route, ready)

    def _remember(
        self, key: tuple[str, str, str, str], now: float, route: routes.Route, ready: _Ready
    ) -> None:
        if len(self._memos) >= _MEMOS_KEPT:
            self._memos.clear()
        self._memos[key] = (now + self._memo_seconds, route, ready)

    def _answer(self, route: routes.Route, query: str, caller: Caller, host: str) -> _Ready | None:
        """A JSON answer out of memory."""
        answer = self._answers.at_hand(route, query, caller)
        if answer is None or answer.outcome != "hit" or len(answer.body) > _MOST_BYTES:
            return None
        head = self._known_head(answer, host)
        if head is None:
            base_url = self._door.plain_base_url(host)
            if base_url is None:
                return None
            headers = [*freshness("hit", 0.0), *answer.headers_for(base_url)]
            head = self._keep_head(answer, host, head_bytes(answer.status, headers, len(answer.body)))
        return _Ready(head, answer.body, answer.status)

    def _file(
        self, route: routes.Resolve, message: RawRequestMessage, caller: Caller, host: str
    ) -> _Ready | _Long | None:
        """A file's headers, and for GET the bytes of a sealed one; nothing conditional, one range at most."""
        headers, wants_body = message.headers, message.method == "GET"
        if hdrs.IF_NONE_MATCH in headers or hdrs.IF_RANGE in headers:
            return None
        found = self._files.file_at_hand(route.repo, route.revision, route.path, caller)
        if found is None or found[1].outcome != "hit":
            return None
        file = found[0]
        face = self._face(file, headers.get(hdrs.ACCEPT), host)
        if face is None:
            return None
        content = b""
        if wants_body:
            if file.entry.size_bytes > INLINE_BYTES or hdrs.RANGE in headers:
                if self.sender is None:
                    return None
                return self._long(file, headers.get(hdrs.RANGE), face)
            body = self._files.sealed(file)
            if body is None:
                return None
            try:
                content = os.pread(body.fd, file.entry.size_bytes, 0)
            finally:
                body.close()
            if len(content) != file.entry.size_bytes:
                return None
        place, base_url = face
        head = self._known_head(file, place)
        if head is None:
            told = self._told(file, base_url)
            head = self._keep_head(file, place, head_bytes(200, told, file.entry.size_bytes))
        return _Ready(head, content, 200)

    def _face(self, file: FileAt, accept: str | None, host: str) -> tuple[str, str] | None:
        """What a file's head depends on besides the file: for one offered as Xet, our address; see `_told`.

        None: the answer is not the file, or our address is not known here.
        """
        if self._xet is None or not self._xet.offered(file):
            return "", ""
        base_url = None if wants_file_info(accept) else self._door.plain_base_url(host)
        return None if base_url is None else (host, base_url)

    @staticmethod
    def _told(file: FileAt, base_url: str) -> list[tuple[str, str]]:
        xet_headers = file_xet_headers(file, base_url) if base_url else []
        return [*plain_headers(file), *xet_headers, ("X-Moongate-Cache", "hit")]

    def _long(self, file: FileAt, asked: str | None, face: tuple[str, str]) -> _Long | None:
        """A sealed file, or one range of it, to be sent piece by piece."""
        size_bytes = file.entry.size_bytes
        spans = parse_range(asked, size_bytes) if asked is not None else None
        if isinstance(spans, Unsatisfiable) or (spans is not None and len(spans) > 1):
            return None
        body = self._files.sealed(file)
        if body is None:
            return None
        status = 206 if spans else 200
        span = spans[0] if spans else ByteSpan(0, size_bytes)
        place = f"{status} {face[0]}"
        start = self._known_head(file, place)
        if start is None:
            start = self._keep_head(file, place, head_start(status, self._told(file, face[1])))
        length = b"Content-Length: %d\r\n" % span.length
        if spans:
            length += b"Content-Range: %b\r\n" % span.content_range(size_bytes).encode()
        return _Long(start + length, body, span, status)

    def _known_head(self, thing: object, host: str) -> bytes | None:
        known = self._heads.get((id(thing), host))
        return known[1] if known is not None and known[0] is thing else None

    def _keep_head(self, thing: object, host: str, head: bytes) -> bytes:
        """Keeps the constant part of a head; with the thing it is of, so that no other gets its id."""
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        self._heads[id(thing), host] = (thing, head)
        return head
