"""Which handler answers which route: the one table between names of routes and code that answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from aiohttp import web

from moongate.app.auditing import Auditing
from moongate.app.cas_routes import CasRoutes
from moongate.app.cas_write_routes import CasWriteRoutes
from moongate.app.dispatch import Browser, CasHandler, Dispatcher, SignedAddresses
from moongate.app.door import Door
from moongate.app.exchange import Exchange, PageHandler, RouteHandler
from moongate.app.file_routes import FileRoutes
from moongate.app.git_routes import GitRoutes
from moongate.app.health import Health
from moongate.app.hosted_git_routes import HostedGitRoutes, no_locks
from moongate.app.hosted_routes import MANAGE_PREFIX, HostedRoutes
from moongate.app.hub_routes import HubRoutes
from moongate.app.lfs_uploads import LfsUploads
from moongate.app.login_routes import LoginRoutes
from moongate.app.metrics import Metrics
from moongate.app.oauth_routes import OAuthRoutes
from moongate.app.ollama_routes import OllamaRoutes
from moongate.app.permissions import Page
from moongate.app.request_log import RequestLog
from moongate.app.xet_routes import XetRoutes
from moongate.app.xorb_routes import XorbRoutes
from moongate.core.errors import Absent
from moongate.core.names import RepoId
from moongate.hub.recalls import Recalls, cutter
from moongate.wire import routes
from moongate.wire.cas_paths import CasRoute, Data, WholeXorb, Write

ADMIN_PREFIX = "/api/moongate/"


@dataclass(frozen=True, slots=True)
class HostedRooms:
    """What answers for repositories that live here, but for plain reads."""

    is_hosted: Callable[[RepoId], bool]
    routes: HostedRoutes
    lfs: LfsUploads
    git: HostedGitRoutes


class OwnPages(Browser, Protocol):
    """Pages for people: those at addresses of our own, exact and by prefix, besides the Hub's."""

    @property
    def exact(self) -> Mapping[str, Page]: ...
    @property
    def below(self) -> Mapping[str, Page]: ...


@dataclass(frozen=True, slots=True)
class Rooms:
    """The handlers of each kind."""

    hub: HubRoutes
    files: FileRoutes
    git: GitRoutes
    ollama: OllamaRoutes
    health: Health
    admin: PageHandler
    pages: OwnPages | None = None
    login: LoginRoutes | None = None
    oauth: OAuthRoutes | None = None
    xet: XetRoutes | None = None
    cas: CasHandler | None = None
    hosting: HostedRooms | None = None
    recalls: Recalls | None = None


def dispatcher(
    rooms: Rooms,
    door: Door,
    metrics: Metrics,
    request_log: RequestLog,
    auditing: Auditing | None = None,
) -> Dispatcher:
    """What answers every request."""
    return Dispatcher(
        door,
        _handlers(rooms),
        pages=pages_of(rooms),
        below=prefixes_of(rooms),
        browser=rooms.pages,
        metrics=metrics,
        request_log=request_log,
        auditing=auditing,
        signed=SignedAddresses(rooms.cas, rooms.hosting.lfs.receive if rooms.hosting else None),
    )


def pages_of(rooms: Rooms) -> Mapping[str, Page]:
    """Our own exact addresses, and what they need."""
    health = rooms.health
    return {
        **_ways_in(rooms),
        "/healthz": Page("healthz", health.healthz, "public", any_host=True),
        "/readyz": Page("readyz", health.readyz, "public", any_host=True),
        "/metrics": Page("metrics", health.metrics, "watch", any_host=True),
        **(rooms.pages.exact if rooms.pages is not None else {}),
    }


def _ways_in(rooms: Rooms) -> Mapping[str, Page]:
    """Where sessions and tokens begin: for everybody, since whoever comes has none yet."""
    if rooms.login is None or rooms.oauth is None:
        return {}
    login, oauth = rooms.login, rooms.oauth
    return {
        "/login": Page("login", login.login, "public"),
        "/login/callback": Page("login_callback", login.callback, "public"),
        "/logout": Page("logout", login.logout, "public", "public"),
        "/device": Page("device", login.device, "public", "public"),
        "/oauth/token": Page("oauth_token", oauth.token, "public", "public"),
        "/oauth/device": Page("oauth_device", oauth.device, "public", "public"),
    }


def prefixes_of(rooms: Rooms) -> Mapping[str, Page]:
    """Our own prefixes, and what they need. Each operation of the admin API says by itself what it needs."""
    below = rooms.pages.below if rooms.pages is not None else {}
    return {ADMIN_PREFIX: Page("admin", rooms.admin, "read", "read"), **below}


def _handlers(rooms: Rooms) -> dict[type[object], RouteHandler]:
    handlers = _proxied_handlers(rooms)
    if rooms.hosting is not None:
        for kind, hosted in _hosted_handlers(rooms.hosting, rooms.hub).items():
            handlers[kind] = _either(rooms.hosting.is_hosted, hosted, handlers[kind])
        handlers[routes.ApiOther] = _api_other(rooms.hosting, rooms.hub)
    if rooms.recalls is not None:
        for kind in _WHOLE_REPOS:
            handlers[kind] = _unless_recalled(rooms.recalls, handlers[kind])
        for kind in _PACKS:
            handlers[kind] = _unless_packs_are_recalled(rooms.recalls, handlers[kind])
    return handlers


_WHOLE_REPOS = (routes.LfsBatch, routes.V2Manifest)
"""What gives out a repository without naming a file of it."""

