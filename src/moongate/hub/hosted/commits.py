"""A change becomes a commit."""

from __future__ import annotations

from dataclasses import dataclass

from moongate.core.names import CommitHash


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that was made. `ref` by its full name; `pull_request`: its number, when one was opened."""

    commit_hash: CommitHash
    ref: str
    pull_request: int | None = None
