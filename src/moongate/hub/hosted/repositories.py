"""Repositories come, change their settings and names, are duplicated and go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from moongate.core.callers import Caller
from moongate.core.errors import BadRequest, Conflict
from moongate.core.names import RepoId
from moongate.hub.hosted.commits import Commits, author_name
from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.listings import HostedListings
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.quotas import Quotas, limits_of
from moongate.hub.hosted.refs import MAIN
from moongate.store.index import HostedRow, Index
from moongate.wire.gitattributes import NAME as ATTRIBUTES
from moongate.wire.gitattributes import usual

_SDKS: Final = ("gradio", "streamlit", "docker", "static")
_KEPT_SETTINGS: Final = ("gated", "description", "sdk", "discussionsDisabled")


@dataclass(frozen=True, slots=True)
class NewRepo:
    """A repository that somebody wants."""

    repo: RepoId
    private: bool = False
    license: str | None = None
    sdk: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


class Repositories:
    """Makes, changes and drops repositories."""

    def __init__(
        self,
        index: Index,
        places: Places,
        commits: Commits,
        listings: HostedListings,
        contents: Contents,
        quotas: Quotas,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._places = places
        self._commits = commits
        self._listings = listings
        self._contents = contents
        self._quotas = quotas
        self._clock = clock

    def create(self, wanted: NewRepo, caller: Caller) -> HostedRow:
        """Make a repository with its first commit.

        Raises:
            Conflict: there is one of this name.
            NotAllowed, AuthRequired, ScopeMissing: not by this caller.
            QuotaExceeded: the namespace is full.
            BadRequest: there is no such SDK.
        """
        repo = wanted.repo
        self._places.may_create(repo, caller)
        self._refuse_taken(repo)
        self._quotas.admit_repo(repo.namespace)
        beginning = self._commits.beginning(repo, _first_files(wanted), caller)
        settings = dict(wanted.settings) | ({"sdk": wanted.sdk} if wanted.sdk else {})
        now = self._clock()
        with self._contents.claimed():
            self._contents.put(beginning.contents)
            row = self._index.begin_hosted(
                repo, wanted.private, author_name(caller), settings, beginning.landing, now
            )
        if row is None:
            raise _taken(repo)
        self._listings.write_down(row, beginning.commit_hash)
        return row

    def begin_private(self, namespace: str) -> bool:
        """Whether repositories of this namespace are private when who makes them does not say."""
        return bool(limits_of(self._index.get_namespace(namespace)).private_by_default)

    def duplicate(self, source: HostedRow, wanted: NewRepo, caller: Caller) -> HostedRow:
        """Make a repository with the commits, branches and tags of another one.

        Raises:
            As `create`; and BadRequest: it would be of another type.
        """
        if wanted.repo.repo_type != source.repo.repo_type:
            raise BadRequest("A repository is duplicated to one of the same type.")
        self._places.may_create(wanted.repo, caller)
        self._refuse_taken(wanted.repo)
        self._quotas.admit_repo(wanted.repo.namespace)
        settings = dict(source.settings) | dict(wanted.settings)
        row = self._index.copy_hosted(
            source, wanted.repo, wanted.private, author_name(caller), settings, self._clock()
        )
        if row is None:
            raise _taken(wanted.repo)
        main = self._index.hosted_ref(row.number, MAIN)
        if main is not None:
            self._listings.write_down(row, main.commit_hash)
        return row

    def delete(self, row: HostedRow) -> None:
        """Drop a repository for good; collection frees what only it had."""
        self._index.drop_hosted(row)

    def move(self, row: HostedRow, to: RepoId, caller: Caller) -> None:
        """Give a repository another name; the old one leads there.

        Raises:
            Conflict: the new name is taken.
            BadRequest: it would be of another type.
            NotAllowed, AuthRequired, ScopeMissing: not there, by this caller.
        """
        if to.repo_type != row.repo.repo_type:
            raise BadRequest("A repository keeps its type when it is moved.")
        if to == row.repo:
            return
        if to.namespace.lower() != row.repo.namespace.lower():
            self._places.may_create(to, caller)
            self._quotas.admit_repo(to.namespace)
        self._index.rename_hosted(row, to)

    def change(self, row: HostedRow, said: Mapping[str, object]) -> HostedRow:
        """Change who sees a repository, and what else the settings route knows; the rest is passed over.

        Raises:
            BadRequest: a setting is not what it should be.
        """
        private = visibility_in(said, row.private)
        gated = said.get("gated", False)
        if gated not in (False, "auto", "manual"):
            raise BadRequest('gated is false, "auto" or "manual"')
        settings = dict(row.settings) | {name: said[name] for name in _KEPT_SETTINGS if name in said}
        self._index.set_hosted(row, private, settings, self._clock())
        return self._index.get_hosted_number(row.number) or row

    def _refuse_taken(self, repo: RepoId) -> None:
        if self._index.get_hosted(repo) is not None:
            raise _taken(repo)


def visibility_in(said: Mapping[str, object], default: bool) -> bool:
    """Whether a body asks for a private repository, by `private` or by `visibility`.

    Raises:
        BadRequest: it says neither yes nor no.
    """
    visibility, private = said.get("visibility"), said.get("private")
    if visibility not in (None, "public", "private", "protected"):
        raise BadRequest('visibility is "public" or "private"')
    if private is not None and not isinstance(private, bool):
        raise BadRequest("private is true or false")
    if visibility is not None:
        return visibility != "public"
    return default if private is None else private


def _taken(repo: RepoId) -> Conflict:
    return Conflict(f"You already created this {repo.repo_type} repo: {repo}")


def _first_files(wanted: NewRepo) -> dict[str, bytes]:
    repo_type = wanted.repo.repo_type
    files = {ATTRIBUTES: usual(repo_type)}
    if repo_type == "space" and wanted.sdk not in _SDKS:
        raise BadRequest(f"A Space needs an SDK: {', '.join(_SDKS)}.")
    front = [f"license: {wanted.license}"] if wanted.license else []
    if repo_type == "space":
        name = wanted.repo.repo_id.rpartition("/")[2]
        front = [f"title: {name}", f"sdk: {wanted.sdk}", *front]
    if front:
        files["README.md"] = ("---\n" + "\n".join(front) + "\n---\n").encode()
    return files
