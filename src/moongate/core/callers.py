"""Who asks: a secret that cannot be printed, and a caller."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["read", "write", "admin"]


class Secret:
    """A token that shows itself only to those who call `reveal`; every printed form is redacted."""

    __slots__ = ("_fingerprint", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._fingerprint = hashlib.sha256(value.encode()).hexdigest()[:32]

    def reveal(self) -> str:
        return self._value

    @property
    def fingerprint(self) -> str:
        """128 bits of sha256, hex: fit for keys and rows, useless for logging in."""
        return self._fingerprint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._fingerprint)

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the door found out.

    kind: `anonymous` (`scope` says whether as the user of this very machine);
    `token` (one of ours; `user` and `scope` say whose and for what);
    `upstream` (a Hub token passed through; `credential` holds it, `user` is its fingerprint until
    upstream told the name).

    token_id: the id of the token of ours they came with; for the record, not for deciding.
    """

    kind: Literal["anonymous", "token", "upstream"]
    user: str = "anonymous"
    scope: Scope = "read"
    credential: Secret | None = None
    token_id: str = field(default="", compare=False)

    @property
    def is_operator(self) -> bool:
        """Whether they may do everything with what is hosted here."""
        return self.scope == "admin"

    @property
    def key(self) -> str:
        """What access and per-caller answers are remembered under."""
        if self.credential is not None:
            return f"upstream:{self.credential.fingerprint}"
        return f"token:{self.user}" if self.kind == "token" else "anonymous"


ANONYMOUS = Caller("anonymous")

LOCAL_USER = Caller("anonymous", scope="admin")
"""Whoever sits at this machine, while only this machine can reach us."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One of this gateway's tokens. Only its sha256 is kept."""

    id: str
    sha256: str
    user: str
    scope: Scope
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    note: str = ""
