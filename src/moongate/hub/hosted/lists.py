"""Pages of hosted repositories that fit a question, of those that the caller may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from moongate.core.callers import Caller
from moongate.core.names import RepoType
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.search import MAX_PAGE, ListQuestion
from moongate.hub.hosted.views import RepoState, list_item, whole_view
from moongate.store.index import HostedRow, Index


class States(Protocol):
    """What there is to tell of a repository's main branch; with its files only when they are wanted."""

    def state_of(self, row: HostedRow, *, siblings: bool) -> RepoState: ...


@dataclass(frozen=True, slots=True)
class Page:
    """Items of a list, and where the next page of hosted repositories begins; None: there are no more."""

    items: Sequence[dict[str, object]]
    next_start: int | None


class HostedLists:
    """Lists and searches over what lives here. Any thread; blocks."""

    def __init__(self, index: Index, places: Places, states: States) -> None:
        self._index = index
        self._places = places
        self._states = states

    def page(self, repo_type: RepoType, question: ListQuestion, caller: Caller) -> Page:
        """The page that begins at `question.start`."""
        if question.start is None:
            return Page((), None)
        siblings = "full" in question.asked or "siblings" in question.expand
        views = [
            view
            for row in self._candidates(repo_type, question)
            if self._places.role_of(row, caller) is not None
            and question.fits(view := whole_view(self._states.state_of(row, siblings=siblings)))
        ]
        views.sort(key=question.sort_key(), reverse=question.descending)
        end = question.start + min(question.limit or MAX_PAGE, MAX_PAGE)
        items = [
            list_item(view, repo_type, question.asked, question.expand)
            for view in views[question.start : end]
        ]
        return Page(items, end if end < len(views) else None)

    def _candidates(self, repo_type: RepoType, question: ListQuestion) -> list[HostedRow]:
        rows = self._index.hosted_repos(question.author)
        return [
            row
            for row in rows
            if row.repo.repo_type == repo_type
            and all(word in row.repo.repo_id.lower() for word in question.words)
        ]
