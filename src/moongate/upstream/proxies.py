"""The HTTP proxies that the environment names, and which hosts go around them.

`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (either case) as other tools read them. Read by hand
rather than with aiohttp's `trust_env`, which would also take passwords from `~/.netrc` and so act with the
operator's own Hub account on behalf of strangers.

Private and loopback addresses, and `localhost`, are never asked for through a proxy.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import unquote, urlsplit

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamRefused
from moongate.upstream.addresses import is_public, literal_address, normal_host


@dataclass(frozen=True, slots=True)
class Proxy:
    """One HTTP proxy. `authorization` is the value of `Proxy-Authorization`, if the URL held a user."""

    host: str
    port: int
    authorization: Secret | None = None

    @property
    def url(self) -> str:
        """Its address without any password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Proxies:
    """The proxies of one environment; empty when it names none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._by_scheme = {
            "http": _parse_proxy(_named(environment, "http_proxy")),
            "https": _parse_proxy(_named(environment, "https_proxy")),
        }
        rules = _named(environment, "no_proxy").lower().split(",")
        self._around = [rule.strip() for rule in rules if rule.strip()]

    def choose(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a target whose host is in `normal_host` spelling; None to connect directly."""
        proxy = self._by_scheme.get(scheme)
        if proxy is None or _is_local(host) or any(_matches(rule, host, port) for rule in self._around):
            return None
        return proxy

    def includes(self, host: str, port: int) -> bool:
        """Whether this is the address of one of the proxies."""
        return any(proxy and (proxy.host, proxy.port) == (host, port) for proxy in self._by_scheme.values())


def _named(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _parse_proxy(text: str) -> Proxy | None:
    if not text:
        return None
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        host, port = normal_host(parts.hostname or ""), parts.port or 80
    except (ValueError, UpstreamRefused):
        raise UpstreamRefused("the proxy named in the environment has no usable host and port") from None
    if parts.scheme != "http":
        raise UpstreamRefused(f"the proxy named in the environment speaks {parts.scheme}, not http")
    if parts.username is None:
        return Proxy(host, port)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, port, Secret("Basic " + base64.b64encode(pair.encode()).decode()))


def _is_local(host: str) -> bool:
    address = literal_address(host)
    return host == "localhost" or (address is not None and not is_public(address))


def _matches(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    address = literal_address(host)
    if address is not None and "/" in rule:
        try:
            return address in ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, wanted_port = rule.rpartition(":")
    if colon and wanted_port.isdigit() and ":" not in name:
        if int(wanted_port) != port:
            return False
        rule = name
    suffix = rule.removeprefix("*").lstrip(".")
    return bool(suffix) and (host == suffix or host.endswith("." + suffix))
