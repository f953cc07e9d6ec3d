"""Where events are sent, and what is still to be sent there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

DeliveryState: TypeAlias = Literal["waiting", "sent", "given-up"]


@dataclass(frozen=True, slots=True)
class HookRow:
    """Where events are sent. kinds: which ones; none named: all. The secret signs them."""

    id: str
    url: str
    secret: str
    kinds: tuple[str, ...]
    created_at: float
    created_by: str
    note: str = ""

    def wants(self, kind: str) -> bool:
        return not self.kinds or kind in self.kinds


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One event for one webhook. body: as it is sent. why: what the last attempt met with."""

    id: str
    hook_id: str
    kind: str
    body: str
    state: DeliveryState
    created_at: float
    next_at: float
    attempts: int = 0
    why: str = ""
