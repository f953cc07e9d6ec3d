"""Posting to addresses that an administrator named: webhooks.

Any public host over https, and the hosts that the settings name, which may be private and plain. Names are
looked up once and checked as everywhere (see `guard`); no redirect is followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import aiohttp

from moongate.core.errors import UpstreamRefused
from moongate.upstream.guard import AddressGuard
from moongate.upstream.transport import Transport

_NOBODY = "https://nobody.invalid"


class PublicGuard(AddressGuard):
    """Lets connections go to any public address over https, and to what is named."""

    def __init__(self, allowed_hosts: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
        super().__init__(_NOBODY, allowed_hosts, environment)

    def _allows(self, scheme: str, host: str, port: int) -> bool:
        return scheme == "https" or super()._allows(scheme, host, port)


class Poster:
    """Posts, and says what status came back. Belongs to one event loop."""

    def __init__(self, allowed_hosts: Sequence[str], timeout_seconds: float, user_agent: str) -> None:
        self._guard = PublicGuard(allowed_hosts)
        self._transport = Transport(self._guard)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._user_agent = user_agent

    def check(self, url: str) -> None:
        """Return when webhooks may go to this address, as far as can be told without looking it up.

        Raises:
            UpstreamRefused: they may not.
            UpstreamBroken: it is no address.
        """
        try:
            self._guard.check_url(url)
        except UpstreamRefused:
            raise UpstreamRefused(
                "a webhook goes to a public address over https; name the host in webhook_allowed_hosts "
                "if it may be private, or plain http"
            ) from None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer; its body is not read.

        Raises:
            UpstreamError: there was no answer, or the address may not be reached.
        """
        checked = self._guard.check_url(url)
        sent = {**headers, "User-Agent": self._user_agent}
        response = await self._transport.send("POST", checked, sent, body, self._timeout, decode=False)
        response.close()
        return response.status

    async def close(self) -> None:
        """May be called twice."""
        await self._transport.close()
