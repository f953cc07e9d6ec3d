"""What issuers publish, kept for a while, and their tokens checked with it.

Keys are asked for again after `FRESH_SECONDS`; while the issuer cannot be asked they count for
`GOOD_SECONDS`, and then nothing is believed any more. A token that names a key we do not know has them asked
for at once, but not more often than every `AGAIN_SECONDS`, whoever sends such tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamBroken, UpstreamError
from moongate.wire.id_tokens import Claims, Expected, KeyUnknown, claims_of
from moongate.wire.oidc import Metadata, discovery_url, read_keys, read_metadata

FRESH_SECONDS: Final = 900.0
GOOD_SECONDS: Final = 3600.0
AGAIN_SECONDS: Final = 30.0


class AsksIssuers(Protocol):
    """What this room needs of `upstream.issuer.IssuerClient`."""

    async def ask(
        self,
        issuer: str,
        url: str,
        form: Mapping[str, str] | None = None,
        authorization: Secret | None = None,
    ) -> tuple[int, object]: ...


@dataclass(slots=True)
class _Known:
    """What is known of one issuer, and since when."""

    metadata: Metadata | None = None
    keys: Sequence[Mapping[str, Any]] = ()
    asked_at: float = float("-inf")
    tried_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Issuers:
    """Everything that is known of issuers. One per process."""

    def __init__(self, client: AsksIssuers, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def metadata(self, issuer: str) -> Metadata:
        """What an issuer says of itself.

        Raises:
            UpstreamError: it cannot be found out, and was not lately.
        """
        known = await self._renewed(issuer)
        if known.metadata is None:
            raise UpstreamBroken("the issuer told nothing of itself")
        return known.metadata

    async def claims(self, token: str, expected: Expected) -> Claims:
        """What a token says, once all of it is right.

        Raises:
            BadIdToken: it is not right.
            UpstreamError: that cannot be found out.
        """
        known = await self._renewed(expected.issuer)
        try:
            return claims_of(token, known.keys, expected, self._clock())
        except KeyUnknown:
            before = known.asked_at
            await self._renewed(expected.issuer, at_least=self._clock() - AGAIN_SECONDS)
            if known.asked_at == before:
                raise
            return claims_of(token, known.keys, expected, self._clock())

    async def ask(
        self,
        issuer: str,
        url: str,
        form: Mapping[str, str] | None = None,
        authorization: Secret | None = None,
    ) -> tuple[int, object]:
        """See `AsksIssuers.ask`."""
        return await self._client.ask(issuer, url, form, authorization)

    async def _renewed(self, issuer: str, at_least: float | None = None) -> _Known:
        """What is known of an issuer, asked anew when that is older than it may be."""
        known = self._known.setdefault(issuer, _Known())
        async with known.lock:
            now = self._clock()
            oldest = now - FRESH_SECONDS if at_least is None else at_least
            if known.asked_at > oldest:
                return known
            if at_least is not None and known.tried_at > at_least:
                return known
            known.tried_at = now
            try:
                known.metadata, known.keys = await self._ask(issuer)
            except UpstreamError:
                if now - known.asked_at >= GOOD_SECONDS:
                    known.metadata, known.keys = None, ()
                    raise
            else:
                known.asked_at = now
        return known

    async def _ask(self, issuer: str) -> tuple[Metadata, Sequence[Mapping[str, Any]]]:
        status, told = await self._client.ask(issuer, discovery_url(issuer))
        if status != 200:
            raise UpstreamBroken(f"the issuer answered {status} where it tells of itself")
        metadata = read_metadata(told, issuer)
        status, told = await self._client.ask(issuer, metadata.jwks_uri)
        if status != 200:
            raise UpstreamBroken(f"the issuer answered {status} where its keys are")
        return metadata, read_keys(told)
