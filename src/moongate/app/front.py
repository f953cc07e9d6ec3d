"""Which handler answers which route: the one table between names of routes and code that answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from moongate.app.dispatch import Dispatcher
from moongate.app.door import Door
from moongate.app.exchange import Exchange, PageHandler, RouteHandler
from moongate.app.file_routes import FileRoutes
from moongate.app.git_routes import GitRoutes
from moongate.app.health import Health
from moongate.app.hub_routes import HubRoutes
from moongate.app.metrics import Metrics
from moongate.app.ollama_routes import OllamaRoutes
from moongate.app.request_log import RequestLog
from moongate.core.errors import Absent
from moongate.wire import routes

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


async def _unknown(exchange: Exchange, route: routes.Unknown) -> web.StreamResponse:
    raise Absent("Nothing is served at this address.")
