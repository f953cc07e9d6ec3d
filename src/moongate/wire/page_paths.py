"""The addresses that people open in a browser, as the Hub spells them.

    /models   /datasets   /spaces              lists
    /{namespace}                               what one namespace has; or a model with a bare name
    /{id}   /datasets/{id}   /spaces/{id}      a repository
    …/tree/{revision}[/{folder}]               its files
    …/blob/{revision}/{path}                   one of them
    …/commits/{revision}                       its history

None of these is an address of the API, nor of a file's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from moongate.core.errors import BadName
from moongate.core.names import (
    DEFAULT_REVISION,
    RepoId,
    RepoPath,
    RepoType,
    Revision,
    is_repo_segment,
    parse_repo_id,
    parse_repo_path,
    parse_revision,
)

_PLURALS: Final[dict[str, RepoType]] = {"models": "model", "datasets": "dataset", "spaces": "space"}
_RESERVED = frozenset(("api", "v2", *_PLURALS))


@dataclass(frozen=True, slots=True)
class ListPage:
    """All repositories of a type."""

    kind: RepoType


@dataclass(frozen=True, slots=True)
class NamespacePage:
    """One name alone: a namespace, or a model whose id has no namespace."""

    name: str


@dataclass(frozen=True, slots=True)
class RepoPage:
    """A repository and its card."""

    repo: RepoId


@dataclass(frozen=True, slots=True)
class TreePage:
    """A folder; `path` None is the root."""

    repo: RepoId
    revision: Revision
    path: RepoPath | None


@dataclass(frozen=True, slots=True)
class BlobPage:
    """A file."""

    repo: RepoId
    revision: Revision
    path: RepoPath


@dataclass(frozen=True, slots=True)
class CommitsPage:
    """The history of a revision."""

    repo: RepoId
    revision: Revision


PagePath = ListPage | NamespacePage | RepoPage | TreePage | BlobPage | CommitsPage


def parse_page_path(raw_path: str) -> PagePath | None:
    """The page at a raw request path; None when there is none there."""
    raw = raw_path.partition("?")[0].strip("/").split("/")
    try:
        segments = [unquote(segment, errors="strict") for segment in raw]
        return _page(segments)
    except (BadName, UnicodeError):
        return None


def _page(segments: list[str]) -> PagePath | None:
    kind: RepoType = "model"
    if segments[0] in _PLURALS:
        kind = _PLURALS[segments[0]]
        if len(segments) == 1:
            return ListPage(kind)
        segments = segments[1:]
    elif segments[0] in _RESERVED:
        return None
    id_length = next((n for n, word in enumerate(segments[:3]) if n and word in _WORDS), len(segments))
    if id_length > 2 or not all(is_repo_segment(segment) for segment in segments[:id_length]):
        return None
    if len(segments) == 1:
        return NamespacePage(segments[0]) if kind == "model" else RepoPage(parse_repo_id(kind, segments[0]))
    repo = parse_repo_id(kind, "/".join(segments[:id_length]))
    if id_length == len(segments):
        return RepoPage(repo)
    return _below(repo, segments[id_length], segments[id_length + 1 :])


_WORDS = ("tree", "blob", "commits")


def _below(repo: RepoId, word: str, after: list[str]) -> PagePath | None:
    if not after:
        return TreePage(repo, DEFAULT_REVISION, None) if word == "tree" else None
    revision, path = parse_revision(after[0]), "/".join(after[1:])
    if word == "commits":
        return CommitsPage(repo, revision) if not path else None
    if word == "tree":
        return TreePage(repo, revision, parse_repo_path(path) if path else None)
    return BlobPage(repo, revision, parse_repo_path(path)) if path else None


def page_href(repo: RepoId, word: str = "", revision: str = DEFAULT_REVISION, path: str = "") -> str:
    """The address of a repository's page, or of the page `word` of a revision (and a path) of it."""
    base = quote(repo.file_path)
    if not word:
        return base
    return f"{base}/{word}/{quote(revision, safe='')}" + (f"/{quote(path)}" if path else "")
