"""Questions to an issuer of signed tokens: what it publishes, and what its token endpoint answers.

The issuer's own address may be anywhere, since an administrator named it. Whatever it names itself (its
keys, its token endpoint) is there too, or on a public address over https: an issuer cannot make us ask around
in our own network. No redirect is followed; answers are short.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp
import orjson

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from moongate.upstream.guard import AddressGuard
from moongate.upstream.transport import Transport, read_body

_MAX_ANSWER_BYTES = 512 << 10


class IssuerClient:
    """Asks issuers. Belongs to one event loop."""

    def __init__(self, timeout_seconds: float, user_agent: str) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._user_agent = user_agent
        self._ways: dict[str, tuple[AddressGuard, Transport]] = {}

    async def ask(
        self,
        issuer: str,
        url: str,
        form: Mapping[str, str] | None = None,
        authorization: Secret | None = None,
    ) -> tuple[int, object]:
        """The status and the JSON at an address that this issuer named; a form is posted.

        Raises:
            UpstreamRefused: no request may go there.
            UpstreamUnreachable, UpstreamTimeout, UpstreamBroken: it gave no sensible answer.
        """
        guard, transport = self._way(issuer)
        checked = guard.check_url(url)
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        if authorization is not None:
            headers["Authorization"] = authorization.reveal()
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        method = "GET" if body is None else "POST"
        response = await transport.send(method, checked, headers, body, self._timeout, decode=True)
        try:
            if 300 <= response.status < 400:
                raise UpstreamRefused("the issuer redirects, which is not followed")
            if response.status >= 500:
                raise UpstreamUnreachable(f"the issuer answered {response.status}")
            raw = await read_body(response, _MAX_ANSWER_BYTES)
        finally:
            response.close()
        try:
            return response.status, orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise UpstreamBroken("the issuer's answer is malformed JSON") from None

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        for _, transport in self._ways.values():
            await transport.close()
        self._ways.clear()

    def _way(self, issuer: str) -> tuple[AddressGuard, Transport]:
        if issuer not in self._ways:
            guard = AddressGuard(issuer, public_https=True)
            self._ways[issuer] = (guard, Transport(guard))
        return self._ways[issuer]
