"""Checked names: repositories, revisions, commits and paths.

Parse once at the door, then pass the type; nobody splits these strings again. Every parser raises
`BadName` (a client's mistake, HTTP 400) and never anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NewType

from moongate.core.errors import BadName, BadPath

RepoType = Literal["model", "dataset", "space"]
REPO_TYPES: tuple[RepoType, ...] = ("model", "dataset", "space")

Revision = NewType("Revision", str)
"""What was asked for: a branch, a tag, `refs/pr/N`, or a commit hash. Decoded, never empty."""

CommitHash = NewType("CommitHash", str)
"""What a revision resolved to: 40 lower-case hex digits. The only revision fit for a key."""

RepoPath = NewType("RepoPath", str)
"""A file's path inside its repository: relative, `/`-separated, no empty, `.` or `..` segment."""

DEFAULT_REVISION = Revision("main")

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_COMMIT_HASH = re.compile(r"[0-9a-f]{40}")
_MAX_REVISION_CHARS = 255
_MAX_PATH_CHARS = 4096


@dataclass(frozen=True, slots=True, order=True)
class RepoId:
    """One repository: its type and its id (`namespace/name`, or one bare legacy segment such as `gpt2`)."""

    repo_type: RepoType
    repo_id: str

    @property
    def api_path(self) -> str:
        """Its base in the API, for example `/api/datasets/acme/tiny`."""
        return f"/api/{self.repo_type}s/{self.repo_id}"

    @property
    def file_path(self) -> str:
        """Its base for files, for example `/datasets/acme/tiny`; models have no prefix."""
        return f"/{self.repo_id}" if self.repo_type == "model" else f"/{self.repo_type}s/{self.repo_id}"

    @property
    def namespace(self) -> str:
        """The part before the slash; empty for a bare legacy id."""
        return self.repo_id.partition("/")[0] if "/" in self.repo_id else ""

    def __str__(self) -> str:
        return self.repo_id if self.repo_type == "model" else f"{self.repo_type}s/{self.repo_id}"


def parse_repo_type(text: str) -> RepoType:
    """The repo type named by its singular or plural word."""
    singular = text.removesuffix("s")
    if singular not in REPO_TYPES:
        raise BadName(f"unknown repository type {text!r}: use model, dataset or space")
    return singular


def parse_repo_id(repo_type: RepoType, text: str) -> RepoId:
    """A repository id of one or two segments, each checked by the Hub's rules for names."""
    segments = text.split("/")
    if len(segments) > 2 or not all(is_repo_segment(segment) for segment in segments):
        raise BadName(f"not a repository id: {shown(text)} (expected 'namespace/name')")
    return RepoId(repo_type, text)


def parse_repo(text: str, default_type: RepoType = "model") -> RepoId:
    """A repository as people type it: `ns/name`, `datasets/ns/name`, `spaces/ns/name`, `models/ns/name`."""
    head, _, rest = text.partition("/")
    if head in ("models", "datasets", "spaces") and rest:
        return parse_repo_id(parse_repo_type(head), rest)
    return parse_repo_id(default_type, text)


def is_repo_segment(text: str) -> bool:
    """Whether the text may be a namespace or a name: no `..`, no `--`, no leading or trailing dot or dash."""
    return bool(_SEGMENT.fullmatch(text)) and ".." not in text and "--" not in text and text[-1] not in ".-"


def parse_revision(text: str) -> Revision:
    """A revision as git allows it to be named, decoded."""
    bad = (
        not text
        or len(text) > _MAX_REVISION_CHARS
        or text[0] in "-/"
        or text.endswith((".lock", "/", "."))
        or any(part in text for part in ("..", "//", "@{", "/."))
        or any(char <= " " or char in "~^:?*[\\\x7f" for char in text)
        or _has_no_utf8(text)
    )
    if bad:
        raise BadName(f"not a revision: {shown(text)}")
    return Revision(text)


def is_commit_hash(text: str) -> bool:
    return bool(_COMMIT_HASH.fullmatch(text))


def parse_commit_hash(text: str) -> CommitHash:
    if not is_commit_hash(text):
        raise BadName(f"not a commit hash: {shown(text)}")
    return CommitHash(text)


def parse_repo_path(text: str) -> RepoPath:
    """A path that stays inside its repository, whatever it is joined to."""
    bad = (
        not text
        or len(text) > _MAX_PATH_CHARS
        or any(char < " " or char in "\\\x7f" for char in text)
        or any(segment in ("", ".", "..") for segment in text.split("/"))
        or _has_no_utf8(text)
    )
    if bad:
        raise BadName(f"not a path inside a repository: {shown(text)}")
    return RepoPath(text)


def parse_new_path(text: str) -> RepoPath:
    """A path that somebody wants a file to have.

    Raises:
        BadPath: it would not stay inside its repository.
    """
    try:
        return parse_repo_path(text)
    except BadName as error:
        raise BadPath(error.message) from None


def shown(text: str) -> str:
    """Untrusted text, fit for an error message: quoted, control characters escaped, at most 80 characters."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _has_no_utf8(text: str) -> bool:
    """Whether half a surrogate pair stands alone in it, as JSON can spell it: no file or row takes that."""
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)
