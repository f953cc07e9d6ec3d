"""Asking upstream for a repository's info, and keeping all that it says.

One question brings the commit, the facts (private, gated), the canonical name and the ready-made answer;
all of it is in the index before anybody uses it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

import orjson

from moongate.core.callers import Secret
from moongate.core.errors import Absent, AnswerTooLong, BadName, RepoAbsent, RevisionAbsent, UpstreamBroken
from moongate.core.names import CommitHash, RepoId, Revision, is_commit_hash
from moongate.core.records import RepoFacts
from moongate.hub import keys
from moongate.hub.answers import AnswerMemory, kept_headers
from moongate.hub.asker import Asker
from moongate.hub.notes import write_down
from moongate.store.index import Index, StoredAnswer
from moongate.wire.listings import info_facts, without_xet
from moongate.wire.routes import Info, parse_route

_FACTS_HOLD_SECONDS = 2.0
_FACTS_ROWS = 20_000
_BARE_QUERY = "expand=sha&expand=private&expand=gated"
_INLINE_BYTES = 256 << 10
FOR_MEMBERS: Final = "resourceGroup"
"""The fact that upstream tells only to members of an organisation, and that we therefore never share."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What one info answer said; `repo` is the canonical name."""

    repo: RepoId
    commit_hash: CommitHash
    facts: RepoFacts


class Infos:
    """Repository infos, asked and kept."""

    def __init__(
        self,
        index: Index,
        asker: Asker,
        memory: AnswerMemory,
        clock: Callable[[], float],
        lives_here: Callable[[RepoId], bool] = lambda repo: False,
    ) -> None:
        """`lives_here`: whether a name is hosted; what upstream has under that name is not shown."""
        self._lives_here = lives_here
        self._index = index
        self._asker = asker
        self._memory = memory
        self._clock = clock
        self._facts: OrderedDict[RepoId, tuple[RepoFacts, float]] = OrderedDict()

    def facts(self, repo: RepoId) -> RepoFacts | None:
        """What is known of a repository; other processes' news are seen within two seconds."""
        kept, now = self._facts.get(repo), self._clock()
        if kept is not None and now < kept[1]:
            return kept[0]
        facts = self._index.get_facts(repo)
        return None if facts is None else self._remember(repo, facts, now)

    def _remember(self, repo: RepoId, facts: RepoFacts, now: float) -> RepoFacts:
        self._facts[repo] = (facts, now + _FACTS_HOLD_SECONDS)
        self._facts.move_to_end(repo)
        if len(self._facts) > _FACTS_ROWS:
            self._facts.popitem(last=False)
        return facts

    async def ask(self, repo: RepoId, revision: Revision, credential: Secret | None) -> Learned:
        """What upstream says of a repository at a revision, to the holder of this credential.

        Raises:
            RepoAbsent, RevisionAbsent, BadToken: upstream says so.
            UpstreamError: it did not answer, or made no sense.
        """
        path = f"{repo.api_path}/revision/{quote(revision, safe='')}"
        whole = True
        try:
            try:
                answer = await self._asker.get(path, credential, "info")
            except AnswerTooLong:
                whole = False
                answer = await self._asker.get(f"{path}?{_BARE_QUERY}", credential, "info")
        except (RepoAbsent, RevisionAbsent):
            raise
        except Absent as error:
            raise RepoAbsent(error.message) from error
        now = self._clock()
        canonical = _canonical(repo, answer.final_path)
        if canonical != repo and self._lives_here(canonical):
            raise RepoAbsent(f"upstream calls {repo} by a name that is hosted here")
        body = answer.body
        if len(body) > _INLINE_BYTES:
            body, facts, commit_hash = await asyncio.to_thread(_read, body, canonical, now)
        else:
            body, facts, commit_hash = _read(body, canonical, now)
        if is_commit_hash(revision) and commit_hash != CommitHash(revision):
            raise UpstreamBroken(f"upstream answered for commit {commit_hash} when asked for {revision}")
        stored = StoredAnswer(200, kept_headers(answer.headers), body, now) if whole else None
        learned = Learned(canonical, commit_hash, facts)
        before = self._index.get_facts(canonical)
        await write_down(self._keep, repo, revision, learned, stored, now)
        self._remember(canonical, facts, now)
        if before is not None and (before.private, before.gated) != (facts.private, facts.gated):
            self._memory.drop_repo(canonical)
        return learned

    def _keep(
        self, asked: RepoId, revision: Revision, learned: Learned, stored: StoredAnswer | None, now: float
    ) -> None:
        repo, commit_hash = learned.repo, learned.commit_hash
        if asked != repo:
            self._index.put_rename(asked.repo_type, asked.repo_id, repo.repo_id, now)
        if stored is not None:
            self._index.put_answer(keys.info(repo, commit_hash), repo, stored)
        self._index.put_ref(repo, Revision(commit_hash), commit_hash, now)
        if revision != Revision(commit_hash):
            self._index.put_ref(repo, revision, commit_hash, now)
        self._index.put_facts(learned.facts)  # last: until facts stand, none of the above is shown to others


def _canonical(asked: RepoId, final_path: str) -> RepoId:
    try:
        route = parse_route(final_path.partition("?")[0])
    except BadName:
        raise UpstreamBroken("upstream redirected a repository to a name that cannot be one") from None
    if not isinstance(route, Info) or route.repo.repo_type != asked.repo_type:
        raise UpstreamBroken("upstream redirected a repository's info elsewhere")
    return route.repo


def _read(body: bytes, repo: RepoId, now: float) -> tuple[bytes, RepoFacts, CommitHash]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamBroken("upstream's repository info is not JSON") from None
    facts, commit_hash = info_facts(said, repo, now)
    facts = replace(facts, repo=repo)  # where the answer was found says more than what it calls itself
    return shareable(body, said), facts, commit_hash


def shareable(body: bytes, said: object, *, keep_xet: bool = False) -> bytes:
    """An answer's JSON without what is only for the asker, and without Xet; as it came when it has neither.

    keep_xet: leave Xet in, for who writes the answer out to decide (`offers`).
    """
    told = without_xet(said) if b"xet" in body and not keep_xet else said
    if isinstance(told, dict) and FOR_MEMBERS in told:
        told = {name: value for name, value in told.items() if name != FOR_MEMBERS}
    return body if told is said else orjson.dumps(told)
