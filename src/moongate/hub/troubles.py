"""Why a fill stopped, as a number in a partial's map, so that every process can raise the same error."""

from __future__ import annotations

import time

from moongate.core.errors import (
    EntryAbsent,
    GatedRepo,
    HeldByPolicy,
    MoongateError,
    NotAllowed,
    Recalled,
    RefusedByPolicy,
    RepoAbsent,
    RevisionAbsent,
    StoreFull,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
    VerificationFailed,
)
from moongate.store.partial import Trouble

_KINDS: tuple[type[MoongateError], ...] = (
    MoongateError,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamBroken,
    VerificationFailed,
    StoreFull,
    GatedRepo,
    NotAllowed,
    RepoAbsent,
    RevisionAbsent,
    EntryAbsent,
    RefusedByPolicy,
    HeldByPolicy,
    Recalled,
)
"""Numbered by place: append only, since a partial may outlive an upgrade."""


def trouble_kind(error: MoongateError) -> int:
    """The number of the error's class, or of the nearest one above it."""
    for cls in type(error).__mro__:
        if cls in _KINDS:
            return _KINDS.index(cls)
    return 0


def error_of(trouble: Trouble) -> MoongateError:
    """The trouble as an error to raise at a reader."""
    kind = _KINDS[trouble.kind] if trouble.kind < len(_KINDS) else MoongateError
    if kind is UpstreamBusy:
        return UpstreamBusy(trouble.text, max(1.0, trouble.not_before - time.time()))
    if kind is GatedRepo:
        return GatedRepo(trouble.text, authenticated=True)
    if kind is Recalled:
        return Recalled(trouble.text, "")
    return kind(trouble.text)
