"""The admin API's documents about the audit log and recalls."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from moongate.app.admin.models import Model


class AuditLines(Model):
    """Lines as objects, the newest first."""

    lines: list[dict[str, Any]]


class RawLines(Model):
    """Lines exactly as they are hashed, the oldest first; `last` pages on, as `after`."""

    lines: list[str]
    last: int


class Checkpoints(Model):
    """Signed notes, the oldest first."""

    checkpoints: list[str]


class AuditKey(Model):
    """The key that this gateway signs with: its id, and its public half as PEM."""

    id: str
    pem: str


class AuditProblem(Model):
    """Something that is not as it was written."""

    seq: int
    what: str


class Verification(Model):
    """What looking at every line found; see `hub.audit_verify.Verified`."""

    sound: bool
    lines: int
    first: int
    last: int
    signed_to: int
    checkpoints: int
    problems: list[AuditProblem]
    more_problems: int


class NewRecall(Model):
    """What is to be recalled, and why. `dry_run` only tells who received it."""

    target: str = Field(min_length=1, max_length=5000)
    reason: str = Field(default="", max_length=500)
    dry_run: bool = False


class ReceiverModel(Model):
    """Somebody who got bytes of it; see `hub.recalling.Receiver`."""

    user: str
    kind: str
    token: str
    address: str
    repo: str
    commit: str
    path: str
    digest: str
    bytes: int
    deliveries: int
    first_at: str
    last_at: str


class Place(Model):
    """Where the content is listed."""

    repo: str
    commit: str
    path: str


class Deployment(Model):
    """Something that runs with it."""

    name: str
    where: str


class Recall(Model):
    """A recall; without an id it was a dry run."""

    id: str
    digest: str | None
    repo: str | None
    commit: str | None
    reason: str
    made_by: str
    made_at: float
    undone_by: str | None
    undone_at: float | None


class RecallReport(Model):
    """A recall, and who received what it is of."""

    recall: Recall
    receivers: list[ReceiverModel]
    places: list[Place]
    deployments: list[Deployment]
    audit_began_at: int


class Recalls(Model):
    """Every recall, the oldest first."""

    recalls: list[Recall]
