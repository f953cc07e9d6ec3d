"""Workloads that bring a signed token of a trusted issuer as their Bearer, for each request anew.

What was found right is remembered by the token's hash for `HOLD_SECONDS`, so that a trust that was taken back
counts no longer, and never past the token's own end.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from moongate.core.callers import Caller
from moongate.hub.standing import Standing
from moongate.hub.trusts import Given, Trusts

HOLD_SECONDS = 30.0
_KEPT = 4096


class IdTokenCallers:
    """Finds whom such tokens stand for. One per process."""

    def __init__(self, trusts: Trusts, standing: Standing, now: Callable[[], float] = time.time) -> None:
        self._trusts = trusts
        self._standing = standing
        self._now = now
        self._known: dict[tuple[str, str], tuple[float, Given]] = {}

    async def caller(self, token: str, base_url: str) -> Caller:
        """For whom a token stands.

        Raises:
            BadIdToken: for nobody.
            UpstreamError: its issuer cannot be asked.
        """
        key = (base_url, hashlib.sha256(token.encode()).hexdigest())
        known = self._known.get(key)
        if known is not None and known[0] > self._now() and self._trusts.comes_in(known[1].user):
            return self._as_caller(known[1])
        given = await self._trusts.direct(token, base_url)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[key] = (min(self._now() + HOLD_SECONDS, given.expires_at), given)
        return self._as_caller(given)

    def _as_caller(self, given: Given) -> Caller:
        stand = self._standing.of(given.user)
        return Caller(
            "token",
            given.user,
            given.scope,
            places=given.places,
            teams=stand.teams,
            roles=stand.roles,
            service=True,
            method="id-token",
        )
