"""Which network addresses belong to the public internet, whatever way they are spelt. Pure; resolves nothing.

An IPv6 address that carries an IPv4 address inside (mapped, compatible, 6to4, Teredo, NAT64) is as public as
the address inside. A host that ends in a number is an address (so says the URL standard), and only its
canonical spelling is accepted: `2130706433`, `0x7f.1` and `0177.0.0.1` are refused, not interpreted, because
the next library down might read them differently.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from moongate.core.errors import UpstreamRefused
from moongate.core.names import shown

IPAddress = IPv4Address | IPv6Address

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
# Named here because Python versions differ in what they call global.
_NEVER_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/3",
        "64:ff9b:1::/48",
        "100::/64",
        "fc00::/7",
        "fe80::/9",
        "ff00::/8",
    )
)


def normal_host(host: str) -> str:
    """A host name or address in the one spelling we compare: lower case, no brackets, no final dot.

    Raises:
        UpstreamRefused: it is neither a plain ASCII host name nor a canonically spelt address.
    """
    bare = host.lower().removesuffix(".")
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    if ":" in bare:
        return str(_canonical_address(bare))
    if not _HOST.fullmatch(bare) or ".." in bare:
        raise UpstreamRefused(f"refusing to connect to {shown(host)}: not a host name")
    if _NUMBER.fullmatch(bare.rpartition(".")[2]):
        return str(_canonical_address(bare))
    return bare


def literal_address(normal: str) -> IPAddress | None:
    """The address that a host in `normal_host` spelling is, or None when it is a name."""
    try:
        return ip_address(normal)
    except ValueError:
        return None


def is_public(address: IPAddress) -> bool:
    """Whether the address is reachable on the public internet and means one machine there."""
    inner = _carried_address(address)
    if inner is not None:
        return is_public(inner)
    if any(address in network for network in _NEVER_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _carried_address(address: IPAddress) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _canonical_address(text: str) -> IPAddress:
    try:
        address = ip_address(text)
    except ValueError:
        raise UpstreamRefused(f"refusing to connect to {shown(text)}: not a canonical address") from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise UpstreamRefused(f"refusing to connect to {shown(text)}: an address with a zone")
    return address
