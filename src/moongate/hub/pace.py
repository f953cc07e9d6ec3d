"""`Pace`: how fast each connection of a fill brings bytes, and whether that is as fast as could be wished.

Upstreams limit what one connection brings, and there more connections bring more. Where one is as fast as
this machine, a second one takes its share from the first: all ranges come at once, each of them late, and
what must be read in order waits for the slowest.
"""

from __future__ import annotations

_AMPLE_BYTES_PER_SECOND = 250e6
_LOOK_SECONDS = 0.02
_UNKNOWN_SECONDS = 0.05
# A slow moment of our own says nothing about upstream.
_FADING = 0.8


class Pace:
    """What connections bring, on average, lately. Not thread-safe."""

    def __init__(self, now: float) -> None:
        self._at = self._began = now
        self._bytes = 0
        self._each: float | None = None

    def look(self, count: int, fetched_bytes: int, now: float) -> None:
        """Take in what `count` connections fetched so far."""
        if not self._bytes:
            self._at, self._bytes = now, fetched_bytes
        elapsed = now - self._at
        if elapsed >= _LOOK_SECONDS:
            each = (fetched_bytes - self._bytes) / elapsed / count
            self._each = max(each, (self._each or 0.0) * _FADING)
            self._at, self._bytes = now, fetched_bytes

    def is_ample(self, now: float) -> bool:
        """Whether more connections would be of no use; taken for granted in the first moments."""
        if self._each is None:
            return now - self._began < _UNKNOWN_SECONDS
        return self._each >= _AMPLE_BYTES_PER_SECOND
