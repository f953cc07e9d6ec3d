"""Answers that age: refs, lists, searches, tags, users, and every GET that we know nothing of.

Kept for `ref_ttl_seconds`. What was asked without a credential is shared by all who have none, survives
restarts in the index, and is shown with its age while upstream is silent. What was asked with somebody's own
credential stays in memory, for that credential only. What is no JSON, sets a cookie, wants no store, or
smells of a secret is passed on and kept nowhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from moongate.core.callers import Secret
from moongate.core.errors import UpstreamBroken, UpstreamError
from moongate.core.names import RepoId
from moongate.hub.answers import Answer, answer_of, kept_headers
from moongate.hub.asker import Asker
from moongate.hub.events import Purpose
from moongate.hub.flights import Flights
from moongate.hub.notes import write_down
from moongate.hub.pinned import Keep, next_page, stored_answer
from moongate.hub.rules import HubRules
from moongate.store.index import Index, StoredAnswer
from moongate.upstream.client import UpstreamAnswer

_MAX_KEPT_BYTES = 8 << 20
_SECRET_WORDS = re.compile(r"token|jwt|secret|oauth|session|settings|password|keys?\b", re.IGNORECASE)
_NO_STORE = re.compile(r"\bno-store\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AgeingQuestion:
    """A GET whose answer ages.

    key: its name in the index, or None when it may be kept in memory only.
    identity: whose answer it is; who shares it.
    json_only: this is a list that we know, and JSON; of an unknown route, what is no JSON is passed on.
    verbatim: the bytes matter; they are kept as they came.
    headers: what else to ask with.
    """

    path_qs: str
    key: str | None
    identity: str
    credential: Secret | None
    repo: RepoId | None
    purpose: Purpose = "list"
    json_only: bool = True
    verbatim: bool = False
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def may_be_kept(self) -> bool:
        return not _SECRET_WORDS.search(self.path_qs.partition("?")[0])


class AgeingAnswers:
    """Answers that age."""

    def __init__(self, index: Index, asker: Asker, rules: HubRules, clock: Callable[[], float]) -> None:
        self._index = index
        self._asker = asker
        self._rules = rules
        self._clock = clock
        self._flights = Flights()

    async def give(self, question: AgeingQuestion, keep: Keep | None = None) -> Answer:
        """The answer, fresh if upstream can be asked. Its outcome is `pass` when it must not be kept.

        Raises:
            MoongateError: what upstream's refusal means.
            UpstreamError: it cannot be asked, and nothing is kept.
        """
        stored = self._index.get_answer(question.key) if question.key is not None else None
        now = self._clock()
        if stored is not None and (
            self._rules.offline or now - stored.fetched_at < self._rules.ref_ttl_seconds
        ):
            return answer_of(stored, "hit", now)
        if not question.may_be_kept:
            return await self._fetch(question, None)
        task = self._flights.start((question.identity, question.path_qs), lambda: self._fetch(question, keep))
        if stored is None:
            return await asyncio.shield(task)
        done, _ = await asyncio.wait({task}, timeout=self._rules.stale_wait_seconds)
        if not done or isinstance(task.exception(), UpstreamError):
            return answer_of(stored, "stale", self._clock())
        return task.result()

    async def close(self) -> None:
        await self._flights.close()

    async def _fetch(self, question: AgeingQuestion, keep: Keep | None) -> Answer:
        answer = await self._asker.get(
            question.path_qs,
            question.credential,
            question.purpose,
            about_repo=question.repo is not None,
            any_success=not question.json_only,
            headers=question.headers,
        )
        if not question.may_be_kept or not (question.json_only or _may_be_kept(answer)):
            return _passed(answer, self._rules.upstream_origin)
        stored = await asyncio.to_thread(stored_answer, answer, self._rules.upstream_origin, self._clock())
        if question.verbatim:
            stored = replace(stored, body=answer.body)
        await write_down(self._write, question, stored, keep)
        return answer_of(stored, "miss", self._clock())

    def _write(self, question: AgeingQuestion, stored: StoredAnswer, keep: Keep | None) -> None:
        if question.key is not None and len(stored.body) <= _MAX_KEPT_BYTES:
            self._index.put_answer(question.key, question.repo, stored)
        if keep is None:
            return
        try:
            keep(stored)
        except UpstreamBroken:
            if question.key is not None:
                self._index.drop_answer(question.key)
            raise


def _may_be_kept(answer: UpstreamAnswer) -> bool:
    """Whether an answer that we know nothing of may be kept."""
    return (
        answer.status == 200
        and len(answer.body) <= _MAX_KEPT_BYTES
        and "json" in _header(answer, "content-type")
        and not _header(answer, "set-cookie")
        and not _NO_STORE.search(_header(answer, "cache-control"))
    )


def _passed(answer: UpstreamAnswer, upstream_origin: str) -> Answer:
    headers = kept_headers(answer.headers) | next_page(answer.headers, upstream_origin)
    headers.setdefault("content-type", "application/octet-stream")
    return answer_of(StoredAnswer(answer.status, headers, answer.body, 0.0), "pass", 0.0)


def _header(answer: UpstreamAnswer, name: str) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == name), "")
