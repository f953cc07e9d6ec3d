"""The fast lane: an answer that lies in memory is given where its request arrives, without a task.

A metadata hit needs nothing awaited, yet a general handler pays for a task, a request object, a response
object and several coroutines. The lane takes only what is sure: a plain GET or HEAD on an idle connection,
from a Host that was checked before, by a caller who is known without asking, on a route that was parsed
before, whose fresh answer the hub has at hand for this caller. All else goes the ordinary way,
which decides everything again, so the lane can be left out without changing any answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage

from moongate.app.door import Door
from moongate.app.exchange import Record, new_request_id
from moongate.app.metrics import Metrics
from moongate.app.replies import date_line, freshness, head_bytes
from moongate.app.request_log import RequestLog
from moongate.core.callers import Caller
from moongate.hub.answers import Answer
from moongate.wire import routes

_HEADS_KEPT = 512
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

    def at_hand(self, route: routes.Route, query: str, caller: Caller) -> Answer | None: ...


class FastLane:
    """Answers requests synchronously, or says that it cannot. One per process."""

    def __init__(
        self,
        answers: AnswersAtHand,
        door: Door,
        known_route: Callable[[str], routes.Route | None],
        metrics: Metrics,
        request_log: RequestLog,
    ) -> None:
        self._answers = answers
        self._door = door
        self._known_route = known_route
        self._metrics = metrics
        self._log = request_log
        self._heads: dict[tuple[int, str], tuple[Answer, bytes]] = {}

    def answer(self, message: RawRequestMessage, peer: str | None) -> bytes | None:
        """The bytes that answer this request; None when it must go the ordinary way."""
        started = time.perf_counter()
        method = message.method
        if (method != "GET" and method != "HEAD") or message.should_close or message.version[1] != 1:  # noqa: PLR1714
            return None
        path, _, query = message.path.partition("?")
        route = self._known_route(path)
        if not isinstance(route, _TAKEN):
            return None
        headers = message.headers
        host = headers.get(hdrs.HOST)
        if host is None or not self._door.knows_host(host):
            return None
        caller = self._door.caller_at_hand(headers)
        if caller is None:
            return None
        answer = self._answers.at_hand(route, query, caller)
        if answer is None or answer.outcome != "hit" or len(answer.body) > _MOST_BYTES:
            return None
        head = self._head(answer, host)
        if head is None:
            return None
        body = answer.body
        record = Record(method, path, query, new_request_id(), peer, headers.get("X-Amzn-Trace-Id"), started)
        record.route, record.repo = type(route).__name__, getattr(route, "repo", None)
        record.caller, record.outcome, record.status = caller, "hit", answer.status
        if method == "HEAD":
            body = b""
        record.sent_bytes = len(body)
        seconds = time.perf_counter() - started
        self._metrics.count(record, seconds)
        self._log.write(record, seconds)
        return b"%b%bX-Request-Id: %b\r\n\r\n%b" % (head, date_line(), record.request_id.encode(), body)

    def _head(self, answer: Answer, host: str) -> bytes | None:
        """The constant part of the answer's head, made once for each Host."""
        key = (id(answer), host)
        known = self._heads.get(key)
        if known is not None and known[0] is answer:
            return known[1]
        base_url = self._door.plain_base_url(host)
        if base_url is None:
            return None
        headers = [*freshness("hit", 0.0), *answer.headers_for(base_url)]
        head = head_bytes(answer.status, headers, len(answer.body))
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        self._heads[key] = (answer, head)
        return head
