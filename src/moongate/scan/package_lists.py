"""Judges where files that name packages have them fetched from: locks, settings, lists for apt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from moongate.core.verdicts import Severity
from moongate.scan.ledger import Ledger
from moongate.scan.packages import judge_address, judge_index

_LISTED = re.compile(
    r"""\b(?:(?:extra|default)[-_])?index[-_]urls?["']?\s*[:=]\s*\[([^\]]{1,4000})\]|"""
    r"""\bfind[-_]links["']?\s*[:=]\s*\[([^\]]{1,4000})\]"""
)
_SINGLE = re.compile(
    r"""(?:^|[{,])[ \t-]*["']?(?:(?:extra|default)_index_url|index_url|registry|npmRegistryServer|"""
    r"""@[\w-]+:registry)["']?[ \t]*[:=][ \t]*["']?([a-z]+://[^\s"',}]+)""",
    re.MULTILINE,
)
_ADDRESSES = re.compile(r"(?<![a-z])[a-z]++://[^\s\"',\]]+")
_CHANNELS = re.compile(r"^channels[ \t]*:[ \t]*\n((?:[ \t]*-[^\n]*\n?)+)", re.MULTILINE)
_CHANNEL_HOSTS = ("anaconda.org", "anaconda.com", "continuum.io", "prefix.dev", "nvidia.com", "intel.com")
_APT_OPTION = re.compile(
    r"^[ \t]*(?:-o|--option)[ \t=]*(?:DPkg|APT|Dir|Acquire)::\S*", re.MULTILINE | re.IGNORECASE
)
_MOST_LINES: Final = 500
_DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")


def judge_package_sources(text: str, ledger: Ledger, member: str, name: str) -> None:
    """What a text of settings says of indexes, registries and channels."""
    if "://" in text and any(word in text for word in ("index", "registry", "Registry", "links", "channels")):
        if not name.endswith((".md", ".rst")):
            for found in _LISTED.finditer(text):
                for address in _ADDRESSES.findall(found.group(1) or found.group(2)):
                    judge_index(address, ledger, member)
            for address in _SINGLE.findall(text):
                judge_index(address, ledger, member)
        for block in _CHANNELS.findall(text):
            for address in _ADDRESSES.findall(block):
                _judge_channel(address, ledger, member)
    if "::" in text and (option := _APT_OPTION.search(text)) and _is_list(text):
        words = f"has apt run commands: {option.group().strip()[:80]!r}"
        ledger.add("code-runs", words, member=member, offset=option.start())


def _judge_channel(address: str, ledger: Ledger, member: str) -> None:
    host = address.partition("://")[2].partition("/")[0].partition(":")[0]
    if address.startswith("https://") and any(
        host == one or host.endswith("." + one) for one in _CHANNEL_HOSTS
    ):
        return
    level = Severity.HIGH if address.startswith("http:") else Severity.MEDIUM
    ledger.add("requirement-index", f"takes packages from {host[:100]}", member=member, severity=level)


def _is_list(text: str) -> bool:
    """Whether a text is a list of packages for apt, one a line."""
    lines = [line.strip() for line in text.splitlines()[: _MOST_LINES + 1]]
    lines = [line for line in lines if line and not line.startswith("#")]
    return len(lines) <= _MOST_LINES and sum(
        " " not in line or line.startswith("-") for line in lines
    ) == len(lines)


def judge_json_sources(node: Mapping[str, object], ledger: Ledger, member: str) -> None:
    """An index of Pipenv's lock, or dependencies of a package of npm."""
    address = node.get("url")
    if isinstance(address, str) and "verify_ssl" in node:
        judge_index(address, ledger, member)
        if node["verify_ssl"] is False:
            words = "takes packages from a host without checking its certificate"
            ledger.add("requirement-index", words, member=member)
    for key in _DEPENDENCIES:
        told = node.get(key)
        for wanted in told.values() if isinstance(told, Mapping) else ():
            if isinstance(wanted, str) and "://" in wanted:
                judge_address(wanted, ledger, member)
