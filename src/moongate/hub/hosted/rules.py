"""The times and limits of hosted repositories."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class HostedRules:
    """What everything here obeys.

    namespaces: those that the settings declare; more may stand in the index.
    lease_seconds: how long uploaded content waits for its commit.
    regular_bytes: longer files are to go through LFS.
    part_bytes: how long the parts of a multipart upload are.
    """

    namespaces: tuple[str, ...] = ()
    lease_seconds: float = 24 * 3600.0
    regular_bytes: int = 10 * _MIB
    part_bytes: int = 64 * _MIB
    mail_domain: str = "users.noreply.moongate.invalid"
