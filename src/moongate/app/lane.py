"""The fast lane: an answer that lies in memory is given where its request arrives, without a task.

A metadata hit needs nothing awaited, yet a general handler pays for a task, a request object, a response
object and several coroutines. The lane takes only what is sure: a plain GET or HEAD on an idle connection,
from a Host that was checked before, by a caller who is known without asking, on a route that was parsed
before, whose fresh answer the hub has at hand for this caller; or for signed xorb data (`data_lane`). All
else goes the ordinary way, which decides all of it again: the lane can be left out, and no answer changes.

What was found is believed for `memo_seconds`, a small part of the time that a branch is believed for.

What a client waits for is the time until the first byte. So a range that is asked for again (`again`) is sent
before anything is made that only its record needs; `afterwards` has the rest.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, Protocol

from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from moongate.app.afterwards import Afterwards, Again, record_again
from moongate.app.auditing import Auditing
from moongate.app.data_lane import DataLane
from moongate.app.door import Door
from moongate.app.exchange import Record, new_request_id
from moongate.app.file_routes import INLINE_BYTES, Resolved, plain_headers, warned
from moongate.app.metrics import Metrics
from moongate.app.repeats import NO_RANGE, LastHead
from moongate.app.replies import date_line, freshness, head_bytes, head_start
from moongate.app.request_log import RequestLog
from moongate.app.sendfile import FilePiece, FileSender
from moongate.app.xet_routes import XetHeaders
from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.names import RepoId, RepoPath, Revision
from moongate.core.records import FileAt
from moongate.hub.answers import Answer
from moongate.hub.audit import NoAudit
from moongate.hub.handles import Handle
from moongate.hub.recalls import Recalls, cutter
from moongate.wire import routes
from moongate.wire.cas_paths import Data
from moongate.wire.ranges import Unsatisfiable, asks_for_the_rest, parse_range
from moongate.wire.xet_words import file_xet_headers, wants_file_info

_HEADS_KEPT = 512
_MEMOS_KEPT = 2048
_LOOK_SECONDS = 0.05
"""How late is noticed what nobody raises the number for: the end of a waiver."""
_MOST_BYTES = 64 << 10
"""Longer answers gain little here; and the heads kept hold on to their answers."""
TAKEN = (
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

    def when_forgetting(self, told: Callable[[], None]) -> None: ...
    def at_hand(self, route: routes.Route, query: str, caller: Caller) -> Answer | None: ...


class FilesAtHand(Protocol):
    """What the lane needs of `content.Content`."""

    def file_at_hand(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved] | None: ...

    @property
    def guard_serial(self) -> int: ...
    def passes(self, file: FileAt, caller: Caller) -> str | None: ...
    def sealed(self, file: FileAt) -> Handle | None: ...


class _Ready(NamedTuple):
    """An answer found: its constant head, its body, and the file that it is, if it is one."""

    head: bytes
    body: bytes
    status: int
    file: FileAt | None = None


class _File(NamedTuple):
    """A file that this caller may read, too long for one write, or asked for in part; how its heads begin."""

    file: FileAt
    whole: bytes
    part: bytes


class LongAnswer(NamedTuple):
    """An answer that is sent piece by piece: its head, an open file, and from where to where of it.

    Whoever gets it sends it and says so with `FastLane.sent`, whatever came of it. `deliveries`: see
    `Auditing.begins`.
    """

    head: bytes
    body: Handle
    start: int
    end: int
    file: FileAt
    noted: Record | Again
    deliveries: tuple[Hashable, ...] = ()


class Repeat(NamedTuple):
    """A request that will be answered alike until then, when it comes again; and what was noted of it."""

    until: float
    believed: object
    authorization: str | None
    before: Record
    ready: _Ready | _File
    body: Handle | None
    deliveries: tuple[Hashable, ...]


class PiecedAnswer(NamedTuple):
    """As `LongAnswer`, of pieces of open files and of memory; `handles` are released with it."""

    head: bytes
    pieces: Sequence[FilePiece | bytes]
    handles: Sequence[Handle]
    data: Data
    record: Record


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
        data: DataLane | None = None,
        auditing: Auditing | None = None,
        recalls: Recalls | None = None,
        changes: Callable[[], int] = lambda: 0,
    ) -> None:
        """changes: a number that whoever lets pass less, or more, raises in whatever process."""
        self._recalls = recalls
        self._auditing = auditing or Auditing(NoAudit())
        self._xet = xet
        self._data = data
        self.sender = sender
        self._memo_seconds = memo_seconds
        self._changes = changes
        self._number, self._serial, self._look_at = -1, 0, 0.0
        self._believed = object()
        """Another one once what was found before is not to be believed any more."""
        self._memos: dict[tuple[str, str, str, str], tuple[float, routes.Route, _Ready | _File]] = {}
        self._answers = answers
        self._files = files
        self._door = door
        self._known_route = known_route
        self._metrics = metrics
        self._heads: dict[tuple[int, str], tuple[object, bytes]] = {}
        self.afterwards = Afterwards(metrics, request_log, self._auditing)
        answers.when_forgetting(self.forget)

    def again(self, last: LastHead[Repeat], head: bytes) -> bytes | LongAnswer | None:
        """What answers a request that its connection asked last in the same bytes, but for their range.

        None: it must be parsed, and goes to `answer` or the ordinary way.
        """
        repeat, asked = last.known, last.asks(head)
        if repeat is None or asked is None:
            return None
        started = time.perf_counter()
        until, believed, authorization, before, ready, body, deliveries = repeat
        if started >= self._look_at or self._changes() != self._number:
            self._look(started)
        if until <= started or believed is not self._believed:
            return None
        if authorization is not None:
            asks = self._door.bearer_at_hand(authorization)
            if asks is not before.caller and asks != before.caller:
                return None
        if isinstance(ready, _Ready):
            return self._short(ready, record_again((before, new_request_id(), started, before.status)))
        file, size_bytes = ready.file, ready.file.entry.size_bytes
        if asked is NO_RANGE:
            start, end, status = 0, size_bytes, 200
        else:
            start, end, status = asked[0], asked[1] + 1, 206
        if body is None or not start < end <= size_bytes or self._is_recalled(file):
            return None
        request_id = new_request_id()
        head = _head(ready, status, start, end, request_id)
        if not body.again():
            body = self._files.sealed(file)
            if body is None:
                return None
            last.known = repeat._replace(body=body)
        if not self._auditing.begins_again(request_id, deliveries):
            body.release()
            return None
        return LongAnswer(head, body, start, end, file, (before, request_id, started, status))

    def answer(
        self,
        message: RawRequestMessage,
        peer: str | None,
        head: bytes = b"",
        last: LastHead[Repeat] | None = None,
    ) -> bytes | LongAnswer | PiecedAnswer | None:
        """What answers this request; None when it must go the ordinary way.

        `head`: the bytes that it was parsed from, when they are those of this request and no other; `last`
        will know them then.
        """
        started = time.perf_counter()
        method, headers = message.method, message.headers
        if (method != "GET" and method != "HEAD") or message.should_close or message.version[1] != 1:  # noqa: PLR1714
            return None
        host = headers.get(hdrs.HOST)
        if host is None or not self._door.knows_host(host):
            return None
        if method == "GET" and self._data is not None and self.sender is not None:
            data = self._signed(self._data, message, peer, started)
            if data is not None:
                return data
        caller = self._door.caller_at_hand(headers)
        if caller is None:
            return None
        key = (method, message.path, host, caller.key)
        if started >= self._look_at or self._changes() != self._number:
            self._look(started)
        memo = self._memos.get(key)
        plain = hdrs.IF_NONE_MATCH not in headers and not wants_file_info(headers.get(hdrs.ACCEPT))
        if memo is None or memo[0] <= started or not plain:
            found = self._find(message, caller, host)
            if found is None:
                return None
            memo = (started + self._memo_seconds, *found)
            if self._memo_seconds and _may_be_kept(method, *found):
                self._remember(key, memo)
        until, route, ready = memo
        record = _record(message, route, caller, peer, started, ready.file)
        answer = (
            self._long(ready, record, headers) if isinstance(ready, _File) else self._short(ready, record)
        )
        if last is not None and head and plain and key in self._memos and _may_be_repeated(message, ready):
            body: Handle | None = None
            deliveries: tuple[Hashable, ...] = ()
            if isinstance(answer, LongAnswer):
                body, deliveries = answer.body, answer.deliveries
            authorization = headers.get(hdrs.AUTHORIZATION)
            repeat = Repeat(until, self._believed, authorization, record, ready, body, deliveries)
            last.note(head, headers.get(hdrs.RANGE), repeat)
        return answer

    def sent(self, answer: LongAnswer | PiecedAnswer, sent_bytes: int, error: str = "") -> None:
        """A long answer ended: after so many bytes of its body, with an error if it was broken off."""
        if isinstance(answer, LongAnswer):
            answer.body.release()
            noted = answer.noted
        else:
            for handle in answer.handles:
                handle.release()
            self._metrics.xet_served(sent_bytes)
            noted = answer.record
        self.afterwards.ended(noted, sent_bytes, error)

    def close(self) -> None:
        """Let go of everything."""
        self.afterwards.settle()
        if self._data is not None:
            self._data.close()

    def begins(self, answer: LongAnswer | PiecedAnswer, transport: asyncio.BaseTransport) -> object:
        """A long answer takes a while: it is cut when its file is recalled, until `ended` is told this."""
        if self._recalls is None:
            return None
        if isinstance(answer, PiecedAnswer):
            return self._recalls.begin_content(answer.data.file_id, cutter(transport))
        return self._recalls.begin_reading(answer.file, cutter(transport))

    def ended(self, reading: object) -> None:
        if self._recalls is not None:
            self._recalls.end_reading(reading)

    def forget(self) -> None:
        """What was found before is not to be believed any more."""
        self._believed = object()
        self._memos.clear()

    def _look(self, now: float) -> None:
        """Forgets if less, or more, may pass than before."""
        self._number, self._look_at = self._changes(), now + _LOOK_SECONDS
        serial = self._files.guard_serial
        if serial != self._serial:
            self._serial = serial
            self.forget()

    def _is_recalled(self, file: FileAt) -> bool:
        recalls = self._recalls
        return recalls is not None and not recalls.is_idle and recalls.standing(file) is not None

    def _find(
        self, message: RawRequestMessage, caller: Caller, host: str
    ) -> tuple[routes.Route, _Ready | _File] | None:
        path, _, query = message.path.partition("?")
        route = self._known_route(path)
        ready: _Ready | _File | None
        if isinstance(route, routes.Resolve):
            ready = self._file(route, message, caller, host)
        elif isinstance(route, TAKEN):
            ready = self._answer(route, query, caller, host)
        else:
            return None
        return None if ready is None else (route, ready)

    def _remember(
        self, key: tuple[str, str, str, str], memo: tuple[float, routes.Route, _Ready | _File]
    ) -> None:
        if len(self._memos) >= _MEMOS_KEPT:
            self._memos.clear()
        self._memos[key] = memo

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
    ) -> _Ready | _File | None:
        """A file's headers, and for GET the bytes of a sealed one; nothing conditional, one range at most."""
        headers, wants_body = message.headers, message.method == "GET"
        if hdrs.IF_NONE_MATCH in headers or hdrs.IF_RANGE in headers:
            return None
        found = self._files.file_at_hand(route.repo, route.revision, route.path, caller)
        if found is None or found[1].outcome != "hit":
            return None
        file = found[0]
        face = self._face(file, headers.get(hdrs.ACCEPT), host)
        warning = self._files.passes(file, caller) if wants_body else ""
        if face is None or warning is None:
            return None
        content = b""
        if wants_body:
            if file.entry.size_bytes > INLINE_BYTES or hdrs.RANGE in headers:
                return None if self.sender is None else self._long_file(file, face, warning)
            body = self._files.sealed(file)
            if body is None:
                return None
            try:
                content = os.pread(body.fd, file.entry.size_bytes, 0)
            finally:
                body.release()
            if len(content) != file.entry.size_bytes:
                return None
        place, base_url = face
        place += warning
        head = self._known_head(file, place)
        if head is None:
            told = self._told(file, base_url, warning)
            head = self._keep_head(file, place, head_bytes(200, told, file.entry.size_bytes))
        return _Ready(head, content, 200, file)

    def _face(self, file: FileAt, accept: str | None, host: str) -> tuple[str, str] | None:
        """What a file's head depends on besides the file: for one offered as Xet, our address; see `_told`.

        None: the answer is not the file, or our address is not known here.
        """
        if self._xet is None or not self._xet.offered(file):
            return "", ""
        base_url = None if wants_file_info(accept) else self._door.plain_base_url(host)
        return None if base_url is None else (host, base_url)

    def _long_file(self, file: FileAt, face: tuple[str, str], warning: str) -> _File:
        """A file with the heads that its answers begin with, whole and in part."""
        place, base_url = face
        heads = []
        for status in (200, 206):
            at = f"{status} {place}{warning}"
            head = self._known_head(file, at)
            if head is None:
                head = self._keep_head(file, at, head_start(status, self._told(file, base_url, warning)))
            heads.append(head)
        return _File(file, *heads)

    @staticmethod
    def _told(file: FileAt, base_url: str, warning: str) -> list[tuple[str, str]]:
        xet_headers = file_xet_headers(file, base_url) if base_url else []
        return [*plain_headers(file), *xet_headers, ("X-Moongate-Cache", "hit"), *warned(warning)]

    def _short(self, ready: _Ready, record: Record) -> bytes:
        """An answer in one write."""
        head, body, status, file = ready
        record.status = status
        if record.method == "HEAD":
            body = b""
        elif file is not None:
            self._auditing.begins(record, file)
        self.afterwards.ended(record, len(body))
        return b"%b%bX-Request-Id: %b\r\n\r\n%b" % (head, date_line(), record.request_id.encode(), body)

    def _long(self, ready: _File, record: Record, headers: CIMultiDictProxy[str]) -> LongAnswer | None:
        """A sealed file, or the range of it that is asked for, to be sent piece by piece."""
        ranged = headers.get(hdrs.RANGE)
        spans = parse_range(ranged, ready.file.entry.size_bytes) if ranged is not None else None
        if isinstance(spans, Unsatisfiable) or (spans and len(spans) > 1) or hdrs.IF_RANGE in headers:
            return None
        if spans:
            if spans[0].end == ready.file.entry.size_bytes and asks_for_the_rest(ranged or ""):
                return None
            return self._piece(ready, record, 206, spans[0].start, spans[0].end)
        return self._piece(ready, record, 200, 0, ready.file.entry.size_bytes)

    def _piece(self, ready: _File, record: Record, status: int, start: int, end: int) -> LongAnswer | None:
        """The bytes of a sealed file from `start` up to `end`."""
        file = ready.file
        body = self._files.sealed(file)
        if body is None:
            return None
        head = _head(ready, status, start, end, record.request_id)
        deliveries = self._auditing.begins(record, file)
        record.status = status
        return LongAnswer(head, body, start, end, file, record, deliveries)

    @staticmethod
    def _signed(
        lane: DataLane, message: RawRequestMessage, peer: str | None, started: float
    ) -> PiecedAnswer | None:
        """Xorb data: by its address alone, whoever asks."""
        data = lane.answer(message.path, message.headers.get(hdrs.RANGE))
        if data is None:
            return None
        record = _record(message, data.route, ANONYMOUS, peer, started)
        record.status = 206
        head = b"%b%bX-Request-Id: %b\r\n\r\n" % (data.head, date_line(), record.request_id.encode())
        return PiecedAnswer(head, data.pieces, data.handles, data.route, record)

    def _known_head(self, thing: object, host: str) -> bytes | None:
        known = self._heads.get((id(thing), host))
        return known[1] if known is not None and known[0] is thing else None

    def _keep_head(self, thing: object, host: str, head: bytes) -> bytes:
        """Keeps the constant part of a head; with the thing it is of, so that no other gets its id."""
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        self._heads[id(thing), host] = (thing, head)
        return head


