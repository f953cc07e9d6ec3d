"""Repositories as people type them: `acme/tiny`, `datasets/acme/squad`, `acme/tiny@v1.0`, `acme/*`.

Parsed once here into checked names; a glob stays a glob until somebody who knows the names matches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from moongate.core.errors import BadName
from moongate.core.names import (
    RepoId,
    RepoType,
    Revision,
    parse_repo,
    parse_repo_type,
    parse_revision,
    shown,
)

_GLOB_CHARACTERS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class RepoAt:
    """One repository, and the revision asked for, if any."""

    repo: RepoId
    revision: Revision | None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else str(self.repo)


@dataclass(frozen=True, slots=True)
class RepoPattern:
    """A glob over repository ids of one type, `acme/*` or `datasets/acme/s?uad`; matched by case."""

    repo_type: RepoType
    glob: str
    revision: Revision | None

    @property
    def namespace(self) -> str | None:
        """The namespace every match lies in; None when the glob leaves it open."""
        head, slash, _ = self.glob.partition("/")
        return head if slash and not is_glob(head) else None

    def matches(self, repo: RepoId) -> bool:
        return repo.repo_type == self.repo_type and fnmatchcase(repo.repo_id, self.glob)

    def __str__(self) -> str:
        prefix = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{prefix}{self.glob}" + (f"@{self.revision}" if self.revision else "")


def is_glob(text: str) -> bool:
    return not _GLOB_CHARACTERS.isdisjoint(text)


def parse_repo_at(text: str, default_type: RepoType = "model") -> RepoAt:
    """`ns/name[@revision]`, with or without `models/`, `datasets/` or `spaces/` before it.

    Raises:
        BadName: not a repository, or not a revision.
    """
    name, at, revision = text.partition("@")
    return RepoAt(parse_repo(name, default_type), parse_revision(revision) if at else None)


def parse_wanted(text: str, default_type: RepoType = "model") -> RepoAt | RepoPattern:
    """A repository or a glob over repositories.

    Raises:
        BadName: neither.
    """
    name, at, revision = text.partition("@")
    if not is_glob(name):
        return parse_repo_at(text, default_type)
    head, _, rest = name.partition("/")
    repo_type = default_type
    if head in ("models", "datasets", "spaces") and rest:
        repo_type, name = parse_repo_type(head), rest
    if name.count("/") > 1 or not name.isprintable() or " " in name:
        raise BadName(f"not a pattern of repositories: {shown(text)} (expected something like 'acme/*')")
    return RepoPattern(repo_type, name, parse_revision(revision) if at else None)


def select(known: Iterable[RepoId], wanted: Sequence[str]) -> list[RepoId]:
    """Those of the known repositories that are named or matched; all of them when nothing is asked for.

    A pattern without a type prefix matches models only, as everywhere.
    """
    repos = sorted(known)
    if not wanted:
        return repos
    parsed = [parse_wanted(text) for text in wanted]
    return [repo for repo in repos if any(_fits(item, repo) for item in parsed)]


def _fits(item: RepoAt | RepoPattern, repo: RepoId) -> bool:
    return item.matches(repo) if isinstance(item, RepoPattern) else item.repo == repo
