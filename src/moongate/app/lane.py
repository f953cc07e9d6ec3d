"""The fast lane: an answer that lies in memory is given where its request arrives, without a task.

A metadata hit needs nothing awaited, yet a general handler pays for a task, a request object, a response
object and several coroutines. The lane takes only what is sure: a plain GET or HEAD on an idle connection,
from a Host that was checked before, by a caller who is known without asking, on a route that was parsed
before, whose fresh answer the hub has at hand for this caller; or for signed xorb data (`data_lane`). All
else goes the ordinary way, which decides all of it again: the lane can be left out, and no answer changes.

What was found is believed for `memo_seconds`, a small part of the time that a branch is believed for.

Counting and logging wait a moment and are done for many answers at once: right after a body was sent, nothing
that they need is in the processor's caches. A crash loses those that wait.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage

from moongate.app.auditing import Auditing
from moongate.app.data_lane import DataLane
from moongate.app.door import Door
from moongate.app.exchange import Record, new_request_id
from moongate.app.file_routes import INLINE_BYTES, Resolved, plain_headers, warned
from moongate.app.metrics import Metrics
from moongate.app.repeats import Repeats
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
_PAST_KEPT = 512
_SETTLE_SECONDS = 0.1
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

    @property
    def generation(self) -> int: ...
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
    """A file that this caller may read, too long for one write, or asked for in part; see `_told`."""

    file: FileAt
    places: tuple[str, str]
    base_url: str
    warning: str


class _Asked(NamedTuple):
    """A request that the lane answers, and when it came."""

    message: RawRequestMessage
    route: routes.Route | Data
    caller: Caller
    peer: str | None
    request_id: str
    started: float
    file: FileAt | None = None

    @property
    def agent(self) -> str:
        return self.message.headers.get(hdrs.USER_AGENT, "")

    @property
    def forwarded(self) -> str | None:
        return self.message.headers.get("X-Forwarded-For")


class _Repeat(NamedTuple):
    """A request that will be answered alike until then, when it comes again."""

    until: float
    message: RawRequestMessage
    route: routes.Route
    caller: Caller
    ready: _Ready | _File


class LongAnswer(NamedTuple):
    """An answer that is sent piece by piece: its head, an open file, and from where to where of it.

    Whoever gets it sends it and says so with `FastLane.sent`, whatever came of it.
    """

    head: bytes
    body: Handle
    start: int
    end: int
    status: int
    asked: _Asked
    file: FileAt


class PiecedAnswer(NamedTuple):
    """As `LongAnswer`, of pieces of open files and of memory; `handles` are released with it."""

    head: bytes
    pieces: Sequence[FilePiece | bytes]
    handles: Sequence[Handle]
    status: int
    asked: _Asked


class _Past(NamedTuple):
    """An answer that was given, and is not counted and logged yet. `ended`: as `time.perf_counter` has it."""

    asked: _Asked
    status: int
    sent_bytes: int
    error: str
    ended: float
    file: FileAt | None


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
    ) -> None:
        self._recalls = recalls
        self._auditing = auditing or Auditing(NoAudit())
        self._xet = xet
        self._data = data
        self.sender = sender
        self._memo_seconds = memo_seconds
        self._generation = (0, 0)
        self._memos: dict[tuple[str, str, str, str], tuple[float, routes.Route, _Ready | _File]] = {}
        self._repeats: Repeats[_Repeat] = Repeats()
        self._answers = answers
        self._files = files
        self._door = door
        self._known_route = known_route
        self._metrics = metrics
        self._log = request_log
        self._heads: dict[tuple[int, str], tuple[object, bytes]] = {}
        self._past: list[_Past] = []
        self._timer: asyncio.TimerHandle | None = None
        metrics.before_reading(self.settle)

    def again(self, head: bytes, peer: str | None) -> bytes | LongAnswer | None:
        """What answers a request that was answered lately and is asked in the same bytes, but for its range.

        None: it must be parsed, and goes to `answer` or the ordinary way.
        """
        found = self._repeats.find(head)
        if found is None:
            return None
        started = time.perf_counter()
        (until, message, route, caller, ready), first, last = found
        if until <= started or self._forgot():
            return None
        asks = self._door.caller_at_hand(message.headers)
        if asks is not caller and asks != caller:
            return None
        asked = _Asked(message, route, caller, peer, new_request_id(), started, ready.file)
        if isinstance(ready, _Ready):
            return self._short(ready, asked) if first < 0 else None
        if first < 0:
            return self._piece(ready, asked, 200, 0, ready.file.entry.size_bytes)
        if first <= last < ready.file.entry.size_bytes:
            return self._piece(ready, asked, 206, first, last + 1)
        return None

    def answer(
        self, message: RawRequestMessage, peer: str | None, head: bytes = b""
    ) -> bytes | LongAnswer | PiecedAnswer | None:
        """What answers this request; None when it must go the ordinary way.

        `head`: the bytes that it was parsed from, when they are those of this request and no other.
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
        self._forgot()
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
        if head and plain and key in self._memos and _may_be_repeated(message, ready):
            self._repeats.note(head, headers.get(hdrs.RANGE), _Repeat(until, message, route, caller, ready))
        asked = _Asked(message, route, caller, peer, new_request_id(), started, ready.file)
        return self._long(ready, asked) if isinstance(ready, _File) else self._short(ready, asked)

    def sent(self, answer: LongAnswer | PiecedAnswer, sent_bytes: int, error: str = "") -> None:
        """A long answer ended: after so many bytes of its body, with an error if it was broken off."""
        file: FileAt | None = None
        if isinstance(answer, LongAnswer):
            file = answer.file
            answer.body.release()
        else:
            for handle in answer.handles:
                handle.release()
            self._metrics.xet_served(sent_bytes)
        self._ended(answer.asked, answer.status, sent_bytes, file, error)

    def close(self) -> None:
        """Let go of everything."""
        self.settle()
        if self._data is not None:
            self._data.close()

    def begins(self, answer: LongAnswer | PiecedAnswer, transport: asyncio.BaseTransport) -> object:
        """A long answer takes a while: it is cut when its file is recalled, until `ended` is told this."""
        if self._recalls is None:
            return None
        if isinstance(answer, PiecedAnswer):
            route = answer.asked.route
            file_id = route.file_id if isinstance(route, Data) else ""
            return self._recalls.begin_content(file_id, cutter(transport))
        return self._recalls.begin_reading(answer.file, cutter(transport))

    def ended(self, reading: object) -> None:
        if self._recalls is not None:
            self._recalls.end_reading(reading)

    def settle(self) -> None:
        """Counts and logs what ended lately."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        past, self._past = self._past, []
        epoch = time.time() - time.perf_counter()
        for one in past:
            record, seconds = _record(one), one.ended - one.asked.started
            self._metrics.count(record, seconds)
            self._log.write(record, seconds, epoch + one.ended)
            self._auditing.finished(record, epoch + one.ended)

    def _ended(
        self, asked: _Asked, status: int, sent_bytes: int, file: FileAt | None, error: str = ""
    ) -> None:
        self._past.append(_Past(asked, status, sent_bytes, error, time.perf_counter(), file))
        if len(self._past) >= _PAST_KEPT:
            self.settle()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self.settle)

    def _forgot(self) -> bool:
        """Whether what was found is not to be believed any more; if so, it is forgotten."""
        generation = (self._answers.generation, self._files.guard_serial)
        if self._generation == generation:
            return False
        self._generation = generation
        self._memos.clear()
        self._repeats.clear()
        return True

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
                place, base_url = face
                places = (f"200 {place}{warning}", f"206 {place}{warning}")
                return None if self.sender is None else _File(file, places, base_url, warning)
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

    @staticmethod
    def _told(file: FileAt, base_url: str, warning: str) -> list[tuple[str, str]]:
        xet_headers = file_xet_headers(file, base_url) if base_url else []
        return [*plain_headers(file), *xet_headers, ("X-Moongate-Cache", "hit"), *warned(warning)]

    def _short(self, ready: _Ready, asked: _Asked) -> bytes:
        """An answer in one write."""
        head, body, status, file = ready
        if asked.message.method == "HEAD":
            body = b""
        elif file is not None:
            self._auditing.begins(asked, file)
        self._ended(asked, status, len(body), file)
        return b"%b%bX-Request-Id: %b\r\n\r\n%b" % (head, date_line(), asked.request_id.encode(), body)

    def _long(self, ready: _File, asked: _Asked) -> LongAnswer | None:
        """A sealed file, or the range of it that is asked for, to be sent piece by piece."""
        headers = asked.message.headers
        ranged = headers.get(hdrs.RANGE)
        spans = parse_range(ranged, ready.file.entry.size_bytes) if ranged is not None else None
        if isinstance(spans, Unsatisfiable) or (spans and len(spans) > 1) or hdrs.IF_RANGE in headers:
            return None
        if spans:
            if spans[0].end == ready.file.entry.size_bytes and asks_for_the_rest(ranged or ""):
                return None
            return self._piece(ready, asked, 206, spans[0].start, spans[0].end)
        return self._piece(ready, asked, 200, 0, ready.file.entry.size_bytes)

    def _piece(self, ready: _File, asked: _Asked, status: int, start: int, end: int) -> LongAnswer | None:
        """The bytes of a sealed file from `start` up to `end`."""
        file = ready.file
        body = self._files.sealed(file)
        if body is None:
            return None
        place = ready.places[status == 206]
        head = self._known_head(file, place)
        if head is None:
            told = self._told(file, ready.base_url, ready.warning)
            head = self._keep_head(file, place, head_start(status, told))
        where = b""
        if status == 206:
            where = b"Content-Range: bytes %d-%d/%d\r\n" % (start, end - 1, file.entry.size_bytes)
        head = b"%bContent-Length: %d\r\n%b%bX-Request-Id: %b\r\n\r\n" % (
            head,
            end - start,
            where,
            date_line(),
            asked.request_id.encode(),
        )
        self._auditing.begins(asked, file)
        return LongAnswer(head, body, start, end, status, asked, file)

    @staticmethod
    def _signed(
        lane: DataLane, message: RawRequestMessage, peer: str | None, started: float
    ) -> PiecedAnswer | None:
        """Xorb data: by its address alone, whoever asks."""
        data = lane.answer(message.path, message.headers.get(hdrs.RANGE))
        if data is None:
            return None
        asked = _Asked(message, data.route, ANONYMOUS, peer, new_request_id(), started)
        head = b"%b%bX-Request-Id: %b\r\n\r\n" % (data.head, date_line(), asked.request_id.encode())
        return PiecedAnswer(head, data.pieces, data.handles, 206, asked)

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


def _record(past: _Past) -> Record:
    asked = past.asked
    path, _, query = asked.message.path.partition("?")
    return Record(
        asked.message.method,
        path,
        query,
        asked.request_id,
        asked.peer,
        asked.message.headers.get("X-Amzn-Trace-Id"),
        asked.started,
        "CasData" if isinstance(asked.route, Data) else type(asked.route).__name__,
        getattr(asked.route, "repo", None),
        asked.caller,
        "hit",
        past.status,
        past.sent_bytes,
        past.error,
        past.file,
        (),
        asked.agent,
        asked.forwarded,
    )
