"""`Front`: the gateway behind HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moongate.app.admin.operations import Operation
from moongate.app.admin.routes import AdminRoutes
from moongate.app.auditing import Auditing
from moongate.app.connection import FrontDoor
from moongate.app.dispatch import Dispatcher
from moongate.app.file_routes import FileRoutes
from moongate.app.front import Rooms, dispatcher
from moongate.app.git_routes import GitRoutes
from moongate.app.health import Health
from moongate.app.hub_routes import HubRoutes
from moongate.app.lane import FastLane
from moongate.app.ollama_routes import OllamaRoutes
from moongate.app.pages.table import make_pages
from moongate.app.passing import Passing
from moongate.app.request_log import RequestLog
from moongate.app.sendfile import FileSender
from moongate.app.shared_secret import shared_secret
from moongate.app.wiring.gateway import Gateway
from moongate.app.wiring.rooms import data_lane_of, hosted_rooms, make_door, ways_in, xet_rooms
from moongate.app.xet_routes import XetHeaders
from moongate.core.errors import StoreError
from moongate.store.journals import Journal


@dataclass(frozen=True, slots=True)
class Front:
    """The gateway behind HTTP; `server.accept` makes the protocol of a connection."""

    server: FrontDoor
    sender: FileSender
    request_log: RequestLog
    dispatch: Dispatcher
    operations: Sequence[Operation]
    auditing: Auditing

    def close(self) -> None:
        self.sender.close()
        if self.server.lane is not None:
            self.server.lane.close()
        self.auditing.settle()
        self.request_log.close()


def front_door(gateway: Gateway) -> Front:
    """The gateway's HTTP face."""

    settings = gateway.settings
    gateway.repos.hosted.places.refuse_clashes()
    door = make_door(gateway)
    sender = FileSender()
    request_log = RequestLog(settings.log_format, enabled=settings.log_requests)
    passing = Passing(
        gateway.upstream,
        offline=settings.offline,
        upstream_origin=settings.upstream,
        base_url=door.base_url,
        read_credential=gateway.repos.credential,
        changed=gateway.repos.changed,
        is_hosted=gateway.repos.is_hosted,
    )
    guard = gateway.guarding.guard
    xet_headers = XetHeaders(gateway.offers, door.base_url, guard.may_be_offered, gateway.recalls)
    auditing = Auditing(gateway.audit, door.address_of, journal=Journal(gateway.stock.layout.journals_dir))
    gateway.last.append(auditing.forget)
    files = FileRoutes(gateway.content, sender, xet_headers, gateway.recalls, auditing.begins)
    xet, cas = xet_rooms(gateway, door, sender)
    hosting = hosted_rooms(gateway, door, xet)
    admin = AdminRoutes(gateway, door)
    seen = make_pages(gateway, door, files, shared_secret(settings.home))
    login, oauth = ways_in(gateway, door, seen.pages)
    rooms = Rooms(
        hub=HubRoutes(gateway.repos, passing, door.base_url, gateway.repos.hosted.places.namespaces_of),
        files=files,
        git=GitRoutes(passing, gateway.content, files, door.base_url, hosting.lfs),
        hosting=hosting,
        recalls=gateway.recalls,
        ollama=OllamaRoutes(gateway.repos, files),
        health=Health(
            gateway.metrics,
            gateway.stock.layout.root,
            _is_ready(gateway),
            _sampler(gateway),
            lambda: gateway.governing.current.trouble,
        ),
        admin=admin,
        pages=seen.pages,
        login=login,
        oauth=oauth,
        xet=xet,
        cas=cas,
    )
    dispatch = dispatcher(rooms, door, gateway.metrics, request_log, auditing)
    lane = FastLane(
        gateway.repos,
        gateway.content,
        door,
        dispatch.known_route,
        gateway.metrics,
        request_log,
        memo_seconds=min(0.5, settings.ref_ttl_seconds / 50),
        sender=sender,
        xet=xet_headers if settings.xet else None,  # hosted files do not come this way
        data=data_lane_of(gateway),
        auditing=auditing,
        recalls=gateway.recalls,
        changes=gateway.guarding.changes.look,
    )
    server = FrontDoor(dispatch, lane, settings.client_timeout_seconds, dispatch.note, seen.live.stop)
    return Front(server, sender, request_log, dispatch, admin.operations, auditing)


def _is_ready(gateway: Gateway) -> Callable[[], str]:
    def why_not() -> str:
        try:
            gateway.index.get_rename("model", "ready")
        except StoreError as error:
            return error.message
        return ""

    return why_not


def _sampler(gateway: Gateway) -> Callable[[], None]:
    def sample() -> None:
        gateway.metrics.gauge("store_bytes").set(
            gateway.index.total_bytes() + gateway.stock.segments.stored_bytes()
        )

    return sample