def _may_be_kept(method: str, route: routes.Route, ready: _Ready | _File) -> bool:
    """Whether the next such request may be answered alike; the bytes of a small file are read anew."""
    if isinstance(ready, _File):
        return ready.file.entry.size_bytes > INLINE_BYTES
    return method == "HEAD" or not isinstance(route, routes.Resolve)


def _may_be_repeated(message: RawRequestMessage, ready: _Ready | _File) -> bool:
    """Whether the bytes of the head, but for its range, say all that the answer depends on.

    With one `Range` or none, that one was understood as what it looks like.
    """
    headers = message.headers
    if isinstance(ready, _Ready):
        return hdrs.RANGE not in headers
    return hdrs.IF_RANGE not in headers and len(headers.getall(hdrs.RANGE, ())) <= 1


def _record(
    message: RawRequestMessage,
    route: routes.Route | Data,
    caller: Caller,
    peer: str | None,
    started: float,
    file: FileAt | None = None,
) -> Record:
    """What is noted of a request that the lane answers."""
    path, _, query = message.path.partition("?")
    headers = message.headers
    return Record(
        message.method,
        path,
        query,
        new_request_id(),
        peer,
        headers.get("X-Amzn-Trace-Id"),
        started,
        "CasData" if isinstance(route, Data) else type(route).__name__,
        getattr(route, "repo", None),
        caller,
        "hit",
        file=file,
        agent=headers.get(hdrs.USER_AGENT, ""),
        forwarded=headers.get("X-Forwarded-For"),
    )


def _head(ready: _File, status: int, start: int, end: int, request_id: str) -> bytes:
    """The head before the bytes of a file from `start` up to `end`."""
    date, mark = date_line(), request_id.encode()
    if status == 200:
        return b"%bContent-Length: %d\r\n%bX-Request-Id: %b\r\n\r\n" % (ready.whole, end - start, date, mark)
    return b"%bContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n%bX-Request-Id: %b\r\n\r\n" % (
        ready.part,
        end - start,
        start,
        end - 1,
        ready.file.entry.size_bytes,
        date,
        mark,
    )
