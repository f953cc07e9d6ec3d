"""Ranges of one upstream file, over blocking keep-alive connections: what a fill's worker threads read from.

A `FileSource` knows one road to the bytes and remembers where it last ended (a CDN's signed URL). When
that place stops answering (403, 404, 410: signatures expire), the road is walked again; it names a commit
or a content hash, never a branch, so what it leads to cannot change under a download.

Rules of this file:
- Bodies are read straight from the socket into the caller's buffer.
- Lengths are checked before the first byte is believed: a 206 must be the span that was asked for, of a file
  of the size that we know.
- A credential goes to the origin alone.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from moongate.core.callers import Secret
from moongate.core.digests import Etag
from moongate.core.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from moongate.core.spans import ByteSpan
from moongate.upstream.guard import AddressGuard, redirected
from moongate.wire.errors import error_from_answer
from moongate.wire.lfs import LfsPointed, batch_request, read_batch_answer

_MAX_REDIRECTS = 6
_EXPIRED = (401, 403, 404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)
_ERROR_BODY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Road:
    """How to get to a file's bytes: a path at the origin, or the LFS batch of a repository.

    path_qs: a path (and query) at the origin that answers, or redirects to, the bytes.
    lfs_oid: when set, `path_qs` is an LFS batch route, and the object of that sha256 is asked of it.
    """

    path_qs: str
    credential: Secret | None = None
    lfs_oid: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bytes were last found, and what must be sent there."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    at_origin: bool = False


class FileSource:
    """One file upstream; shared by the worker threads of a fill."""

    def __init__(
        self,
        guard: AddressGuard,
        origin: str,
        road: Road,
        size_bytes: int,
        *,
        timeout_seconds: float,
        user_agent: str,
        known_url: str | None = None,
    ) -> None:
        """`known_url`: where a request a moment ago was redirected to, to save walking the road again."""
        self.guard = guard
        self.origin = origin.rstrip("/")
        self.road = road
        self.size_bytes = size_bytes
        self.timeout_seconds = timeout_seconds
        self.user_agent = user_agent
        self._lock = threading.Lock()
        self._place: _Place | None = None
        if known_url:
            self._place = _Place(known_url, at_origin=guard.is_origin(guard.check_url(known_url)))

    def connect(self) -> RangedConnection:
        """A fresh set of connections for one worker thread. Opens nothing yet."""
        return RangedConnection(self)

    def place(self) -> _Place | None:
        with self._lock:
            return self._place

    def remember(self, place: _Place) -> None:
        with self._lock:
            self._place = place

    def forget(self, place: _Place) -> None:
        """The place stopped answering; walk the road again, unless another worker already has."""
        with self._lock:
            if self._place is not None and self._place.url == place.url:
                self._place = None


class Body:
    """The bytes of one answer, from `position` on. Read until `remaining` is 0, then `finish`."""

    def __init__(self, connection: _Connection, response: http.client.HTTPResponse, span: ByteSpan) -> None:
        self._connection = connection
        self._response = response
        self._raw = None if response.chunked else response.fp
        self.position = span.start
        self.remaining = span.length
        connection.wait_in_kernel(True)

    def readinto(self, buffer: memoryview) -> int:
        """At least one byte, as soon as there is one; at most `remaining`.

        Raises:
            UpstreamUnreachable: the connection broke off. What was read stands; ask for the rest.
            UpstreamTimeout: nothing came in time.
        """
        view = buffer[: self.remaining]
        try:
            if self._raw is not None:
                count = self._raw.readinto1(view)
            else:
                piece = self._response.read1(len(view))
                count = len(piece)
                view[:count] = piece
            if count is None:
                raise TimeoutError
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError) as error:
            self._connection.close()
            raise UpstreamTimeout("upstream fell silent in the middle of a file") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise UpstreamUnreachable("upstream broke off in the middle of a file") from error
        if count <= 0:
            self._connection.close()
            raise UpstreamUnreachable("upstream ended a file early")
        self.position += count
        self.remaining -= count
        return count

    def finish(self) -> None:
        """Give the connection back for the next span; an unread rest closes it."""
        if self.remaining == 0 and not self._response.chunked and not self._response.will_close:
            self._response.close()
            self._connection.wait_in_kernel(False)
        else:
            self._connection.close()


class RangedConnection:
    """One worker's connections, at most one to a host. Not thread-safe but for `abort`."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._connections: dict[tuple[str, str, int], _Connection] = {}
        self._closed = False

    def close(self) -> None:
        """Close everything. May be called twice."""
        self._closed = True
        for connection in self._connections.values():
            connection.close()

    def abort(self) -> None:
        """Called by another thread: a read that is under way ends with an error, and no new one begins."""
        self._closed = True
        for connection in list(self._connections.values()):
            connection.abort()

    def open(self, span: ByteSpan) -> Body:
        """The bytes of this span. A server that ignores ranges answers from 0 on: see `Body.position`.

        Raises:
            UpstreamError, NotAllowed, Absent: as the origin said, or because an answer made no sense.
        """
        if self._closed:
            raise UpstreamUnreachable("the connection was given up")
        place = self._source.place()
        if place is not None:
            answer = self._get(place, span)
            if answer.status not in _EXPIRED:
                return self._body(answer, place, span)
            answer.discard()
            self._source.forget(place)
        place, answer = self._walk(span)
        self._source.remember(place)
        return self._body(answer, place, span)

    def _walk(self, span: ByteSpan) -> tuple[_Place, _Answer]:
        """Follow the road to its end, asking for the span all along."""
        place = self._start()
        for _ in range(_MAX_REDIRECTS):
            answer = self._get(place, span)
            if answer.status not in _REDIRECTS:
                return place, answer
            location = answer.response.getheader("Location")
            answer.discard()
            url = redirected(place.url, location)
            place = _Place(url, at_origin=self._source.guard.is_origin(self._source.guard.check_url(url)))
        raise UpstreamRefused("upstream redirects in circles")

    def _start(self) -> _Place:
        source, road = self._source, self._source.road
        url = source.origin + road.path_qs
        if road.lfs_oid is None:
            return _Place(url, at_origin=True)
        return self._lfs_place(url, road.lfs_oid)

    def _lfs_place(self, url: str, oid: str) -> _Place:
        body = batch_request([LfsPointed(Etag(oid), self._source.size_bytes)])
        answer = self._send("POST", _Place(url, _LFS_HEADERS, at_origin=True), {}, body)
        text = answer.read_all()
        if answer.status != 200:
            raise error_from_answer(answer.status, answer.headers, text)
        action = read_batch_answer(text).get(Etag(oid))
        if action is None:
            raise UpstreamBroken("upstream's LFS answer names no download")
        href = redirected(url, action.href)
        at_origin = self._source.guard.is_origin(self._source.guard.check_url(href))
        return _Place(href, dict(action.headers), at_origin)

    def _get(self, place: _Place, span: ByteSpan) -> _Answer:
        whole = span.start == 0 and span.end == self._source.size_bytes
        return self._send("GET", place, {} if whole else {"Range": span.range_header()}, None)

    def _send(self, method: str, place: _Place, extra: Mapping[str, str], body: bytes | None) -> _Answer:
        url = self._source.guard.check_url(place.url)
        headers = {
            "Accept-Encoding": "identity",
            "User-Agent": self._source.user_agent,
            **place.headers,
            **extra,
        }
        if place.at_origin and self._source.road.credential is not None:
            headers["Authorization"] = "Bearer " + self._source.road.credential.reveal()
        key = (url.scheme, url.raw_host or "", url.port or 0)
        connection = self._connections.get(key)
        fresh = connection is None or connection.sock is None
        if connection is None:
            connection = self._connections[key] = _Connection(self._source, *key)
        try:
            return _Answer(connection, connection.ask(method, url.raw_path_qs, body, headers))
        except (ConnectionError, http.client.RemoteDisconnected):
            if fresh or self._closed:
                raise UpstreamUnreachable("upstream closed the connection") from None
        return _Answer(connection, self._again(connection, method, url.raw_path_qs, body, headers))

    def _again(
        self, connection: _Connection, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        """Once more: an idle keep-alive connection may have been closed under us, and nobody failed."""
        try:
            return connection.ask(method, target, body, headers)
        except ConnectionError as error:
            raise UpstreamUnreachable("upstream closed the connection") from error

    def _body(self, answer: _Answer, place: _Place, span: ByteSpan) -> Body:
        size_bytes = self._source.size_bytes
        if answer.status == 206:
            given = answer.response.getheader("Content-Range", "")
            if given.strip().lower() != span.content_range(size_bytes):
                answer.discard()
                raise UpstreamBroken(f"upstream sent another range than the one asked for: {given[:80]!r}")
        elif answer.status == 200:
            span = ByteSpan(0, size_bytes)
        else:
            self._raise(answer, place)
        length = answer.response.getheader("Content-Length")
        if length is not None and length != str(span.length):
            answer.discard()
            raise UpstreamBroken(f"upstream announced {length[:20]} bytes where {span.length} were due")
        return Body(answer.connection, answer.response, span)

    def _raise(self, answer: _Answer, place: _Place) -> None:
        text = answer.read_all()
        error = error_from_answer(answer.status, answer.headers, text)
        if not place.at_origin and answer.status in _EXPIRED:
            # What a CDN thinks of a signature says nothing about the repository.
            self._source.forget(place)
            error = UpstreamUnreachable(f"upstream's storage refused with {answer.status}")
        if not isinstance(error, UpstreamError) and not place.at_origin:
            error = UpstreamBroken(f"upstream's storage answered {answer.status}")
        raise error


@dataclass(frozen=True, slots=True)
class _Answer:
    connection: _Connection
    response: http.client.HTTPResponse

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.response.getheaders())

    def read_all(self) -> bytes:
        """The start of a small body, for its error text; the connection is closed if more follows."""
        try:
            text = self.response.read(_ERROR_BODY_BYTES)
        except (OSError, http.client.HTTPException):
            text = b""
        self.discard()
        return text

    def discard(self) -> None:
        """Done with this answer: keep the connection if its body was empty or read, else close it."""
        if self.response.isclosed() or self.response.length == 0:
            self.response.close()
        else:
            self.connection.close()


