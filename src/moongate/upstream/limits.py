"""Upstream's rate limits as we were told of them: not before this moment, for this kind of request.

The Hub counts API calls, file resolutions and pages apart, and each token for itself; so do we. All requests
of a process share what one of them was told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamBusy

PATIENCE_SECONDS = 2.0


def bucket_of(path_qs: str, credential: Secret | None) -> str:
    """The limit that a request counts against."""
    path = path_qs.partition("?")[0]
    if "/resolve/" in path or path.startswith("/api/resolve-cache/"):
        kind = "resolvers"
    else:
        kind = "api" if path.startswith("/api/") else "pages"
    return f"{kind} {credential.fingerprint if credential else 'anonymous'}"


class Limits:
    """When each bucket may be used again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._not_before: dict[str, float] = {}

    def close(self, bucket: str, seconds: float) -> None:
        """Upstream said 429: nobody asks in this bucket for so long."""
        now = self._clock()
        self._not_before = {name: until for name, until in self._not_before.items() if until > now}
        self._not_before[bucket] = max(now + seconds, self._not_before.get(bucket, 0.0))

    def remaining_seconds(self, bucket: str) -> float:
        """How long the bucket stays closed; 0 when it is open."""
        return max(0.0, self._not_before.get(bucket, 0.0) - self._clock())

    async def wait(self, bucket: str) -> None:
        """Return once the bucket is open, if that is soon.

        Raises:
            UpstreamBusy: it is not; the error says how long.
        """
        seconds = self.remaining_seconds(bucket)
        if seconds > PATIENCE_SECONDS:
            raise UpstreamBusy("upstream is limiting requests; asking again later", seconds)
        if seconds > 0:
            await asyncio.sleep(seconds)
