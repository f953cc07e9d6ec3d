"""What was held and waits for somebody, who said what about it, and the dated exceptions that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from moongate.core.decisions import Action, Effect

Scope: TypeAlias = Literal["digest", "file", "repo", "finding"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

RequestState: TypeAlias = Literal["open", "granted", "refused"]
REQUEST_STATES: Final[tuple[RequestState, ...]] = get_args(RequestState)

EVERYBODY: Final = "all"

MOST_REQUESTS: Final = 1000
"""So many requests are listed at once, the newest first."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What an approver would allow.

    scope: `digest` (this content, wherever it is), `file` (this path at this commit), `repo` (everything in
    the repository), `finding` (files of the repository in which nothing grave is found but this).
    subject: `all`, `user:NAME` or `team:NAME`. finding: a rule of the scan, for that scope.
    """

    scope: Scope
    subject: str
    expires_at: float
    comment: str
    finding: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A hold that somebody has to decide about. The same hold again is the same request.

    key: what makes two holds the same. repo: as in the index, `models/acme/tiny`. rules: those of the policy
    that held it. evidence: the facts that it was held by. askers: who wanted it, the first one first.
    proposal, proposed_by: what a first approver would allow, where a second one has to agree.
    """

    id: str
    key: str
    action: Action
    repo: str
    commit_hash: str
    path: str
    digest: str
    effect: Effect
    rules: tuple[str, ...]
    reason: str
    evidence: Mapping[str, object]
    opened_at: float
    asked_at: float
    asked_count: int = 1
    state: RequestState = "open"
    decided_at: float | None = None
    decided_by: str = ""
    comment: str = ""
    waiver_id: str = ""
    proposal: Terms | None = None
    proposed_by: str = ""
    askers: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Waiver:
    """One dated exception: see `Terms` for what it is for and whom.

    repo: as in the index; empty: any. lifts: `hold`, or `deny` for both. rules: the policy's rules that it
    lifts; empty: all. request_id: the request that it answers, if it answers one.
    """

    id: str
    scope: Scope
    subject: str
    lifts: Literal["hold", "deny"]
    expires_at: float
    created_at: float
    created_by: str
    comment: str
    repo: str = ""
    commit_hash: str = ""
    path: str = ""
    digest: str = ""
    finding: str = ""
    action: Action = "read"
    rules: tuple[str, ...] = ()
    request_id: str = ""
    revoked_at: float | None = None
    revoked_by: str = ""

    def holds_at(self, now: float) -> bool:
        return self.revoked_at is None and now < self.expires_at
