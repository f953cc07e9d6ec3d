"""`PolicyGate`: asks the policy for every reader and file, and turns its answer into a passage or a refusal.

    Content ── Guard ── PolicyGate ── Policy      facts in, decision out
                            ├── Holds             what was held waits there for somebody to decide
                            └── Audit             who was refused what, and why

What was decided is remembered by who asks for what, until something changes that could change it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

from moongate.core.callers import Caller
from moongate.core.decisions import Action, Decision
from moongate.core.digests import Etag
from moongate.core.errors import HeldByPolicy, NotAllowed, RefusedByPolicy
from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileAt
from moongate.core.verdicts import Finding, Judged
from moongate.hub.audit import Audit, AuditEvent, NoAudit, actor_of
from moongate.hub.guard import Passage
from moongate.policy.asking import Holds, NoHolds, Policy
from moongate.policy.engine import FOUND
from moongate.policy.facts import Facts, Signature
from moongate.policy.gate_facts import GateFacts

GuardMode: TypeAlias = Literal["off", "observe", "enforce"]

REMEMBERED_SECONDS: Final = 5.0
"""How long a decision is believed although another machine may have changed what led to it."""

_CHANGES: Final[dict[Action, str]] = {"commit": "changes to", "admin": "administration of"}
_KEPT = 50_000
_MOST_FINDINGS = 3


class Changes(Protocol):
    """A number that all processes of a home share; see `store.serial.Serial`."""

    @property
    def value(self) -> int: ...


class GateWatcher(Protocol):
    """Who counts decisions."""

    def decided(self, action: Action, effect: str) -> None: ...


class PolicyGate:
    """See `hub.guard.Gate`. One per process."""

    def __init__(
        self,
        policy: Policy,
        mode: GuardMode,
        facts: GateFacts,
        changes: Changes,
        watcher: GateWatcher,
        *,
        audit: Audit | None = None,
        holds: Holds | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        self._mode = mode
        self._facts = facts
        self._changes = changes
        self._watcher = watcher
        self._audit = audit or NoAudit()
        self._holds = holds or NoHolds()
        self._clock = clock
        self._memos: OrderedDict[tuple[Any, ...], tuple[int, float, Passage]] = OrderedDict()

    @property
    def serial(self) -> int:
        return hash((self._changes.value, self._policy.generation))

    @property
    def is_off(self) -> bool:
        return self._mode == "off"

    def at_hand(self, file: FileAt, caller: Caller) -> Passage | None:
        """See `Gate.at_hand`."""
        memo = self._memos.get(_key(file, caller))
        if memo is None or memo[0] != self.serial or memo[1] <= self._clock():
            return None
        return memo[2]

    def is_stopped(self, etag: Etag) -> bool:
        """See `Gate.is_stopped`."""
        return self._mode == "enforce" and self._facts.is_recalled(etag)

    async def foresee(self, file: FileAt, caller: Caller) -> None:
        """See `Gate.foresee`."""
        decision = self._policy.foresee(self.facts("read", file, caller, None))
        if decision is not None and not decision.lets_pass and self._mode == "enforce":
            self._watcher.decided("read", decision.effect)
            await self._audit.recorded(_event("file.deny", file, caller, decision))
            raise self.refusal(file, decision)

    async def decide(self, file: FileAt, caller: Caller, judged: Judged) -> Passage:
        """See `Gate.decide`."""
        if self._facts.signature_at_hand(file) is None:
            await asyncio.to_thread(self._facts.signature, file)
        facts = self.facts("read", file, caller, judged)
        decision = self._policy.decide(facts)
        self._watcher.decided("read", decision.effect)
        is_final = judged.basis == "whole"
        if decision.lets_pass or self._mode == "observe":
            passage = Passage(is_final, "" if decision.effect == "allow" else _words(decision))
            if is_final:
                self._remember(file, caller, passage)
            if decision.effect != "allow":
                self._audit.note(_event("file.warn", file, caller, decision, judged))
            return passage
        request = ""
        if decision.effect == "hold":
            request = await asyncio.to_thread(self._holds.held, facts, decision)
        await self._audit.recorded(_event("file.deny", file, caller, decision, judged))
        raise self.refusal(file, decision, self._found(file, judged), request)

    def may_commit(self, file: FileAt, caller: Caller, judged: Judged) -> None:
        """Return when content that was judged so may become part of a hosted repository. May write.

        Raises:
            RefusedByPolicy, HeldByPolicy: it may not.
        """
        facts = self.facts("commit", file, caller, judged)
        decision = self._policy.decide(facts)
        self._watcher.decided("commit", decision.effect)
        if decision.lets_pass or self._mode != "enforce":
            return
        request = self._holds.held(facts, decision) if decision.effect == "hold" else ""
        self._audit.record(_event("commit.deny", file, caller, decision, judged))
        raise self.refusal(file, decision, self._found(file, judged), request)

    def may_change(self, action: Action, repo: RepoId, caller: Caller) -> None:
        """Return when a repository may be changed so, whatever with. May write.

        Raises:
            RefusedByPolicy, HeldByPolicy: it may not.
        """
        actor = self._facts.actor(caller)
        facts = self._facts.of_repo(action, repo, CommitHash(""), actor, self._clock())
        decision = self._policy.decide(facts)
        self._watcher.decided(action, decision.effect)
        if decision.lets_pass or self._mode != "enforce":
            return
        request = self._holds.held(facts, decision) if decision.effect == "hold" else ""
        kind = "commit.deny" if action == "commit" else "repo.deny"
        told = {"action": action, "policy": decision.policy}
        self._audit.record(
            AuditEvent(
                kind,
                actor_of(caller),
                repo,
                effect=decision.effect,
                rule=decision.rules[0] if decision.rules else "",
                reason=decision.reason,
                details=told,
            )
        )
        raise _refusal(f"{_CHANGES.get(action, action)} {repo.repo_id}", decision, (), request)

    def _found(self, file: FileAt, judged: Judged) -> tuple[Finding, ...]:
        """What there is against a file, the worst first."""
        found = (*self._facts.hits(file), *judged.report.findings)
        return tuple(sorted(found, key=lambda finding: -finding.severity))

    def facts(self, action: Action, file: FileAt, caller: Caller, judged: Judged | None) -> Facts:
        """What the policy is told of a question, as far as it can be told at once."""
        signature = self._facts.signature_at_hand(file) or Signature()
        return self._facts.of_file(action, file, self._facts.actor(caller), judged, signature, self._clock())

    @staticmethod
    def refusal(
        file: FileAt, decision: Decision, found: Sequence[Finding] = (), request: str = ""
    ) -> NotAllowed:
        """The error that tells a client why."""
        return _refusal(
            f"{file.entry.path or file.entry.etag} of {file.repo.repo_id}", decision, found, request
        )

    def _remember(self, file: FileAt, caller: Caller, passage: Passage) -> None:
        self._memos[_key(file, caller)] = (self.serial, self._clock() + REMEMBERED_SECONDS, passage)
        while len(self._memos) > _KEPT:
            self._memos.popitem(last=False)


def _refusal(name: str, decision: Decision, found: Sequence[Finding], request: str) -> NotAllowed:
    why = _words(decision)
    if found:
        why = f"{why.removesuffix('.') if FOUND in why else why} ({found[0].what[:80]})"
    if decision.effect == "deny":
        return RefusedByPolicy(f"This gateway refuses {name}: {why}")
    then = f", request {request}" if request else ""
    return HeldByPolicy(f"This gateway holds {name} until somebody approves it{then}: {why}")


def _key(file: FileAt, caller: Caller) -> tuple[Any, ...]:
    return (file.repo, file.commit_hash, file.entry.path, file.entry.etag, caller.key)


def _words(decision: Decision) -> str:
    return decision.reason or (f"rule {decision.rules[0]}" if decision.rules else "by policy")


def _event(
    kind: str, file: FileAt, caller: Caller, decision: Decision, judged: Judged | None = None
) -> AuditEvent:
    """judged: None when it is refused before anybody looked."""
    told: dict[str, object] = {"policy": decision.policy}
    if judged is not None:
        told["verdict"] = judged.verdict
        told["findings"] = [finding.rule for finding in judged.report.findings[:_MOST_FINDINGS]]
    return AuditEvent(
        kind,
        actor_of(caller),
        file.repo,
        file.commit_hash,
        file.entry.path,
        file.entry.etag,
        decision.effect,
        decision.rules[0] if decision.rules else "",
        decision.reason,
        details=told,
    )
