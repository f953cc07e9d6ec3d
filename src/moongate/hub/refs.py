"""Which commit a revision is: asked at most once per TTL, by one asker, for everybody who may know.

A commit hash that upstream confirmed once is never asked about again. A branch is asked when its row is older
than `ref_ttl_seconds`; while upstream is silent or slow, the older commit is shown with its age.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from moongate.core.callers import Caller
from moongate.core.errors import (
    Absent,
    BadToken,
    MoongateError,
    RepoAbsent,
    RevisionAbsent,
    UpstreamError,
    UpstreamUnreachable,
)
from moongate.core.names import CommitHash, RepoId, Revision, is_commit_hash
from moongate.hub.access import Access
from moongate.hub.answers import PUBLIC
from moongate.hub.flights import Flights, Turns
from moongate.hub.infos import Infos, Learned
from moongate.hub.notes import write_down
from moongate.hub.rules import HubRules
from moongate.store.index import Index

_MEMORY_ROWS = 20_000
_ABSENCES = 20_000


@dataclass(frozen=True, slots=True)
class Resolved:
    """A revision's commit, in the repository's canonical name; `age_seconds` since upstream said so."""

    commit_hash: CommitHash
    repo: RepoId
    outcome: Literal["hit", "miss", "stale"]
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Hot:
    resolved: Resolved
    fresh_until: float


@dataclass(frozen=True, slots=True)
class _Absence:
    until: float
    error: MoongateError


class Refs:
    """Revisions, resolved."""

    def __init__(
        self, index: Index, infos: Infos, access: Access, rules: HubRules, clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._infos = infos
        self._access = access
        self._rules = rules
        self._clock = clock
        self._flights = Flights()
        self._turns = Turns(index, clock, rules.turn_seconds)
        self._hot: OrderedDict[tuple[RepoId, Revision], _Hot] = OrderedDict()
        self._absent: OrderedDict[tuple[str, RepoId, Revision], _Absence] = OrderedDict()

    def at_hand(self, repo: RepoId, revision: Revision, caller: Caller) -> Resolved | None:
        """The commit, when memory knows it, it is fresh, and this caller may know it."""
        hot = self._hot.get((repo, revision))
        if hot is None or hot.fresh_until <= self._clock():
            return None
        return hot.resolved if self._access.sees(caller, hot.resolved.repo) else None

    def fresh_until(self, repo: RepoId, revision: Revision) -> float:
        """Until when memory's word on this revision holds."""
        hot = self._hot.get((repo, revision))
        return hot.fresh_until if hot is not None else 0.0

    async def resolve(self, repo: RepoId, revision: Revision, caller: Caller) -> Resolved:
        """The commit a revision points to, for a caller who may see the repository.

        Raises:
            RepoAbsent, RevisionAbsent: upstream says so to this caller.
            UpstreamError: upstream cannot be asked, and nothing that this caller may have is kept.
        """
        at_hand = self.at_hand(repo, revision, caller)
        if at_hand is not None:
            return at_hand
        canonical = self.canonical(repo)
        held = self._held(canonical, revision)
        if held is not None and held.outcome == "hit":
            if not self._access.sees(caller, canonical):
                await self._access.may_read_metadata(caller, canonical, revision)
            return self._keep(repo, revision, held)
        self._raise_if_absent(caller, repo, canonical, revision)
        return await self._ask(repo, canonical, revision, caller, held)

    def canonical(self, repo: RepoId) -> RepoId:
        """The name a repository goes by now, as far as known."""
        new_id = self._index.get_rename(repo.repo_type, repo.repo_id)
        return repo if new_id is None else RepoId(repo.repo_type, new_id)

    def forget(self, repo: RepoId) -> None:
        """Drop what memory knows of a repository, under all its names."""
        for key in [key for key, hot in self._hot.items() if repo in (key[0], hot.resolved.repo)]:
            del self._hot[key]
        for place in [place for place in self._absent if place[1] == repo]:
            del self._absent[place]

    def forget_absences(self) -> None:
        """Drop what memory knows of repositories that are not there: one may have come to be."""
        self._absent.clear()

    async def doubt(self, repo: RepoId) -> None:
        """Have every revision of a repository asked anew; where it pointed stays known for bad times."""
        self.forget(repo)
        await write_down(self._age, repo, self._clock() - self._rules.ref_ttl_seconds)

    def _age(self, repo: RepoId, at_most: float) -> None:
        for revision, row in self._index.refs_of(repo).items():
            if row.checked_at > at_most and not is_commit_hash(revision):
                self._index.put_ref(repo, revision, row.commit_hash, at_most)

    async def close(self) -> None:
        await self._flights.close()

    def _held(self, repo: RepoId, revision: Revision) -> Resolved | None:
        """What the index knows: a hit when no question is due, stale otherwise."""
        row = self._index.get_ref(repo, revision)
        if row is None or self._access.facts(repo) is None:
            return None
        age_seconds = max(0.0, self._clock() - row.checked_at)
        settled = is_commit_hash(revision) or self._rules.offline or age_seconds < self._rules.ref_ttl_seconds
        return Resolved(row.commit_hash, repo, "hit" if settled else "stale", age_seconds)

    async def _ask(
        self, repo: RepoId, canonical: RepoId, revision: Revision, caller: Caller, held: Resolved | None
    ) -> Resolved:
        if self._rules.offline:
            raise UpstreamUnreachable(f"this gateway is offline, and {repo} at {revision} is not kept here")
        audience = self._access.audience(caller, canonical)
        task = self._flights.start(
            (audience, repo, revision), lambda: self._in_turn(audience, repo, canonical, revision, caller)
        )
        if held is not None and self._access.sees(caller, canonical, within_grace=True):
            done, _ = await asyncio.wait({task}, timeout=self._rules.stale_wait_seconds)
            if not done or isinstance(task.exception(), UpstreamError):
                return self._keep(repo, revision, held)
        try:
            resolved = await asyncio.shield(task)
        except Absent as error:
            self._note_absence(audience, repo, revision, error)
            if (
                audience == PUBLIC
                and isinstance(error, RepoAbsent)
                and self._access.has_credential(caller, repo)
            ):
                learned = await self._access.learn(
                    caller, repo, revision
                )  # private now, but not to this caller
                return self._keep(repo, revision, Resolved(learned.commit_hash, learned.repo, "miss"))
            raise
        # The flight may have been another caller's, and the repository no longer public.
        await self._access.may_read_metadata(caller, resolved.repo, revision)
        return self._keep(repo, revision, resolved)

    async def _in_turn(
        self, audience: str, repo: RepoId, canonical: RepoId, revision: Revision, caller: Caller
    ) -> Resolved:
        def known() -> Resolved | None:
            held = self._held(self.canonical(repo), revision)
            fresh = held is not None and held.outcome == "hit" and self._access.sees(caller, held.repo)
            return held if fresh else None

        async def ask() -> Resolved:
            learned = await self._learn(audience, repo, revision, caller)
            resolved = Resolved(learned.commit_hash, learned.repo, "miss")
            self._keep(repo, revision, resolved)
            return resolved

        return await self._turns.take(
            f"ref:{audience}:{canonical.repo_type}:{canonical}@{revision}", known, ask
        )

    async def _learn(self, audience: str, repo: RepoId, revision: Revision, caller: Caller) -> Learned:
        if audience != PUBLIC:
            return await self._access.learn(caller, repo, revision)
        credential = self._access.fetching_credential(caller, self.canonical(repo))
        try:
            if credential == self._access.credential(caller, repo):
                return await self._access.learn(caller, repo, revision)
            return await self._infos.ask(repo, revision, credential)
        except BadToken:
            return await self._infos.ask(
                repo, revision, None
            )  # one caller's bad token is not the others' fault

    def _keep(self, repo: RepoId, revision: Revision, resolved: Resolved) -> Resolved:
        now, rules = self._clock(), self._rules
        if resolved.outcome == "stale":
            fresh_until = now + min(rules.retry_pause_seconds, rules.ref_ttl_seconds)
        elif is_commit_hash(revision) or rules.offline:
            fresh_until = now + rules.ref_ttl_seconds
        else:
            fresh_until = now - resolved.age_seconds + rules.ref_ttl_seconds
        settled = replace(resolved, outcome="hit") if resolved.outcome == "miss" else resolved
        self._hot[repo, revision] = _Hot(settled, fresh_until)
        self._hot.move_to_end((repo, revision))
        if len(self._hot) > _MEMORY_ROWS:
            self._hot.popitem(last=False)
        return resolved

    def _note_absence(self, audience: str, repo: RepoId, revision: Revision, error: Absent) -> None:
        until = self._clock() + self._rules.absent_ttl_seconds
        self._absent[audience, repo, revision] = _Absence(until, error)
        if len(self._absent) > _ABSENCES:
            self._absent.popitem(last=False)

    def _raise_if_absent(self, caller: Caller, repo: RepoId, canonical: RepoId, revision: Revision) -> None:
        audience = self._access.audience(caller, canonical)
        noted = self._absent.get((audience, repo, revision))
        if noted is None or noted.until <= self._clock():
            return
        if isinstance(noted.error, RevisionAbsent):
            raise RevisionAbsent(noted.error.message)
        if audience != PUBLIC or not self._access.has_credential(caller, repo):
            raise RepoAbsent(noted.error.message)
