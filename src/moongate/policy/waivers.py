"""Waivers: dated exceptions, and the policy that lets pass what one of them covers.

A waiver names what it is for (one content, a file at a commit, a repository, or one rule of the scan), whom it
is for, which rules it lifts, and until when. What passes by a waiver passes with a warning that names it.

    WaivedPolicy ── Policy      decides
         └── WaiverBook         the waivers that hold now, read from the index when its serial moves
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, Protocol, TypeAlias, get_args

from moongate.core.decisions import Action, Decision, Effect
from moongate.policy.asking import Policy
from moongate.policy.compiled import NARROWING
from moongate.policy.facts import Facts

Scope: TypeAlias = Literal["digest", "file", "repo", "finding"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

EVERYBODY: Final = "all"
_GRAVE = frozenset(("medium", "high", "critical"))


@dataclass(frozen=True, slots=True)
class Waiver:
    """One dated exception.

    scope: `digest` (this content, wherever it is), `file` (this path at this commit), `repo` (everything in
    it), `finding` (files in which the scan found nothing grave but this; in one repository if it is named).
    repo: type and id, such as `models/acme/tiny`; empty: any.
    subject: `all`, `user:NAME` or `team:NAME`.
    lifts: `hold`, or `deny` for both. rules: the policy's rules that it lifts; empty: all.
    """

    id: str
    scope: Scope
    subject: str
    lifts: Literal["hold", "deny"]
    expires_at: float
    created_at: float
    created_by: str
    comment: str
    repo: str = ""
    commit_hash: str = ""
    path: str = ""
    digest: str = ""
    finding: str = ""
    action: Action = "read"
    rules: tuple[str, ...] = ()
    request_id: str = ""
    revoked_at: float | None = None
    revoked_by: str = ""

    def holds_at(self, now: float) -> bool:
        return self.revoked_at is None and now < self.expires_at

    def is_for(self, facts: Facts) -> bool:
        """Whether it is about this question: what is asked, by whom."""
        return self.action == facts.action and self._names(facts) and self._covers(facts)

    def lifts_effect(self, effect: Effect, rules: Sequence[str]) -> bool:
        """Whether it lifts what these narrowing rules decided."""
        if effect == "deny" and self.lifts != "deny":
            return False
        return not self.rules or set(rules) <= set(self.rules)

    def _names(self, facts: Facts) -> bool:
        kind, _, name = self.subject.partition(":")
        if kind == "user":
            return name == facts.actor.name
        return name in facts.actor.teams if kind == "team" else self.subject == EVERYBODY

    def _covers(self, facts: Facts) -> bool:
        content = facts.content
        if self.repo and self.repo != repo_name(facts):
            return False
        match self.scope:
            case "repo":
                return bool(self.repo) and self.commit_hash in ("", facts.repo.commit_hash)
            case "digest":
                return content is not None and bool(self.digest) and self.digest == identity(facts)
            case "file":
                return (
                    content is not None
                    and bool(self.commit_hash)
                    and (self.path, self.commit_hash) == (content.path, facts.repo.commit_hash)
                )
            case "finding":
                found = None if content is None else content.findings
                grave = {one.rule for one in found or () if one.severity in _GRAVE}
                return grave == {self.finding}


class WaiverShelf(Protocol):
    """What is needed of the index."""

    def waiver_serial(self) -> int:
        """Changes with every waiver that is made or revoked. A point read."""

    def waivers(self, now: float | None = None) -> list[Waiver]:
        """All of them; those that hold at `now` when it is given."""


class WaiverBook:
    """The waivers that hold now, in memory. For any thread."""

    def __init__(self, shelf: WaiverShelf, clock: Callable[[], float]) -> None:
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()
        self._serial = -1
        self._waivers: tuple[Waiver, ...] = ()

    @property
    def generation(self) -> int:
        """Changes with the index's serial, and whenever one expires. A point read."""
        self.refresh()
        now = self._clock()
        return hash((self._serial, sum(waiver.holds_at(now) for waiver in self._waivers)))

    def refresh(self) -> None:
        """Read them again if any was made or revoked, by whatever process. A point read if not."""
        serial = self._shelf.waiver_serial()
        if serial == self._serial:
            return
        with self._lock:
            self._waivers = tuple(self._shelf.waivers(self._clock()))
            self._serial = serial

    def covering(self, facts: Facts, effect: Effect, rules: Sequence[str]) -> Waiver | None:
        """A waiver that lifts this decision; of several the one that lasts longest."""
        self.refresh()
        now = self._clock()
        fitting = [
            waiver
            for waiver in self._waivers
            if waiver.holds_at(now) and waiver.lifts_effect(effect, rules) and waiver.is_for(facts)
        ]
        return max(fitting, key=lambda waiver: waiver.expires_at, default=None)


class WaivedPolicy:
    """A policy with exceptions. Only what would be stopped costs a look at them."""

    def __init__(self, policy: Policy, book: WaiverBook, effects: Callable[[], dict[str, Effect]]) -> None:
        """effects: the effect of every rule that the policy has now."""
        self._policy = policy
        self._book = book
        self._effects = effects

    @property
    def generation(self) -> int:
        return hash((self._policy.generation, self._book.generation))

    def decide(self, facts: Facts) -> Decision:
        """See `asking.Policy.decide`."""
        decision = self._policy.decide(facts)
        return decision if decision.lets_pass else self._lifted(facts, decision)

    def foresee(self, facts: Facts) -> Decision | None:
        """See `asking.Policy.foresee`."""
        decision = self._policy.foresee(facts)
        if decision is None or not self._lifted(facts, decision).lets_pass:
            return decision
        return None

    def _lifted(self, facts: Facts, decision: Decision) -> Decision:
        effects = self._effects()
        narrowing = [rule for rule in decision.rules if effects.get(rule) in NARROWING]
        waiver = self._book.covering(facts, decision.effect, narrowing)
        if waiver is None:
            return decision
        until = datetime.fromtimestamp(waiver.expires_at, UTC).strftime("%Y-%m-%d %H:%M")
        reason = f"waived by {waiver.created_by} until {until} UTC (waiver {waiver.id}): {decision.reason}"
        return replace(decision, effect="warn", reason=reason, waiver=waiver.id)


def repo_name(facts: Facts) -> str:
    """A repository as waivers and requests name it: `models/acme/tiny`."""
    return f"{facts.repo.repo_type}s/{facts.repo.repo_id}"


def identity(facts: Facts) -> str:
    """What content is, as waivers name it: its etag, or else its sha256; empty for none."""
    content = facts.content
    return "" if content is None else content.etag or content.digest or ""
