"""`Repos`: every repository, wherever it lives. What the app talks to.

A repository in a namespace that is hosted here is `hub.hosted`'s, and nothing about it goes anywhere else;
all others are `hub.proxied`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import unquote

from moongate.core.callers import Caller, Secret
from moongate.core.digests import Etag
from moongate.core.errors import Absent, UpstreamError
from moongate.core.names import DEFAULT_REVISION, CommitHash, RepoId, RepoPath, RepoType, Revision
from moongate.core.records import FileAt
from moongate.hub.answers import Answer
from moongate.hub.events import HubEvents
from moongate.hub.hosted.repos import HostedRepos
from moongate.hub.hosted.search import ListQuestion
from moongate.hub.lists import Lists
from moongate.hub.proxied import ProxiedRepos
from moongate.hub.refs import Resolved
from moongate.hub.security import SecurityAnswers
from moongate.wire import routes

_EXPANDED = b'"lastCommit"'


class Repos:
    """Hosted and proxied repositories, as every caller may see them."""

    def __init__(self, proxied: ProxiedRepos, hosted: HostedRepos, lists: Lists, events: HubEvents) -> None:
        self.proxied = proxied
        self.hosted = hosted
        self._lists = lists
        self._events = events
        self.security: SecurityAnswers | None = None
        """Adds our verdicts to answers; None: nothing is judged here."""

    def is_hosted(self, repo: RepoId) -> bool:
        """Whether a repository of this name lives here, if it exists at all. A point read."""
        return self.hosted.hosts(repo)

    async def commit_of(self, repo: RepoId, revision: Revision, caller: Caller) -> Resolved:
        """The commit a revision points to, and the repository's present name.

        Raises:
            RepoAbsent, RevisionAbsent, BadToken: there is none for this caller.
            RepoMoved: a hosted repository has another name now.
            UpstreamError: upstream cannot be asked, and nothing that this caller may have is kept.
        """
        if self.is_hosted(repo):
            return self.hosted.commit_of(repo, revision, caller)
        return await self.proxied.commit_of(repo, revision, caller)

    async def file_at(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved]:
        """The file at a path of a revision, when this caller may read it.

        Raises:
            EntryAbsent: the commit has no such file; carries the commit.
            GatedRepo: the files are not for this caller.
            Otherwise as `commit_of`.
        """
        if self.is_hosted(repo):
            return await asyncio.to_thread(self.hosted.file_at, repo, revision, path, caller)
        return await self.proxied.file_at(repo, revision, path, caller)

    async def answer(
        self,
        route: routes.Route,
        query: str,
        caller: Caller,
        post_body: bytes | None = None,
        content_type: str = "",
    ) -> Answer:
        """The answer to a JSON route, its raw query, and for paths-info the posted body.

        Raises:
            MoongateError: the coded refusal or absence, or why upstream could not be asked.
        """
        security = self.security
        if security is None:
            return await self._answer(route, query, caller, post_body, content_type)
        if isinstance(route, routes.RepoOther) and security.is_scan(route):
            asked = None
            with suppress(Absent, UpstreamError):  # upstream's word is welcome, and not needed
                asked = await self._answer(route, query, caller, post_body, content_type)
            return await security.scan(self, route.repo, caller, asked)
        answer = await self._answer(route, query, caller, post_body, content_type)
        if isinstance(route, routes.Info) and security.concerns(route, query):
            revision = route.revision or DEFAULT_REVISION
            return await security.merged(answer, await self.commit_of(route.repo, revision, caller))
        if isinstance(route, routes.Tree | routes.PathsInfo) and _EXPANDED in answer.body:
            return await security.merged(answer, None)
        return answer

    async def _answer(
        self,
        route: routes.Route,
        query: str,
        caller: Caller,
        post_body: bytes | None,
        content_type: str,
    ) -> Answer:
        if isinstance(route, routes.Listing):
            return await self._lists.answer(route, query, caller)
        if isinstance(route, routes.ApiOther) and self._names_hosted(route.path):
            raise Absent("Nothing is served at this address.")
        if not isinstance(route, routes.RepoRoute) or not self.is_hosted(route.repo):
            return await self.proxied.answer(route, query, caller, post_body, content_type)
        answer = await self.hosted.answer(route, query, caller, post_body, content_type)
        self._events.answered(type(route).__name__.lower(), answer.outcome)
        return answer

    async def manifest(self, repo: RepoId, tag: str, caller: Caller, user_agent: str) -> Answer:
        """A GGUF repository's manifest for a tag, byte for byte as upstream wrote it for this kind of client.

        Raises:
            BadRequest: upstream knows no such tag.
            Absent: the repository lives here, where no manifests are made.
            Otherwise as `file_at`.
        """
        if self.is_hosted(repo):
            self.hosted.repo_for(repo, caller)
            raise Absent("There are no manifests of hosted repositories; read the GGUF file by its path.")
        return await self.proxied.manifest(repo, tag, caller, user_agent)

    async def layer(self, repo: RepoId, digest: Etag, caller: Caller) -> FileAt:
        """The content of a layer that a manifest named, or of a hosted repository.

        Raises:
            EntryAbsent: nothing that is kept here names it.
            Otherwise as `file_at`.
        """
        if self.is_hosted(repo):
            return self.hosted.content_at(repo, digest, caller)
        return await self.proxied.layer(repo, digest, caller)

    def here(self, kind: RepoType, question: ListQuestion, caller: Caller) -> Sequence[dict[str, object]]:
        """What is here of a type, hosted and proxied, and fits a question; see `Lists.here`."""
        return self._lists.here(kind, question, caller)

    # Access

    def reads(self, caller: Caller, repo: RepoId) -> bool:
        """Whether this caller may read the repository's files, as far as is known without asking."""
        return not self.is_hosted(repo) and self.proxied.reads(caller, repo)

    async def may_read_files(
        self, caller: Caller, repo: RepoId, commit_hash: CommitHash, path: RepoPath
    ) -> None:
        """Return when this caller may read the repository's files; `path` is one that can be asked about.

        Raises:
            RepoAbsent, GatedRepo: they may not.
            UpstreamError: it could not be found out.
        """
        if self.is_hosted(repo):
            self.hosted.files_for(repo, caller)
        else:
            await self.proxied.may_read_files(caller, repo, commit_hash, path)

    def credential(self, caller: Caller, repo: RepoId | None = None) -> Secret | None:
        """What upstream is asked with on a caller's behalf; see `Access.credential`."""
        return self.proxied.access.credential(caller, repo)

    def fetching_credential(self, caller: Caller, repo: RepoId, *, files: bool = False) -> Secret | None:
        """What is fetched with on a caller's behalf; see `Access.fetching_credential`."""
        return self.proxied.access.fetching_credential(caller, repo, files=files)

    # What is at hand

    def when_forgetting(self, told: Callable[[], None]) -> None:
        """Call this, and nobody else, whenever something that was at hand may no longer be believed."""
        self.proxied.when_forgetting(told)

    def at_hand(self, route: routes.Route, query: str, caller: Caller) -> Answer | None:
        """The fresh answer that memory has for exactly this caller; nothing is awaited.

        Lists are never at hand where something is hosted, nor is what is asked of hosted repositories.
        """
        if isinstance(route, routes.Listing) and self.hosted.places.hosts_anything():
            return None
        if self.security is not None and self.security.concerns(route, query):
            return None
        return self.proxied.at_hand(route, query, caller)

    def file_at_hand(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved] | None:
        """As `file_at`, when all of it is known, fresh, and open to this caller; nothing is awaited."""
        return self.proxied.file_at_hand(repo, revision, path, caller)

    def forget(self, repo: RepoId) -> None:
        """Drop what memory knows of a repository, after it was removed from the index."""
        self.proxied.forget(repo)

    def doubt(self, file: FileAt) -> None:
        """Ask upstream afresh what a file is, because its bytes were not what upstream had said of it."""
        if not self.is_hosted(file.repo):
            self.proxied.doubt(file)

    async def changed(self, repo: RepoId | None, caller: Caller) -> None:
        """Ask anew, since this caller changed a repository upstream; see `ProxiedRepos.changed`."""
        await self.proxied.changed(repo, caller)

    async def close(self) -> None:
        """Give up the questions that are in the air."""
        await self.proxied.close()

    def _names_hosted(self, path: str) -> bool:
        """Whether an address names something that lives here, so that upstream must not hear of it."""
        segments: Sequence[str] = path.split("/")[2:]
        return any(self.hosted.places.hosts_namespace(unquote(part)) for part in segments if part)
