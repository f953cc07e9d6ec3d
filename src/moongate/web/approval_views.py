"""The values of the approval pages, as their templates name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moongate.web.security_views import EvidenceView


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request in the queue. is_proposed: a first approver agreed, and a second has to."""

    name: str
    href: str
    reason: str
    state: str
    asked_at: float
    asked_count: int
    decided_by: str
    decided_at: float | None
    is_proposed: bool


@dataclass(frozen=True, slots=True)
class WaiverLine:
    """One exception that holds now."""

    id: str
    name: str
    scope: str
    subject: str
    created_by: str
    expires_at: float
    comment: str


@dataclass(frozen=True, slots=True)
class ApprovalsView:
    """The queue, what was decided lately, and what is excepted now.

    waiting: one page of it; total: how many wait, as words; search: what their names were searched for.
    """

    waiting: Sequence[RequestLine]
    total: str
    search: str
    newer: str | None
    older: str | None
    decided: Sequence[RequestLine]
    waivers: Sequence[WaiverLine]


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request with what it was held by, and what may be decided.

    findings: rules and severities that it was held by; evidence: all that is said of the content now.
    proposal: what a first approver would allow; own_proposal: that was this visitor. wrong: why the last try
    failed; said: the comment it came with.
    """

    id: str
    name: str
    repo: str
    repo_href: str
    file_href: str
    evidence_href: str
    action: str
    effect: str
    reason: str
    rules: Sequence[str]
    commit: str
    digest: str
    findings: Sequence[tuple[str, str]]
    evidence: EvidenceView | None
    askers: Sequence[str]
    opened_at: float
    asked_at: float
    asked_count: int
    state: str
    decided_by: str
    decided_at: float | None
    comment: str
    scopes: Sequence[tuple[str, str]]
    spans: Sequence[tuple[str, str]]
    proposal: str
    own_proposal: bool
    wrong: str
    said: str
