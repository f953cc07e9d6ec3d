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

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from moongate.core.callers import Secret
from moongate.core.digests import Etag
from moongate.core.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreachable,
)
from moongate.core.spans import ByteSpan
from moongate.upstream.connection import Answer, Body, Links
from moongate.upstream.guard import AddressGuard, redirected
from moongate.wire.errors import error_from_answer
from moongate.wire.lfs import LfsPointed, batch_request, read_batch_answer

_MAX_REDIRECTS = 6
_EXPIRED = (401, 403, 404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)


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


class RangedConnection:
    """One worker's connections, at most one to a host. Not thread-safe but for `abort`."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._links = Links(source.guard, source.timeout_seconds, source.user_agent)

    def close(self) -> None:
        """Close everything. May be called twice."""
        self._links.close()

    def abort(self) -> None:
        """Called by another thread: a read that is under way ends with an error, and no new one begins."""
        self._links.abort()

    def open(self, span: ByteSpan) -> Body:
        """The bytes of this span. A server that ignores ranges answers from 0 on: see `Body.position`.

        Raises:
            UpstreamError, NotAllowed, Absent: as the origin said, or because an answer made no sense.
        """
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

    def _walk(self, span: ByteSpan) -> tuple[_Place, Answer]:
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

    def _get(self, place: _Place, span: ByteSpan) -> Answer:
        whole = span.start == 0 and span.end == self._source.size_bytes
        return self._send("GET", place, {} if whole else {"Range": span.range_header()}, None)

    def _send(self, method: str, place: _Place, extra: Mapping[str, str], body: bytes | None) -> Answer:
        headers = {**place.headers, **extra}
        if place.at_origin and self._source.road.credential is not None:
            headers["Authorization"] = "Bearer " + self._source.road.credential.reveal()
        return self._links.send(method, place.url, headers, body)

    def _body(self, answer: Answer, place: _Place, span: ByteSpan) -> Body:
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

    def _raise(self, answer: Answer, place: _Place) -> None:
        text = answer.read_all()
        error = error_from_answer(answer.status, answer.headers, text)
        if not place.at_origin and answer.status in _EXPIRED:
            # What a CDN thinks of a signature says nothing about the repository.
            self._source.forget(place)
            error = UpstreamUnreachable(f"upstream's storage refused with {answer.status}")
        if not isinstance(error, UpstreamError) and not place.at_origin:
            error = UpstreamBroken(f"upstream's storage answered {answer.status}")
        raise error


_LFS_HEADERS = {
    "Accept": "application/vnd.git-lfs+json",
    "Content-Type": "application/vnd.git-lfs+json",
}