class _Connection(http.client.HTTPConnection):
    """A connection whose address passed the guard, with TLS when the URL said so."""

    def __init__(self, source: FileSource, scheme: str, host: str, port: int) -> None:
        super().__init__(host, port, timeout=source.timeout_seconds)
        self._source = source
        self._scheme = scheme

    def connect(self) -> None:
        source = self._source
        sock = source.guard.create_connection(
            self.host, self.port, source.timeout_seconds, scheme=self._scheme
        )
        try:
            self.sock = (
                _tls().wrap_socket(sock, server_hostname=self.host) if self._scheme == "https" else sock
            )
        except (OSError, ssl.SSLError) as error:
            sock.close()
            raise UpstreamUnreachable(f"no TLS connection to {self.host}: {error}") from error

    def wait_in_kernel(self, on: bool) -> None:
        """Let the kernel keep the time of reads: Python's own time-out costs a poll before every one."""
        if self.sock is None:
            return
        self.sock.settimeout(None if on else self.timeout)
        if on:
            seconds = self._source.timeout_seconds
            limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)

    def ask(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        try:
            self.request(method, target, body, headers)
            return self.getresponse()
        except TimeoutError as error:
            self.close()
            raise UpstreamTimeout("upstream did not answer in time") from error
        except ConnectionError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise UpstreamUnreachable(f"upstream cannot be reached: {error.strerror}") from error
        except http.client.HTTPException as error:
            self.close()
            raise UpstreamBroken(f"upstream's answer is no HTTP: {type(error).__name__}") from error

    def abort(self) -> None:
        """Wake up a thread that reads from here, by shutting the socket under it."""
        if (sock := self.sock) is not None:
            try:
                sock.shutdown(2)
            except OSError:
                return


_LFS_HEADERS = {
    "Accept": "application/vnd.git-lfs+json",
    "Content-Type": "application/vnd.git-lfs+json",
}

_TLS_LOCK = threading.Lock()
_TLS_CONTEXT: list[ssl.SSLContext] = []


def _tls() -> ssl.SSLContext:
    """One context for all connections: building it reads every certificate of the machine."""
    with _TLS_LOCK:
        if not _TLS_CONTEXT:
            _TLS_CONTEXT.append(ssl.create_default_context())
        return _TLS_CONTEXT[0]
