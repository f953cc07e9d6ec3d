"""Which handler answers which route: the one table between names of routes and code that answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from moongate.app.cas_routes import CasRoutes
from moongate.app.dispatch import CasHandler, Dispatcher, MethodAbsent
from moongate.app.door import Door
from moongate.app.exchange import Exchange, PageHandler, RouteHandler
from moongate.app.file_routes import FileRoutes
from moongate.app.git_routes import GitRoutes
from moongate.app.health import Health
from moongate.app.hub_routes import HubRoutes
from moongate.app.metrics import Metrics
from moongate.app.ollama_routes import OllamaRoutes
from moongate.app.request_log import RequestLog
from moongate.app.xet_routes import XetRoutes
from moongate.app.xorb_routes import XorbRoutes
from moongate.core.errors import Absent
from moongate.wire import routes
from moongate.wire.cas_paths import CasRoute, Data

ADMIN_PREFIX = "/api/moongate/"


@dataclass(frozen=True, slots=True)
class Rooms:
    """The handlers of each kind."""

    hub: HubRoutes
    files: FileRoutes
    git: GitRoutes
    ollama: OllamaRoutes
    health: Health
    admin: PageHandler
    status_page: PageHandler
    xet: XetRoutes | None = None
    cas: CasHandler | None = None


def dispatcher(rooms: Rooms, door: Door, metrics: Metrics, request_log: RequestLog) -> Dispatcher:
    """What answers every request."""
    pages: Mapping[str, tuple[str, PageHandler]] = {
        "/healthz": ("healthz", rooms.health.healthz),
        "/readyz": ("readyz", rooms.health.readyz),
        "/metrics": ("metrics", rooms.health.metrics),
        "/": ("status_page", rooms.status_page),
    }
    return Dispatcher(
        door,
        _handlers(rooms),
        pages=pages,
        admin=(ADMIN_PREFIX, rooms.admin),
        open_paths=frozenset({"/healthz", "/readyz", "/metrics"}),
        metrics=metrics,
        request_log=request_log,
        cas=rooms.cas,
    )


def _handlers(rooms: Rooms) -> dict[type[object], RouteHandler]:
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
        routes.XetReadToken: rooms.xet.read_token if rooms.xet is not None else _no_xet,
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


async def _no_xet(exchange: Exchange, route: routes.XetReadToken) -> web.StreamResponse:
    if exchange.is_read:
        raise Absent("This gateway does not speak Xet; files are read plainly.")
    raise MethodAbsent(("GET", "HEAD"))


async def _unknown(exchange: Exchange, route: routes.Unknown) -> web.StreamResponse:
    raise Absent("Nothing is served at this address.")


def cas_handler(questions: CasRoutes, data: XorbRoutes) -> CasHandler:
    """What answers below our CAS: data by its address alone, every question by a token."""

    async def answer(exchange: Exchange, route: CasRoute) -> web.StreamResponse:
        if isinstance(route, Data):
            return await data.data(exchange, route)
        return await questions.answer(exchange, route)

    return answer
