"""Discussions and pull requests: as much as opening, showing and merging them needs.

A pull request's commits stand at `refs/pr/N`; that ref begins where the branch is that it was opened against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from moongate.core.callers import Caller
from moongate.core.errors import Absent, BadRequest, Conflict
from moongate.core.names import CommitHash
from moongate.hub.hosted.commits import Commits, author_name
from moongate.hub.hosted.history import History
from moongate.hub.hosted.listings import moment
from moongate.hub.hosted.refs import MAIN, PULLS, HostedRefs
from moongate.store.index import DiscussionRow, HostedRow, Index, Landing, RefUpdate

Told = dict[str, object]

_TRIES: Final = 20
_PAGE: Final = 50
_MOST_TEXT_CHARS: Final = 65_536
_MOST_TITLE_CHARS: Final = 500


class Discussions:
    """Discussions and pull requests of repositories."""

    def __init__(
        self,
        index: Index,
        refs: HostedRefs,
        commits: Commits,
        history: History,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._refs = refs
        self._commits = commits
        self._history = history
        self._clock = clock

    def open(self, row: HostedRow, title: str, text: str, caller: Caller, *, pull_request: bool) -> int:
        """Begin a discussion, or a pull request whose commits are still to come; its number.

        Raises:
            BadRequest: it has no title, or an absurdly long text.
        """
        _check_title(title)
        events = [_event("comment", author_name(caller), self._clock(), 0, _comment(_checked(text)))]
        for _ in range(_TRIES):
            number = self._index.last_discussion(row.number) + 1
            discussion = DiscussionRow(
                number,
                title,
                "draft" if pull_request else "open",
                pull_request,
                author_name(caller),
                self._clock(),
                events,
            )
            changes = []
            if pull_request:
                tip = self._refs.resolve(row, "main")
                changes = [RefUpdate(f"{PULLS}{number}", None, tip, tip)]
            try:
                self._index.land(row.number, Landing(changes, discussion=discussion), self._clock())
            except Conflict:
                continue
            return number
        raise Conflict("Others open discussions all the time; try again.")

    def listed(self, row: HostedRow, page: int, wanted: Mapping[str, str]) -> Told:
        """A page of discussions, the newest first; `wanted` may name a type, a status and an author."""
        found = [one for one in self._index.discussions(row.number) if _fits(one, wanted)]
        start = page * _PAGE
        shown = found[start : start + _PAGE]
        return {"discussions": [self._told(row, one) for one in shown], "count": len(found), "start": start}

    def details(self, row: HostedRow, number: int, *, diff: bool) -> Told:
        """One discussion with what happened in it.

        Raises:
            Absent: there is none of that number.
        """
        one = self._find(row, number)
        told = self._told(row, one)
        told["events"] = [*one.events, *(self._commit_events(row, one) if one.is_pull_request else [])]
        if one.is_pull_request:
            told |= {"changes": {"base": MAIN}, "filesWithConflicts": [], "diff": ""}
            merged = next((event for event in one.events if event["type"] == "status-change-merge"), None)
            data = merged["data"] if merged is not None else None
            if isinstance(data, dict):
                told["changes"] = {"base": MAIN, "mergeCommitId": data.get("mergeCommitId")}
            elif diff:
                told["diff"] = self._diff(row, one)
        return told

    def comment(self, row: HostedRow, number: int, text: str, caller: Caller) -> Told:
        """Add a comment; the event as the API shows it.

        Raises:
            Absent: there is no such discussion.
            BadRequest: the text is empty or absurdly long.
        """
        if not text.strip():
            raise BadRequest("A comment needs a text.")
        return self._happened(row, self._find(row, number), "comment", _comment(_checked(text)), caller)

    def set_status(self, row: HostedRow, number: int, status: str, text: str, caller: Caller) -> Told:
        """Close or reopen a discussion; the event.

        Raises:
            BadRequest: it is neither, or the pull request is merged.
            Absent: there is no such discussion.
        """
        one = self._find(row, number)
        if status not in ("open", "closed") or one.status == "merged":
            raise BadRequest("A discussion that is not merged can be open or closed.")
        if text:
            self.comment(row, number, text, caller)
            one = self._find(row, number)
        return self._happened(row, replace(one, status=status), "status-change", {"status": status}, caller)

    def set_title(self, row: HostedRow, number: int, title: str, caller: Caller) -> Told:
        """Give a discussion another title; the event.

        Raises:
            Absent: there is no such discussion.
            BadRequest: the title is empty or too long.
        """
        _check_title(title)
        one = self._find(row, number)
        data = {"from": one.title, "to": title}
        return self._happened(row, replace(one, title=title), "title-change", data, caller)

    def edit_comment(self, row: HostedRow, number: int, event_id: str, text: str | None) -> Told:
        """Change a comment's text, or (None) hide it; the event.

        Raises:
            Absent: there is no such discussion or comment.
        """
        one = self._find(row, number)
        for place, event in enumerate(one.events):
            if event["id"] == event_id and event["type"] == "comment":
                changed = dict(event) | {
                    "data": _comment("" if text is None else _checked(text), text is None, edited=True)
                }
                events = [*one.events[:place], changed, *one.events[place + 1 :]]
                self._index.put_discussion(row.number, replace(one, events=events))
                return changed
        raise Absent("There is no such comment.")

    def merge(self, row: HostedRow, number: int, text: str, caller: Caller) -> Told:
        """Bring a pull request into `main`; the event.

        Raises:
            Conflict: both changed the same files.
            BadRequest: it is no pull request, or not an open one.
            Absent: there is no such discussion.
        """
        one = self._find(row, number)
        if not one.is_pull_request or one.status not in ("open", "draft"):
            raise BadRequest("Only an open pull request can be merged.")
        message = f"{one.title} (#{number})"
        made = self._commits.merge(row, f"{PULLS}{number}", "main", message, caller)
        if text:
            self.comment(row, number, text, caller)
            one = self._find(row, number)
        data = {"status": "merged", "mergeCommitId": made}
        merged = replace(one, status="merged")
        merge = self._happened(row, merged, "status-change-merge", data, caller)
        return merge | {"type": "status-change"}

    def _find(self, row: HostedRow, number: int) -> DiscussionRow:
        one = self._index.discussion(row.number, number)
        if one is None:
            raise Absent("Discussion not found")
        return one

    def _happened(
        self, row: HostedRow, one: DiscussionRow, kind: str, data: Mapping[str, object], caller: Caller
    ) -> Told:
        event = _event(kind, author_name(caller), self._clock(), len(one.events), data)
        self._index.put_discussion(row.number, replace(one, events=[*one.events, event]))
        return event

    def _told(self, row: HostedRow, one: DiscussionRow) -> Told:
        return {
            "title": one.title,
            "num": one.number,
            "status": one.status,
            "createdAt": moment(one.created_at),
            "isPullRequest": one.is_pull_request,
            "author": {"name": one.author, "type": "user"},
            "repo": {"type": row.repo.repo_type, "name": row.repo.repo_id},
            "pinned": False,
            "numComments": sum(event["type"] == "comment" for event in one.events),
        }

    def _commit_events(self, row: HostedRow, one: DiscussionRow) -> list[Told]:
        ref = self._index.hosted_ref(row.number, f"{PULLS}{one.number}")
        if ref is None:
            return []
        base = set(self._history.hashes(row, self._refs.resolve(row, "main")))
        fresh = [made for made in self._history.hashes(row, ref.commit_hash) if made not in base]
        return [
            {
                "id": commit["id"],
                "type": "commit",
                "createdAt": commit["date"],
                "author": {"name": one.author},
                "data": {"subject": commit["title"], "oid": commit["id"]},
            }
            for commit in self._history.told(row, fresh[::-1], formatted=False)
        ]

    def _diff(self, row: HostedRow, one: DiscussionRow) -> str:
        ref = self._index.hosted_ref(row.number, f"{PULLS}{one.number}")
        if ref is None:
            return ""
        base = set(self._history.hashes(row, self._refs.resolve(row, "main")))
        theirs = self._history.hashes(row, ref.commit_hash)
        fork = next((made for made in theirs if made in base), None)
        return "" if fork is None else self._history.compare(row, CommitHash(fork), ref.commit_hash)


def _fits(one: DiscussionRow, wanted: Mapping[str, str]) -> bool:
    kind, status = wanted.get("type", "all"), wanted.get("status", "all")
    is_open = one.status in ("open", "draft")
    return (
        (kind == "all" or (kind == "pull_request") == one.is_pull_request)
        and (status == "all" or (status == "open") == is_open)
        and wanted.get("author", one.author) == one.author
    )


def _event(kind: str, author: str, at: float, place: int, data: Mapping[str, object]) -> Told:
    event_id = f"{int(at * 1000):016x}{place:08x}"
    return {
        "id": event_id,
        "type": kind,
        "createdAt": moment(at),
        "author": {"name": author, "type": "user"},
        "data": dict(data),
    }


def _comment(text: str, hidden: bool = False, *, edited: bool = False) -> Told:
    return {"edited": edited, "hidden": hidden, "latest": {"raw": text, "html": ""}, "history": []}


def _check_title(title: str) -> None:
    if not 0 < len(title.strip()) <= _MOST_TITLE_CHARS:
        raise BadRequest("A discussion needs a title, and not too long a one.")


def _checked(text: str) -> str:
    if len(text) > _MOST_TEXT_CHARS:
        raise BadRequest("The text is absurdly long.")
    return text
