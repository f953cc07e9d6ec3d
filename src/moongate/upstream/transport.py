"""One HTTP exchange with one checked address. Follows nothing, retries nothing, keeps nothing.

Every failure below HTTP leaves here as an error of core, and its text names a host at most: never a path or a
query, which may hold a signature, and never a header.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from moongate.core.errors import AnswerTooLong, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from moongate.upstream.guard import AddressGuard

MAX_HEADER_LINE_BYTES = 32 * 1024
_MAX_CONNECTIONS = 256
_READ_BYTES = 256 * 1024
_DNS_SECONDS = 10


class Transport:
    """Connections to upstream, kept open between exchanges. Belongs to one event loop."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | AsyncIterator[bytes] | None,
        timeout: aiohttp.ClientTimeout,
        *,
        decode: bool,
    ) -> aiohttp.ClientResponse:
        """The answer's status and headers; its body is still on the way. Close the answer when done.

        Args:
            url: from `AddressGuard.check_url`.
            decode: undo the answer's Content-Encoding while reading.

        Raises:
            UpstreamUnreachable, UpstreamTimeout, UpstreamBroken, UpstreamRefused
        """
        proxy = self._guard.proxy_for(url)
        proxy_headers = {}
        if proxy is not None and proxy.authorization is not None:
            proxy_headers["Proxy-Authorization"] = proxy.authorization.reveal()
        if url.scheme == "http":
            # Without TLS there is no CONNECT: the proxy reads the request itself, and keeps what is its own.
            headers = {**headers, **proxy_headers}
        with translated(url):
            return await self._open_session().request(
                method,
                url,
                headers=headers,
                data=body,
                timeout=timeout,
                allow_redirects=False,
                auto_decompress=decode,
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy_headers or None,
            )

    async def close(self) -> None:
        """Close every connection. May be called twice, and before anything was sent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=_MAX_CONNECTIONS, resolver=self._guard.aiohttp_resolver(), ttl_dns_cache=_DNS_SECONDS
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
                max_line_size=MAX_HEADER_LINE_BYTES,
                max_field_size=MAX_HEADER_LINE_BYTES,
            )
        return self._session


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The whole body, decoded.

    Raises:
        AnswerTooLong: it is longer than `max_bytes`.
        UpstreamBroken: it does not decode.
        UpstreamUnreachable, UpstreamTimeout: it did not come whole.
    """
    pieces = bytearray()
    async for piece in read_pieces(response):
        pieces += piece
        if len(pieces) > max_bytes:
            raise AnswerTooLong(f"upstream's answer is longer than {max_bytes >> 20} MiB")
    return bytes(pieces)


async def read_pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body as it comes."""
    while True:
        with translated(response.url):
            piece = await response.content.read(_READ_BYTES)
        if not piece:
            return
        yield piece


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn aiohttp's errors into ours."""
    where = url.raw_host
    try:
        yield
    except TimeoutError:
        raise UpstreamTimeout(f"{where} did not answer in time") from None
    except aiohttp.ClientPayloadError as error:
        if isinstance(error.__cause__, ContentEncodingError):
            raise UpstreamBroken(f"{where} sent a body that does not decode") from None
        raise UpstreamUnreachable(f"{where} broke off in mid-answer") from None
    except aiohttp.ClientHttpProxyError as error:
        raise UpstreamUnreachable(f"the proxy declined to connect to {where} ({error.status})") from None
    except aiohttp.ClientResponseError:
        raise UpstreamBroken(f"{where} sent an answer that is not HTTP, or headers of absurd size") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError):
        raise UpstreamUnreachable(f"{where} could not prove its identity (TLS)") from None
    except aiohttp.ClientConnectorError as error:
        # The event loop's own text repeats the address. A name that does not resolve has a number below 0.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or "no connection"
        raise UpstreamUnreachable(f"cannot connect to upstream at {where}: {why}") from None
    except aiohttp.InvalidURL:
        raise UpstreamBroken("upstream led to something that is no URL") from None
    except (aiohttp.ClientError, OSError):
        raise UpstreamUnreachable(f"the connection to {where} broke") from None
