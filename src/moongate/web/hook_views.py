"""The values of the webhooks page, as its template names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """One event for a webhook. next_at: when it is tried again; None: not any more."""

    kind: str
    state: str
    tone: str
    created_at: float
    attempts: int
    next_at: float | None
    why: str


@dataclass(frozen=True, slots=True)
class HookLine:
    """One webhook, with what was sent there last. kinds: none named means all."""

    id: str
    url: str
    kinds: Sequence[str]
    note: str
    created_by: str
    created_at: float
    waiting: int
    given_up: int
    last: Sequence[DeliveryLine]


@dataclass(frozen=True, slots=True)
class HookForm:
    """What the form for a new webhook holds."""

    url: str = ""
    note: str = ""
    kinds: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class HooksView:
    """Every webhook. kinds: events there are, each with what it means.

    made: the address of a new one, and the secret that is shown this once.
    tried: whether a test event was taken, and why not, by the webhook's id.
    """

    hooks: Sequence[HookLine]
    kinds: Sequence[tuple[str, str]]
    form: HookForm = field(default_factory=HookForm)
    made: tuple[str, str] | None = None
    tried: Mapping[str, tuple[bool, str]] = field(default_factory=dict)
    wrong: str = ""
