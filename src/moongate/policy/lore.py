"""What is known of a repository, from the info that upstream gave of a commit, or that we give of our own.

Licence, tags, ages, popularity and base models. Only what is kept here is looked at; upstream is not asked.
Where no info is kept, nothing of this is known. Of what is hosted nobody counts downloads and likes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson

from moongate.core.names import CommitHash, RepoId
from moongate.core.records import RepoFacts
from moongate.hub import keys
from moongate.policy.facts import Repository
from moongate.wire.cards import texts

HELD_SECONDS: Final = 60.0
_KEPT = 5000
_MOST_TAGS = 500


class Answer(Protocol):
    """A kept answer."""

    @property
    def body(self) -> bytes: ...


class LoreShelf(Protocol):
    """What is needed of the index. Point reads."""

    def get_answer(self, key: str) -> Answer | None: ...
    def get_facts(self, repo: RepoId) -> RepoFacts | None: ...


class Lore:
    """Repositories with what is known of them; believed for a minute."""

    def __init__(
        self,
        shelf: LoreShelf,
        is_hosted: Callable[[RepoId], bool],
        clock: Callable[[], float],
        hosted_info: Callable[[RepoId, str], Mapping[str, Any] | None] = lambda repo, commit_hash: None,
    ) -> None:
        """hosted_info: the info of a hosted repository, at its main branch when no commit is named."""
        self._hosted_info = hosted_info
        self._shelf = shelf
        self._is_hosted = is_hosted
        self._clock = clock
        self._known: OrderedDict[tuple[RepoId, str], tuple[float, Repository]] = OrderedDict()

    def of(self, repo: RepoId, commit_hash: CommitHash | str) -> Repository:
        """The repository at a commit. Some point reads at most: fit for an event loop."""
        key, now = (repo, str(commit_hash)), self._clock()
        known = self._known.get(key)
        if known is not None and now < known[0]:
            return known[1]
        found = self._look_up(repo, commit_hash)
        self._known[key] = (now + HELD_SECONDS, found)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found

    def _look_up(self, repo: RepoId, commit_hash: CommitHash | str) -> Repository:
        facts = self._shelf.get_facts(repo)
        plain = Repository(
            repo.repo_type,
            repo.repo_id,
            hosted=self._is_hosted(repo),
            private=None if facts is None else facts.private,
            gated=None if facts is None else facts.gated,
        )
        if plain.hosted:
            info = self._hosted_info(repo, str(commit_hash))
            return plain if info is None else _of_hosted(plain, info)
        if not commit_hash:
            return plain
        answer = self._shelf.get_answer(keys.info(repo, CommitHash(commit_hash)))
        if answer is None:
            return plain
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            return plain
        return with_info(plain, said) if isinstance(said, dict) else plain


def _of_hosted(plain: Repository, info: Mapping[str, Any]) -> Repository:
    told = {name: value for name, value in info.items() if name not in ("downloads", "likes")}
    known = with_info(plain, told)
    return replace(known, private=bool(info.get("private")), gated=bool(info.get("gated")))


def with_info(repo: Repository, said: Mapping[str, Any]) -> Repository:
    """A repository with what an info answer of the Hub says of it; what it does not say stays unknown."""
    told_tags = said.get("tags")
    tags = tuple(texts(told_tags)[:_MOST_TAGS]) if isinstance(told_tags, list) else None
    card = said.get("cardData")
    named = card if isinstance(card, dict) else {}
    licences = texts(named.get("license")) or _tagged(tags, "license:")
    bases = texts(named.get("base_model")) or [
        base for base in _tagged(tags, "base_model:") if base.count(":") == 0
    ]
    is_told = tags is not None or isinstance(card, dict)
    return replace(
        repo,
        tags=tags,
        licence=(licences[0] if licences else "") if is_told else None,
        base_models=tuple(dict.fromkeys(bases)) if is_told else None,
        created_at=_moment(said.get("createdAt")),
        modified_at=_moment(said.get("lastModified")),
        downloads=_count(said.get("downloads")),
        likes=_count(said.get("likes")),
        size_bytes=_count(said.get("usedStorage")),
    )


def _tagged(tags: tuple[str, ...] | None, prefix: str) -> list[str]:
    return [tag.removeprefix(prefix) for tag in tags or () if tag.startswith(prefix)]


def _moment(told: object) -> float | None:
    if not isinstance(told, str):
        return None
    try:
        moment = datetime.fromisoformat(told)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _count(told: object) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None
