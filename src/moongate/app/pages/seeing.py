"""Which repositories a visitor may know of, as far as is known without asking anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moongate.core.callers import Caller
from moongate.core.names import RepoId

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway


def may_see(gateway: Gateway, caller: Caller, repo: RepoId) -> bool:
    """Whether this caller may know that a repository is here. Some point reads."""
    if caller.is_operator:
        return True
    if not gateway.repos.is_hosted(repo):
        return gateway.repos.proxied.access.sees(caller, repo)
    row = gateway.index.get_hosted(repo)
    return row is not None and gateway.repos.hosted.places.role_of(row, caller) is not None
