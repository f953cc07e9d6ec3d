"""Signed xorb data in the fast lane: ranges of proven files whose chunks are here.

Takes no more than `XorbRoutes.data` answers with a hit, and answers alike. What an address permits is read
once; when it ends, and whether the file is still proven, is looked at each time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from moongate.app.data_addresses import DataAddresses
from moongate.app.replies import head_start
from moongate.app.sendfile import FilePiece, FileSpan
from moongate.core.digests import Etag
from moongate.core.errors import BadName, NotAllowed
from moongate.core.spans import ByteSpan
from moongate.hub.handles import Handle
from moongate.wire.cas_paths import Data, parse_cas_path
from moongate.wire.data_urls import asked_spans
from moongate.wire.ranges import MultipartFrame, multipart_frame
from moongate.wire.xet_words import CAS_PREFIX
from moongate.xet.hashes import XetHash, parse_hash

DATA_TYPE = "application/octet-stream"
_PREFIX = f"{CAS_PREFIX}/data/"
_KEPT = 2048


class HeldChunks(Protocol):
    """Bytes of an open file; the handle is released once."""

    @property
    def handle(self) -> Handle: ...
    @property
    def offset(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...


class ProvenChunks(Protocol):
    """What this room needs of `hub.chunks_at_hand.ChunksAtHand`."""

    def proven(self, file_id: str) -> Any: ...
    def needs(self, row: Any, xorb: XetHash, span: ByteSpan) -> bool: ...
    def take(
        self, row: Any, xorb: XetHash, spans: Sequence[ByteSpan]
    ) -> Sequence[Sequence[HeldChunks]] | None: ...
    def close(self) -> None: ...


class DataAnswer(NamedTuple):
    """Ranges to send: the head but for what differs each time, the body, and what to release afterwards."""

    head: bytes
    pieces: list[FilePiece | bytes]
    handles: list[Handle]
    length_bytes: int
    route: Data


class _Permit(NamedTuple):
    """What an address and a `Range` header come to. `row`: of which file that was found to be part."""

    route: Data
    xorb: XetHash
    spans: list[ByteSpan]
    expires_seconds: int
    start: bytes
    row: Any
    verdict: str


class DataLane:
    """Finds answers to data addresses. One per process."""

    def __init__(
        self,
        addresses: DataAddresses,
        chunks: ProvenChunks,
        now: Callable[[], float] = time.time,
        may_flow: Callable[[Etag, str], bool] = lambda etag, told: True,
        anything_recalled: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        may_flow: whether a content's chunks may go to who was let pass by the verdict that is told.
        anything_recalled: while this says so, all goes the ordinary way, which knows what.
        """
        self._may_flow = may_flow
        self._anything_recalled = anything_recalled
        self._addresses = addresses
        self._chunks = chunks
        self._now = now
        self._permits: dict[tuple[str, str], _Permit] = {}

    def answer(self, target: str, ranges: str | None) -> DataAnswer | None:
        """What answers a GET of this path and query; None when it must go the ordinary way."""
        if ranges is None or not target.startswith(_PREFIX) or self._anything_recalled():
            return None
        known = self._permits.get((target, ranges))
        if known is None:
            known = self._read(target, ranges)
        if known is None or known.expires_seconds <= self._now():
            return None
        row = self._chunks.proven(known.route.file_id)
        if row is None or not self._may_flow(row.etag, known.verdict):
            return None
        if row is not known.row:
            if not all(self._chunks.needs(row, known.xorb, span) for span in known.spans):
                return None
            known = known._replace(row=row)
            self._keep(target, ranges, known)
        taken = self._chunks.take(row, known.xorb, known.spans)
        return None if taken is None else _answer(known, taken)

    def close(self) -> None:
        """Let go of what is open."""
        self._chunks.close()

    def _read(self, target: str, ranges: str) -> _Permit | None:
        path, _, query = target.partition("?")
        route = parse_cas_path(path)
        if not isinstance(route, Data):
            return None
        try:
            signed = self._addresses.read(route, query)
            spans = asked_spans(ranges, signed.spans)
            xorb = parse_hash(route.xorb)
        except (NotAllowed, BadName):  # the ordinary way tells why
            return None
        start = head_start(206, [*data_headers(route), ("X-Moongate-Cache", "hit")])
        return _Permit(route, xorb, spans, signed.expires_seconds, start, None, signed.verdict)

    def _keep(self, target: str, ranges: str, permit: _Permit) -> None:
        if len(self._permits) >= _KEPT:
            self._permits.clear()
        self._permits[target, ranges] = permit


def data_headers(route: Data) -> list[tuple[str, str]]:
    """What every answer with xorb data says."""
    return [
        ("ETag", f'"{route.xorb}"'),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "private, no-transform"),
    ]


def _answer(permit: _Permit, taken: Sequence[Sequence[HeldChunks]]) -> DataAnswer:
    frame: MultipartFrame | None = None
    spans = permit.spans
    if len(spans) == 1:
        length_bytes, kind = spans[0].length, DATA_TYPE
        where = f"Content-Range: {spans[0].content_range(None)}\r\n"
    else:
        frame = multipart_frame(spans, None, DATA_TYPE, secrets.token_hex(16))
        length_bytes, kind, where = frame.length_bytes, frame.content_type, ""
    told = f"Content-Type: {kind}\r\n{where}Content-Length: {length_bytes}\r\n"
    handles = [piece.handle for some in taken for piece in some]
    return DataAnswer(
        permit.start + told.encode(), list(_pieces(frame, taken)), handles, length_bytes, permit.route
    )


def _pieces(
    frame: MultipartFrame | None, taken: Sequence[Sequence[HeldChunks]]
) -> Iterator[FilePiece | bytes]:
    for at, some in enumerate(taken):
        if frame is not None:
            yield frame.heads[at]
        for piece in some:
            yield FileSpan(piece.handle.fd, piece.offset, piece.size_bytes)
    if frame is not None:
        yield frame.tail
