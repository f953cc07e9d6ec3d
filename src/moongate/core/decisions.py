"""What policy says of one request: an effect, with the rule and the reason.

Verdicts come from a scan and say what content is; decisions come from policy and say what may happen to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Action: TypeAlias = Literal["read", "commit", "deploy", "admin"]
"""What somebody wants to do. `read` is every way in which a file's bytes reach a client."""

Effect: TypeAlias = Literal["allow", "warn", "hold", "deny"]

EFFECTS: Final[tuple[Effect, ...]] = ("allow", "warn", "hold", "deny")
"""From mild to strict. `hold` refuses until somebody approves; `warn` lets pass and says why not."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An effect, and what led to it.

    rules: the ids of every rule that matched, the one that decided first; empty: the default decided.
    reason: words for whoever asked; no secret in them.
    waiver: the id of the approval or waiver that turned a hold or deny into an allow.
    policy: the digest of the rules that decided.
    """

    effect: Effect
    reason: str = ""
    rules: tuple[str, ...] = ()
    waiver: str = ""
    policy: str = ""

    @property
    def lets_pass(self) -> bool:
        return self.effect in ("allow", "warn")


ALLOWED: Final = Decision("allow")
