"""Where a connection to upstream may go. Every URL, every redirect and every DNS answer passes here.

Rules:

- Schemes http and https only; no user name in a URL; hosts in plain ASCII and canonical spelling.
- The origin (scheme, host and port) is allowed. So are the hosts that the operator named: `host` (any port),
  `host:port`, or `*.suffix` (names below it). When the origin is the public Hub, so are its own CDN and Xet
  hosts, over https on port 443.
- A private, loopback, link-local or otherwise special address is reached only when the origin, or a host
  named exactly (no wildcard), leads there.
- A name is looked up once; the connection goes to an address that was checked, so an answer that changes
  between check and connection changes nothing.
- When the environment names an HTTP proxy (see `proxies`), the proxy looks names up and connects. Then only
  the list of allowed hosts applies; keeping private addresses out is the proxy's duty.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from moongate.core.errors import UpstreamBroken, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from moongate.core.names import shown
from moongate.upstream.addresses import is_public, literal_address, normal_host
from moongate.upstream.proxies import Proxies, Proxy

_PORTS = {"http": 80, "https": 443}
_PUBLIC_HUB = ("huggingface.co", "hf.co")
_MAX_URL_CHARS = 16 * 1024
_MAX_PROXY_ANSWER_BYTES = 8 * 1024
_KEPT = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")

_IPv4Name = tuple[str, int]
_IPv6Name = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address, ready for `socket.connect`."""

    family: socket.AddressFamily
    sockaddr: _IPv4Name | _IPv6Name

    @property
    def ip(self) -> str:
        return self.sockaddr[0]


@dataclass(frozen=True, slots=True)
class _HostRule:
    """One allowed host. `port` None means any; `exact` False means names below `host`."""

    host: str
    port: int | None
    exact: bool

    def matches(self, host: str, port: int) -> bool:
        if self.port is not None and port != self.port:
            return False
        return host == self.host if self.exact else host.endswith("." + self.host)


