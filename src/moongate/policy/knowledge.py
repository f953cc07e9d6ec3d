"""`Knowledge`: the facts of a question as a gateway would have them, for explaining what it would decide.

Only what is kept here is looked at: nothing is fetched, judged or recorded for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from moongate.core.decisions import Action
from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId, RepoPath, is_commit_hash
from moongate.core.records import FileAt, FileEntry
from moongate.core.verdicts import Judged
from moongate.policy.facts import Actor, Content, Facts
from moongate.policy.gate_facts import GateFacts
from moongate.policy.short_facts import facts_from


class FileRows(Protocol):
    """What this needs of the index."""

    def get_file(self, repo: RepoId, commit_hash: CommitHash, path: RepoPath) -> FileEntry | None: ...


class Knowledge:
    """For any thread; blocks."""

    def __init__(
        self,
        facts: GateFacts,
        files: FileRows,
        commit_of: Callable[[RepoId, str], CommitHash | None],
        judged: Callable[[Etag, str], Judged | None],
        clock: Callable[[], float],
    ) -> None:
        """commit_of: what a revision is, as far as is known here. judged: what was said of content."""
        self._facts = facts
        self._files = files
        self._commit_of = commit_of
        self._judged = judged
        self._clock = clock

    def of(self, told: Mapping[str, Any]) -> Facts:
        """The facts of a short form: what it says itself, and of what it leaves out whatever is known.

        Raises:
            BadRequest: it is malformed.
        """
        return facts_from(told, self._clock(), self._known)

    def _known(
        self, action: Action, repo: RepoId, revision: str | None, path: str | None, actor: Actor
    ) -> Facts:
        commit_hash = self._commit_of(repo, revision or "main")
        found = self._facts.of_repo(action, repo, commit_hash or CommitHash(""), actor, self._clock())
        found = replace(found, repo=replace(found.repo, revision=revision, pinned=_is_pinned(revision)))
        if path is None:
            return found
        entry = self._files.get_file(repo, commit_hash, RepoPath(path)) if commit_hash else None
        if entry is None or commit_hash is None:
            return replace(found, content=Content(path))
        file = FileAt(repo, commit_hash, entry)
        judged, signature = self._judged(entry.etag, path), self._facts.signature(file)
        told = self._facts.of_file(action, file, actor, judged, signature, found.at)
        return replace(told, repo=found.repo)


def _is_pinned(revision: str | None) -> bool:
    return revision is not None and is_commit_hash(revision)
