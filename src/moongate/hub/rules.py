"""The times and switches that every part of this room obeys. Defaults are those of the settings."""

from __future__ import annotations

from dataclasses import dataclass

from moongate.core.callers import Secret


@dataclass(frozen=True, slots=True)
class HubRules:
    """How long things hold, and what may be asked.

    ref_ttl_seconds: how long a branch is not asked again; lists and searches hold as long.
    absent_ttl_seconds: how long the absence of a repository or revision is remembered, and a refusal.
    access_ttl_seconds: how long a caller's confirmed access holds.
    access_grace_seconds: how long it still counts while upstream cannot be asked.
    stale_wait_seconds: how long a caller waits for upstream when something older could be shown instead.
    retry_pause_seconds: how long the older answer is shown without asking, after upstream failed to answer.
    volatile_ttl_seconds: how long expanded facts (downloads, scans) of a branch hold.
    entry_absent_ttl_seconds: how long the absence of a file at a commit, which cannot change, is remembered.
    turn_seconds: how long one process may keep others from asking the same question.
    upstream_token: the gateway's own; for what is public, and for callers with a grant.
    """

    upstream_origin: str = "https://huggingface.co"
    offline: bool = False
    upstream_token: Secret | None = None
    ref_ttl_seconds: float = 60.0
    absent_ttl_seconds: float = 30.0
    access_ttl_seconds: float = 300.0
    access_grace_seconds: float = 3600.0
    stale_wait_seconds: float = 2.0
    retry_pause_seconds: float = 5.0
    volatile_ttl_seconds: float = 300.0
    entry_absent_ttl_seconds: float = 86400.0
    turn_seconds: float = 20.0
    memory_bytes: int = 64 << 20
