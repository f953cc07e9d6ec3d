"""The values of the provenance page of a repository, as its template names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moongate.web.views import VerdictView


@dataclass(frozen=True, slots=True)
class PathsView:
    """Files that something is to be said about, and its tone; the first of them, and how many more."""

    words: str
    tone: str
    paths: Sequence[str]
    more: int


@dataclass(frozen=True, slots=True)
class SignatureView:
    """One signature over the commit. why: what is wrong with it; then nobody vouches."""

    where: str
    word: str
    tone: str
    signer: str
    method: str
    why: str
    covered: int
    lists: Sequence[PathsView]


@dataclass(frozen=True, slots=True)
class DownloadView:
    """Something to take along."""

    name: str
    words: str
    href: str


@dataclass(frozen=True, slots=True)
class ProvenanceView:
    """Who vouches for a commit, where it came from, and what there is to take along.

    word, tone, drawing, said: the state of its signatures in one line. nothing: why there is nothing to say.
    statements: kept ones, each who signed it and when. may_sign: whether this visitor may have it signed.
    wrong: why the last try failed.
    """

    repo: str
    commit: str
    commit_href: str
    nothing: str = ""
    word: str = ""
    tone: str = ""
    drawing: str = ""
    said: str = ""
    signatures: Sequence[SignatureView] = ()
    origin: str = ""
    complete: bool = False
    file_count: int = 0
    verdicts: Sequence[tuple[VerdictView, int]] = ()
    downloads: Sequence[DownloadView] = ()
    statements: Sequence[tuple[str, float]] = ()
    may_sign: bool = False
    wrong: str = ""
