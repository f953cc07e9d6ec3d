"""The protocols between those who ask (the gate), those who decide, and those who keep exceptions."""

from __future__ import annotations

from typing import Protocol

from moongate.core.decisions import Decision
from moongate.policy.facts import Facts


class Policy(Protocol):
    """Says what may be."""

    @property
    def generation(self) -> int:
        """Changes whenever the same facts may get another decision: rules, approvals or waivers changed.

        What was decided before may be remembered as long as this stays the same.
        """

    def decide(self, facts: Facts) -> Decision:
        """What may happen. Fast, never raises, waits for nothing; for any thread and for an event loop.

        Facts that are unknown count against passing: ask when nothing more will be learned.
        """

    def foresee(self, facts: Facts) -> Decision | None:
        """What will deny whatever is still learned (a verdict, say); None when nothing is sure to.

        For refusing early, before content was looked at. What is only held is not foreseen, since whoever
        decides about it needs the evidence. As fast as `decide`.
        """


class Holds(Protocol):
    """Remembers what was held, so that somebody can decide about it."""

    def held(self, facts: Facts, decision: Decision) -> str:
        """Open a request for what a decision held, or find the one that is open; the request's id.

        Empty when none could be opened: then the hold stands all the same. The same question again adds
        nothing but a count. May write: call it in a thread.
        """


class NoHolds:
    """Opens nothing."""

    def held(self, facts: Facts, decision: Decision) -> str:
        return ""
