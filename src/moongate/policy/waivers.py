"""The policy with its dated exceptions: what a waiver covers passes, with a warning that names the waiver.

WaivedPolicy ── Policy      decides
     └── WaiverBook         the waivers that hold now, read anew when somebody made or revoked one
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from moongate.core.approvals import EVERYBODY, Waiver
from moongate.core.decisions import Decision, Effect
from moongate.policy.asking import Policy
from moongate.policy.compiled import NARROWING
from moongate.policy.facts import Facts

GRAVE: Final = frozenset(("medium", "high", "critical"))
"""Severities of findings that a waiver for one finding must name."""


class WaiverShelf(Protocol):
    """What is needed of the index."""

    def waiver_serial(self) -> int:
        """Changes with every waiver that is made or revoked. A point read."""

    def waivers(self, now: float | None = None) -> list[Waiver]:
        """Those that hold at `now`."""


class WaiverBook:
    """The waivers that hold now, in memory. For any thread."""

    def __init__(
        self, shelf: WaiverShelf, clock: Callable[[], float], changes: Callable[[], int] = lambda: 0
    ) -> None:
        """changes: a number that costs nothing to look at and that whoever changes waivers raises."""
        self._shelf = shelf
        self._clock = clock
        self._changes = changes
        self._lock = threading.Lock()
        self._serial = -1
        self._seen = -1
        self._next_end = 0.0
        self._waivers: tuple[Waiver, ...] = ()
        self._generation = 0

    @property
    def generation(self) -> int:
        """Changes when others hold than before. Cheap, as long as nobody said that something changed."""
        seen = self._changes()
        if seen != self._seen or self._clock() >= self._next_end:
            self.refresh()
            self._seen = seen
        return self._generation

    def refresh(self) -> None:
        """Read them again if any was made, revoked or ended, by whatever process. A point read if not."""
        serial, now = self._shelf.waiver_serial(), self._clock()
        if serial == self._serial and now < self._next_end:
            return
        with self._lock:
            self._waivers = tuple(self._shelf.waivers(now))
            self._next_end = min((waiver.expires_at for waiver in self._waivers), default=float("inf"))
            self._serial = serial
            self._generation += 1

    def covering(self, facts: Facts, effect: Effect, rules: Sequence[str]) -> Waiver | None:
        """A waiver that lifts this decision; of several the one that lasts longest."""
        self.refresh()
        now = self._clock()
        fitting = [
            waiver
            for waiver in self._waivers
            if waiver.holds_at(now) and lifts(waiver, effect, rules) and covers(waiver, facts)
        ]
        return max(fitting, key=lambda waiver: waiver.expires_at, default=None)


class WaivedPolicy:
    """A policy with exceptions. Only what would be stopped costs a look at them."""

    def __init__(self, policy: Policy, book: WaiverBook, effect_of: Callable[[str], Effect | None]) -> None:
        """effect_of: the effect of one of the policy's rules; None when it has no such rule any more."""
        self._policy = policy
        self._book = book
        self._effect_of = effect_of

    @property
    def generation(self) -> int:
        return hash((self._policy.generation, self._book.generation))

    def decide(self, facts: Facts) -> Decision:
        """See `asking.Policy.decide`."""
        decision = self._policy.decide(facts)
        return decision if decision.lets_pass else self.lifted(facts, decision)

    def foresee(self, facts: Facts) -> Decision | None:
        """See `asking.Policy.foresee`."""
        decision = self._policy.foresee(facts)
        if decision is None or self.lifted(facts, decision).lets_pass:
            return None
        return decision

    def lifted(self, facts: Facts, decision: Decision) -> Decision:
        """What a waiver makes of a decision that stops; the decision itself where none covers it."""
        narrowing = [rule for rule in decision.rules if self._effect_of(rule) in NARROWING]
        waiver = self._book.covering(facts, decision.effect, narrowing)
        if waiver is None:
            return decision
        until = datetime.fromtimestamp(waiver.expires_at, UTC).strftime("%Y-%m-%d %H:%M")
        reason = f"waived by {waiver.created_by} until {until} UTC (waiver {waiver.id}): {decision.reason}"
        return replace(decision, effect="warn", reason=reason, waiver=waiver.id)


def lifts(waiver: Waiver, effect: Effect, rules: Sequence[str]) -> bool:
    """Whether a waiver lifts what these rules, which stop, decided."""
    if effect == "deny" and waiver.lifts != "deny":
        return False
    return not waiver.rules or set(rules) <= set(waiver.rules)


def covers(waiver: Waiver, facts: Facts) -> bool:
    """Whether a waiver is for this question: for what is asked, for whom, and about what."""
    return waiver.action == facts.action and _names(waiver.subject, facts) and _is_about(waiver, facts)


def repo_name(facts: Facts) -> str:
    """A repository as waivers and requests name it: `models/acme/tiny`."""
    return f"{facts.repo.repo_type}s/{facts.repo.repo_id}"


def identity(facts: Facts) -> str:
    """What content is, as waivers name it: its etag, or else its sha256; empty for none."""
    content = facts.content
    return "" if content is None else content.etag or content.digest or ""


def grave_findings(facts: Facts) -> frozenset[str]:
    """The rules of the scan that found something grave."""
    findings = facts.content.findings if facts.content is not None else None
    return frozenset(found.rule for found in findings or () if found.severity in GRAVE)


def _names(subject: str, facts: Facts) -> bool:
    kind, _, name = subject.partition(":")
    match kind:
        case "user":
            return name == facts.actor.name
        case "team":
            return name in facts.actor.teams
        case _:
            return subject == EVERYBODY


def _is_about(waiver: Waiver, facts: Facts) -> bool:
    if waiver.repo and waiver.repo.casefold() != repo_name(facts).casefold():
        return False
    content = facts.content
    match waiver.scope:
        case "repo":
            return bool(waiver.repo)
        case "digest":
            return bool(waiver.digest) and waiver.digest == identity(facts)
        case "file":
            return (
                content is not None
                and bool(waiver.commit_hash)
                and (waiver.path, waiver.commit_hash) == (content.path, facts.repo.commit_hash)
            )
        case "finding":
            return grave_findings(facts) == {waiver.finding}
