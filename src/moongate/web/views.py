"""The values that pages show, as their templates name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class RepoLine:
    """One repository: its name as people type it, files and bytes here, seconds since it was last read."""

    name: str
    href: str
    kind: str
    hosted: bool
    files: int
    size_bytes: int
    own_bytes: int
    idle_seconds: float | None
    pinned: bool


@dataclass(frozen=True, slots=True)
class FillLine:
    """One file on its way."""

    name: str
    present_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HomeView:
    """The gateway as a whole. upstream_trouble: why upstream failed lately; empty when it did not.

    upstream_heard: whether it has answered at all. live: whether this visitor may follow what is happening.
    more_repos: those that `repos` leaves out.
    """

    endpoint: str
    upstream: str
    offline: bool
    upstream_trouble: str
    upstream_heard: bool
    served_bytes: float
    fetched_bytes: float
    requests: float
    hits: float
    store_bytes: int
    quota_bytes: int
    free_bytes: int
    repo_count: int
    repos: Sequence[RepoLine]
    more_repos: int
    filling: Sequence[FillLine]
    live: bool


@dataclass(frozen=True, slots=True)
class RepoCard:
    """One repository in a list. here_bytes: how much of it is kept here."""

    href: str
    kind: str
    namespace: str
    name: str
    hosted: bool
    private: bool
    gated: bool
    words: Sequence[str]
    changed: str | None
    downloads: int
    here_bytes: int


@dataclass(frozen=True, slots=True)
class BrowseView:
    """A list, or what a search found. upstream: its host, when it can be asked; everywhere: it was."""

    plural: str
    href: str
    search: str
    author: str
    everywhere: bool
    upstream: str
    here_href: str
    everywhere_href: str
    items: Sequence[RepoCard]
    newer: str | None = None
    older: str | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class TagView:
    """A word that a repository is found by."""

    name: str
    href: str | None = None


Tab = tuple[str, str, str, str, int | None]
"""A tab's key, its label, its icon, where it leads, and how many things are there."""


@dataclass(frozen=True, slots=True)
class RepoHead:
    """What stands on top of each page of a repository. issues: how much of it is suspicious or dangerous."""

    kind: str
    namespace: str
    name: str
    full_name: str
    hosted: bool
    upstream: str
    private: bool
    gated: bool
    pinned: bool
    tags: Sequence[TagView]
    tabs: Sequence[Tab]
    issues: int = 0
    security_href: str = ""


@dataclass(frozen=True, slots=True)
class AncestorView:
    """What a model was made from."""

    name: str
    href: str
    relation: str
    commit: str
    bases: Sequence[AncestorView] = ()


@dataclass(frozen=True, slots=True)
class RefView:
    """A branch or a tag."""

    name: str
    href: str
    is_tag: bool


@dataclass(frozen=True, slots=True)
class RepoView:
    """A repository's first page. no_card: why there is none. gate: why the files are not for this visitor."""

    card: Markup | None
    card_cut: bool
    blocked_images: int
    no_card: str
    readme_href: str
    gate: str
    commit: str
    commit_href: str
    changed: str | None
    parameters: Sequence[tuple[str, int]]
    total_parameters: int
    facts: Sequence[tuple[str, str]]
    readers: str
    uses: Sequence[tuple[str, str]]
    lineage: Sequence[AncestorView]
    refs: Sequence[RefView]


@dataclass(frozen=True, slots=True)
class VerdictView:
    """A verdict in words, and the tone it is said in. key: the verdict itself."""

    word: str
    tone: str
    drawing: str
    href: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class EntryView:
    """A file or folder in a list."""

    name: str
    href: str
    is_folder: bool
    size_bytes: int
    here: bool
    download: str
    changed: str | None = None
    change: str = ""
    verdict: VerdictView | None = None


Crumb = tuple[str, str | None]
"""A part of a path, and where it leads."""


@dataclass(frozen=True, slots=True)
class TreeView:
    """A folder. judges: whether there are verdicts to show."""

    revision: str
    crumbs: Sequence[Crumb]
    entries: Sequence[EntryView]
    total_bytes: int | None
    older: str | None
    judges: bool
    shows_here: bool
    shows_changes: bool


@dataclass(frozen=True, slots=True)
class CommitView:
    """One commit of a history."""

    id: str
    href: str
    title: str
    message: str
    authors: str
    date: str | None


@dataclass(frozen=True, slots=True)
class CommitsView:
    """A page of a history."""

    revision: str
    commits: Sequence[CommitView]
    newer: str | None
    older: str | None


@dataclass(frozen=True, slots=True)
class TensorView:
    """One tensor of a weight file."""

    name: str
    dtype: str
    shape: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BlobView:
    """A file: one of a card, lines, tensors or a template, or else why there is `nothing` to look at."""

    name: str
    crumbs: Sequence[Crumb]
    download: str
    size_bytes: int
    digest_name: str
    digest: str
    facts: Sequence[tuple[str, str]]
    uses: Sequence[tuple[str, str]]
    nothing: str = ""
    card: Markup | None = None
    lines: Sequence[str] = ()
    cut: bool = False
    tensors: Sequence[TensorView] = ()
    tensor_count: int = 0
    template: str = ""
    parameters: Sequence[tuple[str, int]] = ()
    total_parameters: int = 0
    notes: Sequence[tuple[str, str]] = ()
    verdict: object = None


@dataclass(frozen=True, slots=True)
class TokenView:
    """One token, without what it is."""

    id: str
    user: str
    scope: str
    note: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A new token; `secret` is shown this once."""

    user: str
    secret: str


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What the form for a new token holds."""

    user: str = ""
    note: str = ""
    scope: str = "read"
    days: str = "90"


@dataclass(frozen=True, slots=True)
class TokensView:
    """A user's tokens, or everybody's for an administrator."""

    tokens: Sequence[TokenView]
    all_users: bool
    scopes: Sequence[tuple[str, str]]
    spans: Sequence[tuple[str, str]]
    form: TokenForm = field(default_factory=TokenForm)
    made: MadeToken | None = None
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """A namespace that lives here; `role` is the visitor's."""

    name: str
    role: str
    repos: int
    used_bytes: int
    quota_bytes: int
    roles: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class NamespacesView:
    """Namespaces and teams. shows_roles: the visitor administrates, and sees everybody's."""

    namespaces: Sequence[NamespaceView]
    teams: Sequence[tuple[str, Sequence[str]]]
    shows_roles: bool


@dataclass(frozen=True, slots=True)
class ErrorView:
    """Why there is no page."""

    status: int
    words: str
    sign_in: str = ""
    request_id: str = ""
