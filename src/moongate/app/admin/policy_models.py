"""What the admin API takes and gives about policy, approvals and waivers. Times are unix seconds."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from moongate.app.admin.models import Model
from moongate.core.approvals import Scope
from moongate.core.decisions import Action, Effect


class PolicyRule(Model):
    """One rule that holds."""

    id: str
    effect: Effect
    reason: str
    actions: list[Action]
    conditions: list[str]
    place: str


class Policy(Model):
    """The rules that hold in the process that answers; `trouble`: what is wrong with their files now."""

    source: str
    digest: str
    default: Effect
    trouble: str
    rules: list[PolicyRule]


class Reloaded(Model):
    """Whether other rules hold now in the process that answers; the others look within two seconds."""

    changed: bool
    digest: str
    trouble: str


class Question(Model):
    """A question in short: the keys of `moongate policy schema --facts`. What it leaves out is looked up."""

    facts: dict[str, Any]


class ExplainedCondition(Model):
    """A condition, the fact, and whether it holds (null: the fact is not known)."""

    condition: str
    fact: Any
    holds: bool | None
    unless: bool


class ExplainedRule(Model):
    rule: str
    effect: Effect
    place: str
    reason: str
    matched: bool
    because_unknown: bool
    conditions: list[ExplainedCondition]


class Explained(Model):
    """A decision, down to the rule and the fact."""

    effect: Effect
    reason: str
    rules: list[str]
    waiver: str | None
    policy: str
    explained: list[ExplainedRule]
    facts: dict[str, Any]


class Terms(Model):
    """What an approver allows. `for`: `all`, `user:NAME` or `team:NAME`."""

    scope: Scope = "digest"
    subject: str = Field(default="all", max_length=200)
    expires_seconds: float = Field(default=30 * 86400.0, gt=0)
    comment: str = Field(min_length=1, max_length=2000)
    finding: str = Field(default="", max_length=100)


class Proposed(Model):
    """What a first approver would allow; a second one has to agree."""

    scope: Scope
    subject: str
    expires_at: float
    comment: str
    finding: str
    by: str


class Request(Model):
    """A hold that somebody has to decide about, or has."""

    id: str
    state: Literal["open", "granted", "refused"]
    action: Action
    repo: str
    commit_hash: str
    path: str
    digest: str
    effect: Effect
    rules: list[str]
    reason: str
    evidence: dict[str, Any]
    askers: list[str]
    opened_at: float
    asked_at: float
    asked_count: int
    decided_at: float | None
    decided_by: str
    comment: str
    waiver_id: str
    proposed: Proposed | None


class Requests(Model):
    requests: list[Request]


class NewDecision(Model):
    """Grant (with terms, or in agreement to those proposed) or refuse (with a comment)."""

    decision: Literal["grant", "refuse"]
    terms: Terms | None = None
    comment: str = Field(default="", max_length=2000)


class Waiver(Model):
    """A dated exception."""

    id: str
    scope: Scope
    subject: str
    lifts: Literal["hold", "deny"]
    expires_at: float
    created_at: float
    created_by: str
    comment: str
    repo: str
    commit_hash: str
    path: str
    digest: str
    finding: str
    action: Action
    rules: list[str]
    request_id: str
    revoked_at: float | None
    revoked_by: str


class Waivers(Model):
    waivers: list[Waiver]


class Decided(Model):
    """What became of a decision. No waiver after a grant: a second approver has to agree."""

    request: Request
    waiver: Waiver | None
    also: list[str] = Field(default=[], description="further requests that the waiver answers")


class NewWaiver(Model):
    """An exception that nobody asked for."""

    terms: Terms
    lifts: Literal["hold", "deny"] = "hold"
    repo: str = Field(default="", max_length=200)
    commit_hash: str = Field(default="", pattern=r"^([0-9a-f]{40})?$")
    path: str = Field(default="", max_length=4096)
    digest: str = Field(default="", pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?$")
    action: Action = "read"
    rules: list[str] = Field(default=[])
