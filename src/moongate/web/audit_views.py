"""The values of the audit page, as its template names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineView:
    """One line of the log. `raw`: all that it says."""

    seq: int
    at: str
    kind: str
    tone: str
    meaning: str
    actor: str
    actor_kind: str
    address: str
    where: str
    where_href: str
    digest_href: str
    why: str
    raw: str


@dataclass(frozen=True, slots=True)
class AuditView:
    """What was looked for, and the lines that were found. wrong: why nothing was looked for."""

    asked: Mapping[str, str]
    kinds: Sequence[tuple[str, str]]
    lines: Sequence[LineView]
    older: str | None
    newest: str | None
    wrong: str


@dataclass(frozen=True, slots=True)
class RecallLine:
    """One recall. undone_at: None while it holds."""

    id: str
    what: str
    what_href: str
    reason: str
    made_by: str
    made_at: float
    undone_by: str
    undone_at: float | None


@dataclass(frozen=True, slots=True)
class RecallsView:
    """Recalls, and the form for another. wrong: why the last try failed; said: what it held."""

    recalls: Sequence[RecallLine]
    target: str
    reason: str
    wrong: str


@dataclass(frozen=True, slots=True)
class ReceiverLine:
    """Somebody who received bytes of it."""

    user: str
    kind: str
    token: str
    address: str
    what: str
    deliveries: int
    size_bytes: int
    last_at: str


@dataclass(frozen=True, slots=True)
class TraceView:
    """What a recall is about, or would be (`recall` None), and who received it."""

    target: str
    what: str
    recall: RecallLine | None
    receivers: Sequence[ReceiverLine]
    users: int
    places: Sequence[tuple[str, str]]
    deployments: Sequence[tuple[str, str]]
    reason: str
