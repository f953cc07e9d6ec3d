"""What people ask threat intelligence about, as they type it."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement

from moongate.core.errors import BadRequest
from moongate.core.names import RepoId, parse_repo
from moongate.hub.intelligence import Subject
from moongate.scan.feeds.words import hash_kind


def read_subject(text: str) -> Subject | str:
    """A sha256, an MD5, a repository (`acme/tiny`), or a package (`ctx`, `gradio==4.44.1`).

    A package is returned as it is: as one line of a requirements.txt.

    Raises:
        BadRequest, BadName: it is none of these.
    """
    words = text.strip()
    kind = hash_kind(words)
    if kind == "sha256":
        return Subject(sha256=words.lower())
    if kind == "md5":
        return Subject(md5=words.lower())
    if "/" in words:
        repo: RepoId = parse_repo(words)
        return Subject(repo=repo)
    try:
        Requirement(words)
    except InvalidRequirement:
        raise BadRequest("expected a sha256, an MD5, a repository or a package") from None
    return words