class AddressGuard:
    """Decides for one upstream where connections may go.

    Args:
        origin: upstream's address, such as `https://huggingface.co`; a path after it is ignored here.
        allowed_hosts: `host`, `host:port` or `*.suffix`, as the operator wrote them.
        environment: where proxy variables are read from.
        public_https: every host is allowed over https on port 443, as long as it is at a public address.

    Raises:
        UpstreamRefused: the origin, an allowed host or a proxy variable cannot be understood.
    """

    def __init__(
        self,
        origin: str,
        allowed_hosts: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
        *,
        public_https: bool = False,
    ) -> None:
        self._scheme, self._host, self._port = _split_origin(origin)
        self._named = [_parse_rule(text) for text in allowed_hosts if text.strip()]
        self._proxies = Proxies(environment)
        self._known: list[_HostRule] = []
        self._public_https = public_https
        if self._scheme == "https" and self._host == _PUBLIC_HUB[0]:
            self._known = [_HostRule(host, 443, exact) for host in _PUBLIC_HUB for exact in (True, False)]

    @property
    def origin(self) -> str:
        """Upstream's scheme, host and port, as `Origin` headers spell them."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = "" if self._port == _PORTS[self._scheme] else f":{self._port}"
        return f"{self._scheme}://{host}{port}"

    def check_url(self, url: str) -> URL:
        """The URL, parsed without changing a byte of its path and query, if a request may go there.

        Raises:
            UpstreamRefused: policy forbids it.
            UpstreamBroken: it is no absolute URL, or absurdly long.
        """
        parsed = _parse(url)
        scheme, host, port = _target(parsed)
        if not self._allows(scheme, host, port):
            raise UpstreamRefused(
                f"upstream led to {_host_port(host, port)}, which is not an allowed host; if it is right, "
                "add it to upstream_allowed_hosts"
            )
        address = literal_address(host)
        if address is not None and not is_public(address) and not self._may_be_private(host, port):
            raise UpstreamRefused(f"upstream led to {_host_port(host, port)}, a private address")
        return parsed

    def is_origin(self, url: URL) -> bool:
        """Whether this is the origin itself: same scheme, host and port. Only there does a credential go."""
        return _target(url) == (self._scheme, self._host, self._port)

    def proxy_for(self, url: URL) -> Proxy | None:
        """The proxy through which the environment wants this URL fetched, if any."""
        scheme, host, port = _target(url)
        return self._proxies.choose(scheme, host, port)

    def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a host that a connection may use, looked up now. Blocks.

        Raises:
            UpstreamRefused: every address is private, and nobody named this host.
            UpstreamUnreachable: the name has no address.
        """
        name = normal_host(host)
        try:
            found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise UpstreamUnreachable(f"the name {shown(name)} cannot be looked up") from None
        addresses = [Address(family, _sockaddr(where)) for family, *_, where in found if family in _FAMILIES]
        if self._may_be_private(name, port):
            return addresses
        public = [address for address in addresses if _is_public_literal(address.ip)]
        if not public:
            raise UpstreamRefused(
                f"{_host_port(name, port)} leads to a private address; if it is right, name this host "
                "exactly in upstream_allowed_hosts"
            )
        return public

    def create_connection(
        self, host: str, port: int, timeout_seconds: float, *, scheme: str = "https"
    ) -> socket.socket:
        """A TCP connection to an allowed host, through the environment's proxy if there is one. Blocks.

        The socket keeps `timeout_seconds` as its timeout; TLS is the caller's business.

        Args:
            scheme: what will be spoken; chooses the proxy, and nothing else.

        Raises:
            UpstreamRefused: the host is not allowed, or leads to a private address.
            UpstreamUnreachable: no address answered, or the proxy declined.
            UpstreamTimeout: nothing happened in time.
        """
        name = normal_host(host)
        if not self._allows(scheme, name, port):
            raise UpstreamRefused(f"{_host_port(name, port)} is not an allowed host")
        deadline = time.monotonic() + timeout_seconds
        proxy = self._proxies.choose(scheme, name, port)
        if proxy is None:
            connection = self._connect(name, port, deadline)
        else:
            connection = self._connect(proxy.host, proxy.port, deadline)
            _tunnel(connection, proxy, name, port, deadline)
        connection.settimeout(timeout_seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def aiohttp_resolver(self) -> AbstractResolver:
        """A resolver for aiohttp's connector that gives checked addresses only.

        aiohttp does not ask it about hosts that are addresses already; `check_url` covers those.
        """
        return _GuardedResolver(self)

    def _connect(self, host: str, port: int, deadline: float) -> socket.socket:
        addresses = self.resolve(host, port)
        why = "no address"
        for position, address in enumerate(addresses):
            # Each address gets its share of the time, so that one black hole does not eat it all.
            share = (deadline - time.monotonic()) / (len(addresses) - position)
            connection = socket.socket(address.family, socket.SOCK_STREAM)
            try:
                connection.settimeout(max(0.001, share))
                connection.connect(address.sockaddr)
            except OSError as error:
                connection.close()
                why = "no answer" if isinstance(error, TimeoutError) else error.strerror or "no connection"
            else:
                return connection
        if time.monotonic() >= deadline:
            raise UpstreamTimeout(f"{_host_port(host, port)} did not accept a connection in time")
        raise UpstreamUnreachable(f"cannot connect to upstream at {_host_port(host, port)}: {why}")

    def _allows(self, scheme: str, host: str, port: int) -> bool:
        if (scheme, host, port) == (self._scheme, self._host, self._port):
            return True
        if any(rule.matches(host, port) for rule in self._named):
            return True
        if self._public_https and scheme == "https" and port == _PORTS["https"]:
            return True
        return scheme == "https" and any(rule.matches(host, port) for rule in self._known)

    def _may_be_private(self, host: str, port: int) -> bool:
        return (
            (host, port) == (self._host, self._port)
            or any(rule.exact and rule.matches(host, port) for rule in self._named)
            or self._proxies.includes(host, port)
        )


def redirected(url: str, location: str | None) -> str:
    """Where a redirect from this URL leads: absolute, unchecked, its path and query as upstream wrote them.

    Raises:
        UpstreamBroken: it leads nowhere.
    """
    if not location or not location.strip():
        raise UpstreamBroken("upstream redirected to nowhere")
    try:
        return urljoin(url, location.strip())
    except ValueError:
        raise UpstreamBroken("upstream redirected to something that is no URL") from None


class _GuardedResolver(AbstractResolver):
    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await asyncio.to_thread(self._guard.resolve, host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address.ip,
                port=port,
                family=address.family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
            if family in (socket.AF_UNSPEC, address.family)
        ]

    async def close(self) -> None:
        pass


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _parse(url: str) -> URL:
    if len(url) > _MAX_URL_CHARS:
        raise UpstreamBroken("upstream led to a URL of absurd length")
    # The signature of a CDN's URL covers its exact bytes, so it is never re-quoted, only made ASCII.
    try:
        ascii_url = quote(url, safe=_KEPT, errors="surrogateescape")
    except UnicodeError:
        raise UpstreamBroken("upstream led to something that is no URL") from None
    authority = re.match(r"[^/?#]*://([^/?#]*)", ascii_url)
    if _UNSAFE.search(url) or authority is None or "%" in authority[1]:
        raise UpstreamBroken("upstream led to something that is no URL")
    if "@" in authority[1]:
        raise UpstreamRefused("upstream led to a URL with a user name in it")
    try:
        return URL(ascii_url, encoded=True)
    except ValueError:
        raise UpstreamBroken("upstream led to something that is no URL") from None


def _target(url: URL) -> tuple[str, str, int]:
    if url.scheme not in _PORTS:
        raise UpstreamRefused(f"refusing a URL of scheme {shown(url.scheme)}: not http or https")
    try:
        host, port = url.raw_host, url.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise UpstreamBroken("upstream led to a URL without host or port")
    return url.scheme, normal_host(host), port


def _split_origin(origin: str) -> tuple[str, str, int]:
    try:
        return _target(_parse(origin))
    except UpstreamBroken:
        raise UpstreamRefused(f"not an upstream address: {shown(origin)} (expected https://host)") from None


def _parse_rule(text: str) -> _HostRule:
    bare = text.strip().lower()
    exact = not bare.startswith("*.")
    try:
        parts = urlsplit("//" + bare.removeprefix("*."))
        host, port = normal_host(parts.hostname or ""), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if not host or parts.path or parts.query or "@" in parts.netloc:
        raise UpstreamRefused(f"not an allowed host: {shown(text)} (expected host, host:port or *.suffix)")
    return _HostRule(host, port, exact)


def _sockaddr(name: tuple[object, ...]) -> _IPv4Name | _IPv6Name:
    ip, port = str(name[0]), int(str(name[1]))
    return (ip, port) if len(name) == 2 else (ip, port, int(str(name[2])), int(str(name[3])))


def _is_public_literal(ip: str) -> bool:
    address = literal_address(ip)
    return address is not None and is_public(address)


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tunnel(connection: socket.socket, proxy: Proxy, host: str, port: int, deadline: float) -> None:
    target = _host_port(host, port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization.reveal()}")
    answer = b""
    try:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        while b"\r\n\r\n" not in answer and len(answer) < _MAX_PROXY_ANSWER_BYTES:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            # One byte at a time: what follows the blank line already belongs to the target.
            piece = connection.recv(1)
            if not piece:
                break
            answer += piece
    except TimeoutError:
        connection.close()
        raise UpstreamTimeout("the proxy did not answer in time") from None
    except OSError:
        connection.close()
        raise UpstreamUnreachable("the proxy broke off") from None
    if not re.match(rb"HTTP/1\.[01] 200\b", answer) or not answer.endswith(b"\r\n\r\n"):
        connection.close()
        raise UpstreamUnreachable(f"the proxy declined to connect to {target}")
