"""The way to Xet: the token route, and the headers that point there from every file that is offered so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from moongate.app.commit_routes import may_speak, wants_pull_request
from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange, Outcome
from moongate.app.replies import JSON_TYPE, Headers, Reply, freshness
from moongate.app.xet_tokens import XetGrant, XetTokens
from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import Absent
from moongate.core.names import CommitHash, RepoId, Revision
from moongate.core.records import FileAt
from moongate.hub.recalls import Recalls
from moongate.wire import routes
from moongate.wire.xet_words import file_xet_headers, token_answer


class Offers(Protocol):
    """What these rooms need of `hub.offers.XetOffers`."""

    @property
    def enabled(self) -> bool: ...
    def offered_at(self, file: FileAt) -> bool: ...
    def withdraw(self, file_id: str | None = None, *, seconds: float = ...) -> None: ...


class Commit(Protocol):
    """What a revision was resolved to."""

    @property
    def commit_hash(self) -> CommitHash: ...
    @property
    def repo(self) -> RepoId: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def age_seconds(self) -> float: ...


class Commits(Protocol):
    """What the token route needs of `hub.ProxiedRepos`."""

    async def commit_of(self, repo: RepoId, revision: Revision, caller: Caller) -> Commit: ...


class Readers(Protocol):
    """What the token route needs of `hub.by_xet.FilesByXet`."""

    async def may_read(self, repo: RepoId, commit_hash: CommitHash, caller: Caller) -> None: ...


class Hosts(Protocol):
    """What the token to write needs of `hub.hosted.xet_access.XetAccess`. Point reads."""

    def hosts(self, repo: RepoId) -> bool: ...
    def may_write(self, repo: RepoId, caller: Caller, *, pull_request: bool = False) -> None: ...


class XetHeaders:
    """The headers of a file that say where it is had through Xet; none when it is not offered so."""

    def __init__(
        self,
        offers: Offers,
        base_url: Callable[[web.BaseRequest], str],
        may_be_offered: Callable[[Etag], bool] = lambda etag: True,
        recalls: Recalls | None = None,
    ) -> None:
        """
        may_be_offered: whether nothing is known against a content; clients tell a plain refusal best.
        recalls: what is recalled is not offered either.
        """
        self._offers = offers
        self._base_url = base_url
        self._may_be_offered = may_be_offered
        self._recalls = recalls

    def offered(self, file: FileAt) -> bool:
        """Whether `on` would give any."""
        entry = file.entry
        if entry.xet_hash is None or not self._offers.offered_at(file):
            return False
        is_recalled = self._recalls is not None and self._recalls.standing(file) is not None
        return not is_recalled and self._may_be_offered(entry.etag)

    def of(self, file: FileAt, request: web.BaseRequest) -> list[tuple[str, str]]:
        """The headers for this client."""
        return file_xet_headers(file, self._base_url(request)) if self.offered(file) else []

    def address(self, request: web.BaseRequest) -> str:
        """Our own base, as this client sees it."""
        return self._base_url(request)


class XetRoutes:
    """Tokens to read through Xet, given to those who may read the files, and to write, to those who may."""

    def __init__(
        self,
        commits: Commits,
        readers: Readers,
        tokens: XetTokens,
        offers: Offers,
        hosts: Hosts,
        *,
        base_url: Callable[[web.BaseRequest], str],
        pass_of: Callable[[web.BaseRequest], str | None],
    ) -> None:
        """`pass_of`: the sha256 of the token of ours that a request came with, if it is one of ours."""
        self._commits = commits
        self._readers = readers
        self._tokens = tokens
        self._offers = offers
        self._hosts = hosts
        self._base_url = base_url
        self._pass_of = pass_of

    async def read_token(self, exchange: Exchange, route: routes.XetReadToken) -> web.StreamResponse:
        """A token for one commit, in headers and JSON at once. Access is checked as for reading a file."""
        allow(exchange, "GET", "HEAD")
        if not self._offers.enabled and not self._hosts.hosts(route.repo):
            raise Absent("This gateway does not speak Xet; files are read plainly.")
        caller, request = exchange.caller, exchange.request
        resolved = await self._commits.commit_of(route.repo, route.revision, caller)
        exchange.outcome = resolved.outcome
        await self._readers.may_read(resolved.repo, resolved.commit_hash, caller)
        grant = XetGrant(resolved.repo, resolved.commit_hash, caller, self._pass_of(request))
        token, expires_seconds = self._tokens.mint(grant)
        headers, body = token_answer(self._base_url(request), token, expires_seconds)
        all_headers: Headers = [
            JSON_TYPE,
            ("Cache-Control", "no-store"),
            ("X-Repo-Commit", resolved.commit_hash),
            *headers,
            *freshness(resolved.outcome, resolved.age_seconds),
        ]
        return Reply(200, all_headers, body, request_id=exchange.request_id)

    async def write_token(self, exchange: Exchange, route: routes.XetWriteToken) -> web.StreamResponse:
        """A token to upload to a hosted repository, whatever its revision, for those who may commit to it.

        What a client remembers of our CAS it files under its address, and takes for granted three weeks
        later: which xorbs are there. So each caller is given an address of their own, and each home others.
        """
        allow(exchange, "GET", "HEAD")
        pull_request = wants_pull_request(exchange)
        if pull_request:
            may_speak(exchange.caller)
        self._hosts.may_write(route.repo, exchange.caller, pull_request=pull_request)
        headers, body = self._write_token(exchange, route.repo, pull_request=pull_request)
        all_headers = [JSON_TYPE, ("Cache-Control", "no-store"), *headers]
        return Reply(200, all_headers, body, request_id=exchange.request_id)

    def lfs_way(self, exchange: Exchange, repo: RepoId) -> tuple[str, dict[str, str]]:
        """What an LFS batch tells a writer that speaks Xet: where tokens are had, and one to begin with."""
        headers, _ = self._write_token(exchange, repo, pull_request=False)
        href = f"{self._base_url(exchange.request)}{repo.api_path}/xet-write-token/main"
        return href, {**dict(headers), "X-Xet-Session-Id": exchange.request_id}

    def _write_token(
        self, exchange: Exchange, repo: RepoId, *, pull_request: bool
    ) -> tuple[list[tuple[str, str]], bytes]:
        caller, request = exchange.caller, exchange.request
        grant = XetGrant(repo, CommitHash(""), caller, self._pass_of(request), True, pull_request)
        token, expires_seconds = self._tokens.mint(grant)
        owner = self._tokens.owner_word(caller)
        return token_answer(self._base_url(request), token, expires_seconds, owner)

    def hosts(self, repo: RepoId) -> bool:
        """Whether a repository lives here, so that its tokens are ours to give."""
        return self._hosts.hosts(repo)
