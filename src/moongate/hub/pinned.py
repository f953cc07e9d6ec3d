"""Answers about one commit: asked once, kept for good, shared by all who may see the repository.

Also absences of folders, as the coded 404 that they are. What upstream tells only to members of an
organisation is left out; who asks for just that gets a pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from moongate.core.callers import Caller, Secret
from moongate.core.errors import BadToken, EntryAbsent, UpstreamBroken, UpstreamError
from moongate.core.names import RepoId, Revision
from moongate.hub.access import Access
from moongate.hub.answers import PUBLIC, Answer, answer_of, kept_headers
from moongate.hub.asker import Asker
from moongate.hub.events import Outcome
from moongate.hub.flights import Flights
from moongate.hub.infos import shareable
from moongate.hub.notes import write_down
from moongate.hub.refs import Resolved
from moongate.hub.rules import HubRules
from moongate.store.index import Index, StoredAnswer
from moongate.upstream.client import UpstreamAnswer
from moongate.wire.errors import error_answer
from moongate.wire.links import next_header, next_link, relative_next

_MAX_KEPT_BYTES = 64 << 20

Keep = Callable[[StoredAnswer], None]
"""What else to learn from an answer before it is given; runs in a thread, with JSON known to be good."""


@dataclass(frozen=True, slots=True)
class CommitQuestion:
    """A question about a commit: its key in the index, and how upstream is asked.

    volatile: the answer may change although the commit does not, and is asked again for a branch.
    body: what to POST, as JSON; a GET when None.
    personal: the answer is for the asker only, and neither kept nor shared.
    """

    kind: Literal["info", "tree", "paths-info", "commits", "treesize"]
    key: str
    path_qs: str
    volatile: bool = False
    body: bytes | None = None
    personal: bool = False

    @property
    def lists_files(self) -> bool:
        """Whether the answer tells of files one by one, with their Xet ids where they have one."""
        return self.kind in ("tree", "paths-info")


class PinnedAnswers:
    """Answers about commits."""

    def __init__(
        self,
        index: Index,
        asker: Asker,
        access: Access,
        rules: HubRules,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._asker = asker
        self._access = access
        self._rules = rules
        self._clock = clock
        self._flights = Flights()

    def kept(self, question: CommitQuestion, resolved: Resolved, *, pinned: bool) -> Answer | None:
        """The kept answer, if it still holds; `pinned` says that the caller named the commit itself."""
        stored = None if question.personal else self._index.get_answer(question.key)
        if stored is None:
            return None
        age_seconds = self._clock() - stored.fetched_at
        if stored.status != 200:
            holds = age_seconds < self._rules.entry_absent_ttl_seconds
        else:
            holds = pinned or not question.volatile or age_seconds < self._rules.volatile_ttl_seconds
        return self._given(stored, resolved) if holds or self._rules.offline else None

    async def ask(self, question: CommitQuestion, resolved: Resolved, caller: Caller, keep: Keep) -> Answer:
        """Upstream's answer, kept; the older one, if there is one, while upstream is silent.

        Raises:
            RepoAbsent, NotAllowed: upstream says so.
            UpstreamError: it cannot be asked, and nothing is kept.
        """
        repo = resolved.repo
        if question.personal:
            told = await self._send(question, self._access.credential(caller, repo))
            headers = (("Content-Type", "application/json; charset=utf-8"),)
            return Answer(200, headers, told.body, "pass")
        audience = self._access.audience(caller, repo)
        task = self._flights.start(
            (audience, question.key), lambda: self._fetch(question, resolved, caller, audience, keep)
        )
        stored = self._index.get_answer(question.key)
        if stored is None:
            stored = await asyncio.shield(task)
            await self._still_seen(repo, resolved, caller)
            return answer_of(stored, "miss", self._clock())
        done, _ = await asyncio.wait({task}, timeout=self._rules.stale_wait_seconds)
        if not done or isinstance(task.exception(), UpstreamError):
            return answer_of(stored, "stale", self._clock())
        await self._still_seen(repo, resolved, caller)
        return answer_of(task.result(), "miss", self._clock())

    async def close(self) -> None:
        await self._flights.close()

    async def _still_seen(self, repo: RepoId, resolved: Resolved, caller: Caller) -> None:
        """The flight may have been another caller's, and have found the repository no longer public."""
        if not self._access.sees(caller, repo):
            await self._access.may_read_metadata(caller, repo, Revision(resolved.commit_hash))

    def _given(self, stored: StoredAnswer, resolved: Resolved) -> Answer:
        outcome: Outcome = "stale" if resolved.outcome == "stale" else "hit"
        answer = answer_of(stored, outcome, self._clock())
        return Answer(answer.status, answer.headers, answer.body, outcome, resolved.age_seconds)

    async def _fetch(
        self, question: CommitQuestion, resolved: Resolved, caller: Caller, audience: str, keep: Keep
    ) -> StoredAnswer:
        repo, commit_hash = resolved.repo, resolved.commit_hash
        if audience == PUBLIC and not self._access.lately_known(repo):
            # What a credential shows is shared only while the repository is surely public.
            await self._access.reconfirm(caller, repo, commit_hash)
        try:
            answer = await self._put(question, caller, resolved, audience)
        except EntryAbsent as error:
            stored = _absence(EntryAbsent(error.message, commit_hash), self._clock())
        else:
            stored = await asyncio.to_thread(
                stored_answer,
                answer,
                self._rules.upstream_origin,
                self._clock(),
                keep_xet=question.lists_files,
            )
        if len(stored.body) <= _MAX_KEPT_BYTES:
            await write_down(self._write, question, resolved, stored, keep)
        return stored

    def _write(self, question: CommitQuestion, resolved: Resolved, stored: StoredAnswer, keep: Keep) -> None:
        self._index.put_answer(question.key, resolved.repo, stored)
        if stored.status == 200:
            try:
                keep(stored)
            except UpstreamBroken:
                self._index.drop_answer(question.key)
                raise

    async def _put(
        self, question: CommitQuestion, caller: Caller, resolved: Resolved, audience: str
    ) -> UpstreamAnswer:
        credential = self._access.fetching_credential(caller, resolved.repo)
        try:
            return await self._send(question, credential)
        except BadToken:
            if audience != PUBLIC or credential is None:
                raise
            return await self._send(question, None)

    async def _send(self, question: CommitQuestion, credential: Secret | None) -> UpstreamAnswer:
        if question.body is None:
            return await self._asker.get(question.path_qs, credential, "metadata")
        return await self._asker.post(
            question.path_qs, question.body, "application/json", credential, "metadata"
        )


def stored_answer(
    answer: UpstreamAnswer, upstream_origin: str, now: float, *, keep_xet: bool = False
) -> StoredAnswer:
    """An upstream answer of JSON as it is kept: its next page below our own base, Xet left in only if told.

    Raises:
        UpstreamBroken: it is not JSON.
    """
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise UpstreamBroken("upstream's answer is not JSON") from None
    headers = kept_headers(answer.headers) | next_page(answer.headers, upstream_origin)
    return StoredAnswer(200, headers, shareable(answer.body, said, keep_xet=keep_xet), now)


def next_page(headers: Mapping[str, str], upstream_origin: str) -> dict[str, str]:
    """The `link` header of an answer whose next page is below our own base; empty on the last page."""
    link = next_link(headers)
    relative = relative_next(link, upstream_origin) if link is not None else None
    return {} if relative is None else {"link": next_header(relative)}


def _absence(error: EntryAbsent, now: float) -> StoredAnswer:
    told = error_answer(error)
    headers = {name.lower(): value for name, value in told.headers} | {"content-type": "application/json"}
    return StoredAnswer(told.status, headers, told.body, now)
