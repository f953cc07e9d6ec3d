"""Ready-made answers: the value, and the bounded memory in front of the index.

A hit in memory is one look-up: no JSON, no SQL, nothing awaited. What is kept for one caller is under that
caller's key and is never looked up for another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from moongate.core.names import RepoId
from moongate.hub.events import Outcome
from moongate.store.index import StoredAnswer

PUBLIC: Final = "public"
"""The audience of what everybody may see."""

_ENTRY_OVERHEAD_BYTES = 1024
_KEPT_HEADERS = ("content-type", "link", "x-total-count", "x-repo-commit", "x-error-code", "x-error-message")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `headers` are written as they stand, but for `Link`, whose URL is a path of ours.

    age_seconds: how long ago upstream said so; of interest when the outcome is `stale`.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    outcome: Outcome
    age_seconds: float = 0.0

    def headers_for(self, base_url: str) -> list[tuple[str, str]]:
        """The headers with `Link` made absolute on `base_url` (no slash at its end)."""
        return [(k, v.replace("<", f"<{base_url}", 1) if k == "Link" else v) for k, v in self.headers]


def answer_of(stored: StoredAnswer, outcome: Outcome, now: float) -> Answer:
    """A kept answer as it is given."""
    headers = tuple((_title(name), value) for name, value in stored.headers.items())
    return Answer(stored.status, headers, stored.body, outcome, max(0.0, now - stored.fetched_at))


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those headers of an upstream answer that are ours to repeat, names in lower case; `Link` is not among
    them unless the caller adds it in its own form."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: lower[name] for name in _KEPT_HEADERS if name in lower and name != "link"}


def _title(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    repo: RepoId | None
    fresh_until: float
    size_bytes: int


class AnswerMemory:
    """Answers by (audience, question), least recently used first to go. Not for several threads.

    `forgetting` is called with every removal that is not by age: who remembers more than this must forget.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.forgetting: Callable[[], None] = lambda: None
        self._kept: OrderedDict[tuple[str, Hashable], _Kept] = OrderedDict()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        return self._used_bytes

    def get(self, audience: str, question: Hashable, now: float) -> Answer | None:
        """The answer, while it is fresh."""
        key = (audience, question)
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.fresh_until <= now:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.answer

    def put(
        self,
        audience: str,
        question: Hashable,
        answer: Answer,
        fresh_until: float,
        repo: RepoId | None = None,
    ) -> None:
        """Keep an answer until then. It is given as a hit, unless it is stale."""
        key = (audience, question)
        self._drop(key)
        size_bytes = len(answer.body) + _ENTRY_OVERHEAD_BYTES
        if size_bytes > self._max_bytes // 4:
            return
        if answer.outcome == "miss":
            answer = replace(answer, outcome="hit")
        self._kept[key] = _Kept(answer, repo, fresh_until, size_bytes)
        self._used_bytes += size_bytes
        while self._used_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Forget everything."""
        self.forgetting()
        self._kept.clear()
        self._used_bytes = 0

    def drop_repo(self, repo: RepoId) -> None:
        """Forget everything about a repository."""
        self.forgetting()
        for key in [key for key, kept in self._kept.items() if kept.repo == repo]:
            self._drop(key)

    def drop_audience(self, audience: str) -> None:
        """Forget everything kept for one caller."""
        self.forgetting()
        for key in [key for key in self._kept if key[0] == audience]:
            self._drop(key)

    def _drop(self, key: tuple[str, Hashable]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._used_bytes -= kept.size_bytes
