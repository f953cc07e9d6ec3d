"""Ranges of xorbs from wherever upstream's reconstruction says they lie, over blocking connections.

The addresses are signed, hold for a while and open nothing else; no credential goes with them. How long a
xorb is, nobody says; so a range must be answered with exactly itself, or with the xorb from its start.
"""

from __future__ import annotations

from moongate.core.errors import UpstreamBroken, UpstreamError, UpstreamRefused, UpstreamUnreachable
from moongate.core.spans import ByteSpan
from moongate.upstream.connection import Answer, Body, Links
from moongate.upstream.guard import AddressGuard, redirected
from moongate.wire.errors import error_from_answer

_EXPIRED = (401, 403, 404, 410)
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5


class AddressExpired(UpstreamUnreachable):
    """The signed address is not good any more; the reconstruction has to be asked again."""


class XorbConnection:
    """One worker's connections to xorb data. Not thread-safe but for `abort`."""

    def __init__(self, guard: AddressGuard, timeout_seconds: float, user_agent: str) -> None:
        self._guard = guard
        self._links = Links(guard, timeout_seconds, user_agent)

    def open(self, url: str, span: ByteSpan) -> Body:
        """The bytes `span` of the xorb at `url`; a body that begins before them must be skipped up to there.

        Raises:
            AddressExpired: ask the reconstruction again.
            UpstreamError: no answer, or one that makes no sense.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._links.send("GET", url, {"Range": span.range_header()})
            if answer.status not in _REDIRECTS:
                return _body(answer, span)
            location = answer.response.getheader("Location")
            answer.discard()
            url = redirected(url, location)
        raise UpstreamRefused("upstream's storage redirects in circles")

    def close(self) -> None:
        """Close everything. May be called twice."""
        self._links.close()

    def abort(self) -> None:
        """Called by another thread: a read that is under way ends with an error, and no new one begins."""
        self._links.abort()


def _body(answer: Answer, span: ByteSpan) -> Body:
    length = _length(answer)
    if answer.status == 206:
        given = answer.response.getheader("Content-Range", "").strip().lower()
        if not given.startswith(f"bytes {span.start}-{span.end - 1}/") or length not in (None, span.length):
            answer.discard()
            raise UpstreamBroken(
                f"upstream's storage sent another range than the one asked for: {given[:80]!r}"
            )
        return Body(answer.connection, answer.response, span)
    if answer.status == 200:
        if length is None or length < span.end:
            answer.discard()
            raise UpstreamBroken("upstream's storage sent less of a xorb than its reconstruction tells")
        return Body(answer.connection, answer.response, ByteSpan(0, length))
    text = answer.read_all()
    if answer.status in _EXPIRED:
        raise AddressExpired(f"upstream's storage refused with {answer.status}")
    error = error_from_answer(answer.status, answer.headers, text)
    if isinstance(error, UpstreamError):
        raise error
    raise UpstreamBroken(f"upstream's storage answered {answer.status}")


def _length(answer: Answer) -> int | None:
    told = answer.response.getheader("Content-Length")
    return int(told) if told is not None and told.isdigit() else None