_PACKS = (routes.GitInfoRefs, routes.GitUploadPack)
"""What leads to packs with every small file of a repository."""


def _unless_recalled(recalls: Recalls, handler: RouteHandler) -> RouteHandler:
    async def answer(exchange: Exchange, route: routes.RepoRoute) -> web.StreamResponse:
        recalls.refuse_repo(route.repo)
        return await handler(exchange, route)

    return answer


def _unless_packs_are_recalled(recalls: Recalls, handler: RouteHandler) -> RouteHandler:
    async def answer(exchange: Exchange, route: routes.RepoRoute) -> web.StreamResponse:
        if not recalls.is_idle:
            await asyncio.to_thread(recalls.refuse_packs, route.repo)
        with recalls.reading_packs(route.repo, cutter(exchange.request.transport)):
            return await handler(exchange, route)

    return answer


def _proxied_handlers(rooms: Rooms) -> dict[type[object], RouteHandler]:
    """What answers for everything, unless what lives here has a handler of its own."""
    hub, files, git, ollama = rooms.hub, rooms.files, rooms.git, rooms.ollama
    return {
        routes.Info: hub.read,
        routes.Tree: hub.read,
        routes.Refs: hub.read,
        routes.Commits: hub.read,
        routes.TreeSize: hub.read,
        routes.AuthCheck: hub.read,
        routes.Listing: hub.read,
        routes.ApiOther: hub.read,
        routes.RepoOther: hub.repo_other,
        routes.PathsInfo: hub.paths_info,
        routes.XetReadToken: rooms.xet.read_token if rooms.xet is not None else _unknown,
        routes.XetWriteToken: _write_token(rooms.xet, hub) if rooms.xet is not None else _unknown,
        routes.Whoami: hub.whoami,
        routes.Resolve: files.resolve,
        routes.ResolveCache: files.resolve_cache,
        routes.Raw: files.raw,
        routes.GitInfoRefs: git.info_refs,
        routes.GitUploadPack: git.upload_pack,
        routes.GitReceivePack: git.receive_pack,
        routes.LfsBatch: git.lfs_batch,
        routes.LfsObject: git.lfs_object,
        routes.LfsOther: git.lfs_other,
        routes.V2Root: ollama.root,
        routes.V2Manifest: ollama.manifest,
        routes.V2Blob: ollama.blob,
        routes.Unknown: _unknown,
    }


def _hosted_handlers(hosting: HostedRooms, hub: HubRoutes) -> dict[type[object], RouteHandler]:
    """What answers for repositories that live here, where that is not what answers for all."""

    async def repo_other(exchange: Exchange, route: routes.RepoOther) -> web.StreamResponse:
        handler: RouteHandler = hub.repo_other if exchange.is_read else hosting.routes.repo_other
        return await handler(exchange, route)

    async def lfs_other(exchange: Exchange, route: routes.LfsOther) -> web.StreamResponse:
        if route.rest == "objects/verify":
            return await hosting.lfs.verify(exchange, route)
        if route.rest.startswith("locks"):
            return await no_locks(exchange)
        raise Absent("Nothing is served at this address.")

    return {
        routes.RepoOther: repo_other,
        routes.GitInfoRefs: hosting.git.info_refs,
        routes.GitUploadPack: hosting.git.upload_pack,
        routes.GitReceivePack: hosting.git.receive_pack,
        routes.LfsOther: lfs_other,
    }


def _either(is_hosted: Callable[[RepoId], bool], hosted: RouteHandler, proxied: RouteHandler) -> RouteHandler:
    """The first one for what lives here, the second for everything else."""

    async def answer(exchange: Exchange, route: routes.RepoRoute) -> web.StreamResponse:
        return await (hosted if is_hosted(route.repo) else proxied)(exchange, route)

    return answer


def _api_other(hosting: HostedRooms, hub: HubRoutes) -> RouteHandler:
    """Repositories are made, moved and dropped at addresses that name none: the body does."""

    async def answer(exchange: Exchange, route: routes.ApiOther) -> web.StreamResponse:
        if exchange.is_read or not exchange.path.startswith(MANAGE_PREFIX):
            return await hub.read(exchange, route)
        told, body = await hosting.routes.manage(exchange)
        return told if told is not None else await hub.pass_on(exchange, body)

    return answer


def _write_token(xet: XetRoutes, hub: HubRoutes) -> RouteHandler:
    """Ours for what lives here; any other repository's is upstream's to give."""

    async def answer(exchange: Exchange, route: routes.XetWriteToken) -> web.StreamResponse:
        if xet.hosts(route.repo):
            return await xet.write_token(exchange, route)
        rest = f"xet-write-token/{quote(route.revision, safe='')}"
        return await hub.repo_other(exchange, routes.RepoOther(route.repo, rest))

    return answer


async def _unknown(exchange: Exchange, route: object) -> web.StreamResponse:
    raise Absent("Nothing is served at this address.")


def cas_handler(questions: CasRoutes, writes: CasWriteRoutes, data: XorbRoutes) -> CasHandler:
    """What answers below our CAS: data by its address alone, everything else by a token."""

    async def answer(exchange: Exchange, route: CasRoute) -> web.StreamResponse:
        if isinstance(route, Data):
            return await data.data(exchange, route)
        if isinstance(route, Write):
            return await writes.answer(exchange, route)
        if isinstance(route, WholeXorb) and (told := await writes.whole_xorb(exchange, route)) is not None:
            return told
        return await questions.answer(exchange, route)

    return answer
