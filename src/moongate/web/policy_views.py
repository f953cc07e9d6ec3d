"""The values of the policy page, as its template names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule that holds."""

    id: str
    effect: str
    reason: str
    actions: Sequence[str]
    conditions: Sequence[str]
    place: str


@dataclass(frozen=True, slots=True)
class TestLine:
    """One test beside the rules; `why` is empty when it passed."""

    name: str
    place: str
    why: str


@dataclass(frozen=True, slots=True)
class ExplainedView:
    """A decision, and how each rule came out: its id, effect, whether it matched, and its conditions.

    A condition is words, the fact, and `yes`, `no` or `not known`.
    """

    effect: str
    reason: str
    rules: Sequence[tuple[str, str, bool, Sequence[tuple[str, str, str]]]]


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """Something that is here, and what would be decided about it instead."""

    name: str
    href: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoppedLine:
    """A request that passed, and would no more. count: how often it was made."""

    actor: str
    action: str
    name: str
    before: str
    after: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class ReplayView:
    """What a draft says to what was really asked. freed: how many questions would pass that did not."""

    days: int
    asked: int
    stopped: Sequence[StoppedLine]
    more_stopped: int
    actors: Sequence[str]
    freed: int


@dataclass(frozen=True, slots=True)
class TriedView:
    """What came of a draft. problems: why it is none; changed: what would be decided otherwise."""

    problems: Sequence[str]
    tests: Sequence[TestLine]
    now: ExplainedView | None
    then: ExplainedView | None
    wrong: str
    changed: Sequence[ChangeLine]
    looked_at: int
    replay: ReplayView | None = None


@dataclass(frozen=True, slots=True)
class PolicyView:
    """The rules that hold, and a draft to try. files: those that the rules stand in; file: the one shown.

    kept_at: since when the draft is kept for this visitor; None: it is the file as it is.
    """

    source: str
    digest: str
    default: str
    trouble: str
    rules: Sequence[RuleLine]
    files: Sequence[str]
    file: str
    draft: str
    kept_at: float | None
    question: Mapping[str, str]
    tried: TriedView | None
