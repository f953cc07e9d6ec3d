"""Bytes of a segment to send, while the segment may still be growing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from moongate.core.errors import StoreFull, UpstreamUnreachable
from moongate.core.spans import ByteSpan
from moongate.hub.bells import Bells
from moongate.hub.xet_fill import XetFill
from moongate.store.segments import Segment

_WINDOW_BYTES = 16 << 20
_FIRST_WAIT_SECONDS = 0.005
LONGEST_WAIT_SECONDS = 0.25


class SegmentBody:
    """An open segment to send, and how far it may be read now. Positions count from the xorb's start.

    span: the part of the xorb that this body is for. base: the position of byte 0 of `fd`.
    outcome: `hit` when the file was proven when it was opened, `miss` while it is being filled.
    """

    def __init__(self, segment: Segment, fd: int, span: ByteSpan, fill: XetFill | None) -> None:
        self.fd = fd
        self.base = segment.span.start
        self.span = span
        self._segment = segment
        self._fill = fill

    @property
    def outcome(self) -> Literal["hit", "miss"]:
        return "hit" if self._fill is None else "miss"

    async def ready(self, position: int, end: int) -> int:
        """How many bytes from `position` on may be sent from `fd` now: at least 1, at most up to `end`.

        Waits for the fill when there are none yet. A cancelled wait stops nothing.

        Raises:
            VerificationFailed: the bytes were not the file's; those sent so far must not become a file.
            StoreFull: there is no room for the rest.
            UpstreamError: the fill stopped; its progress is kept.
        """
        fill = self._fill
        if fill is None:
            return min(end, position + _WINDOW_BYTES) - position
        bells: Bells = fill.room.bells
        troubles, wait_seconds = fill.trouble_serial, _FIRST_WAIT_SECONDS
        end = min(end, self._segment.span.end, position + _WINDOW_BYTES)
        while True:
            since = bells.serial
            fill.raise_trouble(troubles)
            allowed = fill.allowed(self._segment.xorb, position, end)
            reach = min(allowed, self.base + os.fstat(self.fd).st_size)
            if reach > position:
                return reach - position
            key: object = self._segment.xorb
            if allowed <= position:
                key = fill.row.file_id
                fill.want_whole()
            elif (at := fill.range_at(self._segment.xorb, position)) is not None:
                fill.want(at)
            if wait_seconds == LONGEST_WAIT_SECONDS and self._is_gone():
                raise UpstreamUnreachable("these bytes are being fetched anew; ask again")
            await bells.heard(key, since, wait_seconds)
            wait_seconds = min(LONGEST_WAIT_SECONDS, wait_seconds * 2)

    def _is_gone(self) -> bool:
        """Whether the segment's file is another one by now, so that what we have open grows no more."""
        try:
            return Path(self._segment.path).stat().st_ino != os.fstat(self.fd).st_ino
        except FileNotFoundError:
            return True

    def read(self, position: int, count: int) -> bytes:
        """A few bytes that are ready."""
        return os.pread(self.fd, count, position - self.base)

    def stream(self, position: int, end: int) -> AsyncIterator[bytes]:
        """What is left to do when the disk is full: nothing. What is not kept cannot be proven.

        Raises:
            StoreFull: always.
        """
        raise StoreFull("no room for the chunks of this file")

    def close(self) -> None:
        """Done reading. May be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
