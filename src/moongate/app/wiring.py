"""Where concrete classes are named and put together; nowhere else.

    Settings ─► Stock    index, layout, blobs, keeping           (blocking; what most commands need)
             └► Gateway  the stock, an upstream, the hub, fills  (an event loop; what pulls and serves)
                  └► front_door: the gateway behind HTTP

Order on the way in: FrontDoor (limits, framing) → Dispatcher (Host, caller, errors, log) → routes → hub
(access, freshness) → store, or upstream behind its guard. On the way out nothing is wrapped again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from moongate import __version__
from moongate.app.settings import Settings
from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.digests import Etag
from moongate.core.errors import MoongateError, StoreError, UpstreamError
from moongate.store.blobs import Blobs
from moongate.store.index import Index
from moongate.store.keeping import Ages, Collected, Keeping
from moongate.store.layout import Layout
from moongate.store.segments import Segments

if TYPE_CHECKING:
    from moongate.app.connection import FrontDoor
    from moongate.app.dispatch import CasHandler
    from moongate.app.door import Door
    from moongate.app.front import HostedRooms
    from moongate.app.metrics import Metrics
    from moongate.app.request_log import RequestLog
    from moongate.app.sendfile import FileSender
    from moongate.app.upkeep import Upkeep
    from moongate.app.xet_routes import XetRoutes
    from moongate.core.records import FileEntry
    from moongate.hub.assembled import Assembler
    from moongate.hub.content import Content
    from moongate.hub.fill import Fills
    from moongate.hub.hosted.repos import HostedRepos
    from moongate.hub.offers import XetOffers
    from moongate.hub.pull import Puller
    from moongate.hub.repos import Repos
    from moongate.hub.xet_files import XetFiles
    from moongate.upstream.cas import CasClient
    from moongate.upstream.client import UpstreamClient

USER_AGENT = f"moongate/{__version__}"

log = structlog.get_logger("moongate.fills")


@dataclass(frozen=True, slots=True)
class Stock:
    """What is kept in one home: usable from any thread, beside a running gateway, without a network."""

    settings: Settings
    layout: Layout
    blobs: Blobs
    segments: Segments
    index: Index
    keeping: Keeping

    def collect(self, idle_seconds: float | None = None) -> Collected:
        """See `Keeping.collect`; before it, see `retain`.

        Unfinished downloads go once nobody touched them for `idle_seconds`.
        """
        ages = Ages() if idle_seconds is None else Ages(partial_idle_seconds=idle_seconds)
        released = self.retain()
        return replace(self.keeping.collect(ages), released=released)

    def retain(self) -> int:
        """Forgets hosted history that nothing leads to, and large files that no retention rule keeps.

        How many large files of old revisions that were; see `Sweeping.run` and `Retention.run`.
        """
        from moongate.hub.hosted.objects import GitObjects  # noqa: PLC0415 - only collection needs them
        from moongate.hub.hosted.retention import Retention  # noqa: PLC0415
        from moongate.hub.hosted.sweeping import Sweeping  # noqa: PLC0415

        objects = GitObjects(self.index)
        Sweeping(self.index, objects, time.time).run()
        return Retention(self.index, objects, time.time).run().files

    def close(self) -> None:
        """Lets go of the index. May be called twice."""
        self.index.close()


def open_store(settings: Settings) -> Stock:
    """The store and index of a home, made when they are not there.

    Raises:
        StoreError: they cannot be made or opened.
    """
    layout = Layout(settings.home, settings.store)
    layout.prepare()
    index = Index(settings.database or layout.index_path)
    blobs, segments = Blobs(layout), Segments(layout)
    keeping = Keeping(
        layout,
        blobs,
        index,
        quota_bytes=settings.quota_bytes,
        min_free_bytes=settings.min_free_bytes,
        eviction=settings.eviction,
        segments=segments,
    )
    return Stock(settings, layout, blobs, segments, index, keeping)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything below HTTP: repositories and their content. Belongs to one event loop."""

    stock: Stock
    metrics: Metrics
    upstream: UpstreamClient
    repos: Repos
    fills: Fills
    xets: XetFiles
    cas: CasClient
    offers: XetOffers
    content: Content
    puller: Puller
    upkeep: Upkeep
    assembler: Assembler

    @property
    def settings(self) -> Settings:
        return self.stock.settings

    @property
    def operator(self) -> Caller:
        """Whoever runs this gateway, as upstream knows them: by the gateway's own Hub token, if any."""
        token = self.settings.own_token
        return Caller("upstream", user="operator", credential=token) if token else ANONYMOUS

    @property
    def index(self) -> Index:
        return self.stock.index

    @property
    def keeping(self) -> Keeping:
        return self.stock.keeping

    async def start(self) -> None:
        """Begins the upkeep; call it on the loop that will serve. Pulling works without."""
        self.upkeep.start()

    async def close(self) -> None:
        """Ends fills (their progress stays), questions in the air, upkeep and connections."""
        await self.content.close()
        self.assembler.close()
        await self.fills.stop()
        await self.xets.stop()
        await self.upkeep.stop()
        await self.repos.close()
        await self.cas.close()
        await self.upstream.close()
        self.stock.close()


def build(settings: Settings) -> Gateway:
    """A gateway with these settings; opens the store and the index, and no connection yet.

    Call it where an event loop runs, after any fork.

    Raises:
        StoreError: the store or index cannot be made or opened.
    """
    from moongate.app.metrics import Metrics  # noqa: PLC0415 - looks at the environment when imported
    from moongate.app.upkeep import Upkeep  # noqa: PLC0415
    from moongate.hub.assembled import Assembler  # noqa: PLC0415 - commands without an upstream need none of it
    from moongate.hub.content import Content  # noqa: PLC0415
    from moongate.hub.fill import FillRules, Fills  # noqa: PLC0415
    from moongate.hub.hot import HotFiles  # noqa: PLC0415
    from moongate.hub.lists import Lists  # noqa: PLC0415
    from moongate.hub.offers import XetOffers  # noqa: PLC0415
    from moongate.hub.proxied import ProxiedRepos  # noqa: PLC0415
    from moongate.hub.pull import Puller  # noqa: PLC0415
    from moongate.hub.repos import Repos  # noqa: PLC0415
    from moongate.hub.rules import HubRules  # noqa: PLC0415
    from moongate.hub.xet_files import XetFiles, XetRules  # noqa: PLC0415
    from moongate.upstream.cas import CasClient  # noqa: PLC0415
    from moongate.upstream.client import UpstreamClient  # noqa: PLC0415
    from moongate.upstream.guard import AddressGuard  # noqa: PLC0415
    from moongate.upstream.ranged import FileSource, Road  # noqa: PLC0415

    stock = open_store(settings)
    metrics = Metrics(multiprocess=settings.workers > 1)
    guard = AddressGuard(settings.upstream, settings.upstream_allowed_hosts)
    upstream = UpstreamClient(
        settings.upstream,
        guard,
        timeout_seconds=settings.upstream_timeout_seconds,
        user_agent=USER_AGENT,
        offline=settings.offline,
    )
    rules = HubRules(
        upstream_origin=settings.upstream,
        offline=settings.offline,
        upstream_token=settings.own_token,
        ref_ttl_seconds=settings.ref_ttl_seconds,
        absent_ttl_seconds=settings.absent_ttl_seconds,
        access_ttl_seconds=settings.access_ttl_seconds,
        access_grace_seconds=settings.access_grace_seconds,
        memory_bytes=settings.memory_cache_bytes,
    )
    offers = XetOffers(stock.index, enabled=settings.xet, offline=settings.offline)
    fill_rules = FillRules(
        connections=settings.fill_connections,
        sparse_span_bytes=settings.sparse_span_bytes,
        whole_after=settings.fill_whole_after,
        offline=settings.offline,
    )
    make_room = _room_maker(stock, metrics)
    hosted = open_hosted(stock, make_room, offers)
    proxied = ProxiedRepos(
        stock.index, upstream, rules, events=metrics, offers=offers, lives_here=hosted.hosts
    )
    offers.hosts = hosted.hosts
    repos = Repos(proxied, hosted, Lists(stock.index, hosted.places, hosted.lists, proxied), metrics)
    fills = Fills(stock.layout, stock.blobs, fill_rules, _FillLedger(stock.index, metrics), make_room)
    cas = CasClient(upstream, guard, timeout_seconds=settings.upstream_timeout_seconds, user_agent=USER_AGENT)
    xets = XetFiles(
        cas,
        stock.segments,
        stock.index,
        repos,
        XetRules(connections=settings.fill_connections, offline=settings.offline),
        _XetLedger(stock.index, metrics),
        make_room,
    )

    def source_of(road: Road, size_bytes: int) -> FileSource:
        return FileSource(
            guard,
            settings.upstream,
            road,
            size_bytes,
            timeout_seconds=settings.upstream_timeout_seconds,
            user_agent=USER_AGENT,
        )

    assembler = Assembler(stock.segments)
    hot = HotFiles(settings.xet_hot_reads, stock.keeping.has_room_for_copy, metrics.xet_became_hot)
    content = Content(
        repos,
        fills,
        stock.index,
        upstream,
        source_of,
        xets,
        speaks_xet=settings.xet,
        assembler=assembler,
        hot=hot,
    )
    puller = Puller(repos, stock.index, content.open, content.finished)
    upkeep = Upkeep(fills, xets, stock.index, stock.keeping, metrics, stock.retain)
    return Gateway(
        stock, metrics, upstream, repos, fills, xets, cas, offers, content, puller, upkeep, assembler
    )


def open_hosted(
    stock: Stock, make_room: Callable[[int], None] | None = None, offers: XetOffers | None = None
) -> HostedRepos:
    """The repositories that live in a home. Usable from any thread."""
    from moongate.hub.hosted.contents import Contents, PublicUpstream  # noqa: PLC0415
    from moongate.hub.hosted.repos import HostedRepos  # noqa: PLC0415
    from moongate.hub.hosted.rules import HostedRules  # noqa: PLC0415
    from moongate.store.at_rest import AtRest  # noqa: PLC0415
    from moongate.store.claims import Claims  # noqa: PLC0415

    settings = stock.settings
    rules = HostedRules(
        namespaces=settings.hosted_namespaces,
        lease_seconds=settings.upload_lease_seconds,
        part_bytes=settings.upload_part_bytes,
    )
    contents = Contents(
        stock.blobs, Claims(stock.layout), stock.index, make_room or _no_room_needed, time.time
    )
    return HostedRepos(
        stock.index,
        contents,
        AtRest(stock.blobs, stock.segments, stock.index),
        rules,
        offered=offers.proven if offers is not None else _never,
        memory_bytes=settings.memory_cache_bytes // 4,
        elsewhere=PublicUpstream(stock.index, contents),
    )


@dataclass(frozen=True, slots=True)
class Front:
    """The gateway behind HTTP; `server.accept` makes the protocol of a connection."""

    server: FrontDoor
    sender: FileSender
    request_log: RequestLog

    def close(self) -> None:
        self.sender.close()
        if self.server.lane is not None:
            self.server.lane.settle()
        self.request_log.close()


def front_door(gateway: Gateway) -> Front:
    """The gateway's HTTP face."""
    from moongate.app.admin_routes import AdminRoutes  # noqa: PLC0415 - a gateway without HTTP needs none of it
    from moongate.app.connection import FrontDoor  # noqa: PLC0415
    from moongate.app.file_routes import FileRoutes  # noqa: PLC0415
    from moongate.app.front import Rooms, dispatcher  # noqa: PLC0415
    from moongate.app.git_routes import GitRoutes  # noqa: PLC0415
    from moongate.app.health import Health  # noqa: PLC0415
    from moongate.app.hub_routes import HubRoutes  # noqa: PLC0415
    from moongate.app.lane import FastLane  # noqa: PLC0415
    from moongate.app.ollama_routes import OllamaRoutes  # noqa: PLC0415
    from moongate.app.passing import Passing  # noqa: PLC0415
    from moongate.app.request_log import RequestLog  # noqa: PLC0415
    from moongate.app.sendfile import FileSender  # noqa: PLC0415
    from moongate.app.status_page import StatusPage  # noqa: PLC0415
    from moongate.app.xet_routes import XetHeaders  # noqa: PLC0415

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
    xet_headers = XetHeaders(gateway.offers, door.base_url)
    files = FileRoutes(gateway.content, sender, xet_headers)
    xet, cas = _xet_rooms(gateway, door, sender)
    hosting = _hosted_rooms(gateway, door, xet)
    rooms = Rooms(
        hub=HubRoutes(gateway.repos, passing, door.base_url, gateway.repos.hosted.places.namespaces_of),
        files=files,
        git=GitRoutes(passing, gateway.content, files, door.base_url, hosting.lfs),
        hosting=hosting,
        ollama=OllamaRoutes(gateway.repos, files),
        health=Health(
            gateway.metrics, door, gateway.stock.layout.root, _is_ready(gateway), _sampler(gateway)
        ),
        admin=AdminRoutes(gateway, door),
        status_page=StatusPage(gateway, door),
        xet=xet,
        cas=cas,
    )
    dispatch = dispatcher(rooms, door, gateway.metrics, request_log)
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
    )
    server = FrontDoor(dispatch, lane, settings.client_timeout_seconds, dispatch.note)
    return Front(server, sender, request_log)


def _hosted_rooms(gateway: Gateway, door: Door, xet: XetRoutes) -> HostedRooms:
    """What answers for repositories that live here, but for plain reads."""
    from moongate.app.commit_routes import CommitRoutes  # noqa: PLC0415
    from moongate.app.front import HostedRooms  # noqa: PLC0415
    from moongate.app.hosted_git_routes import HostedGitRoutes  # noqa: PLC0415
    from moongate.app.hosted_routes import HostedRoutes  # noqa: PLC0415
    from moongate.app.lfs_uploads import LfsUploads  # noqa: PLC0415
    from moongate.app.shared_secret import shared_secret  # noqa: PLC0415
    from moongate.app.upload_addresses import UploadAddresses  # noqa: PLC0415
    from moongate.hub.hosted.fetches import Fetches  # noqa: PLC0415
    from moongate.hub.hosted.git_door import GitDoor  # noqa: PLC0415
    from moongate.hub.hosted.git_folders import GitFolders  # noqa: PLC0415
    from moongate.hub.hosted.intake import Intake  # noqa: PLC0415
    from moongate.hub.hosted.pushes import Pushes, PushRules  # noqa: PLC0415
    from moongate.store.bare.programs import Programs  # noqa: PLC0415
    from moongate.store.upload_files import UploadFiles  # noqa: PLC0415

    stock, hosted = gateway.stock, gateway.repos.hosted
    intake = Intake(
        stock.index,
        UploadFiles(stock.layout),
        hosted.contents,
        hosted.uploads,
        hosted.quotas,
        hosted.rules,
        time.time,
    )
    addresses = UploadAddresses(shared_secret(gateway.settings.home), door.still_good)
    programs = Programs()
    folders = GitFolders(stock.index, stock.blobs, stock.layout, programs)
    pushes = Pushes(hosted, folders, PushRules())
    git = HostedGitRoutes(
        GitDoor(hosted, Fetches(folders, programs), pushes), gateway.settings.client_timeout_seconds
    )
    return HostedRooms(
        gateway.repos.is_hosted,
        HostedRoutes(hosted, CommitRoutes(hosted, door.base_url), door.base_url),
        LfsUploads(hosted, intake, addresses, door.base_url, door.pass_of, xet.lfs_way),
        git,
    )


def _xet_rooms(gateway: Gateway, door: Door, sender: FileSender) -> tuple[XetRoutes, CasHandler]:
    """The token route, and our CAS with its data."""
    from moongate.app.cas_routes import CasRoutes  # noqa: PLC0415
    from moongate.app.cas_write_routes import CasWriteRoutes  # noqa: PLC0415
    from moongate.app.data_addresses import DataAddresses  # noqa: PLC0415
    from moongate.app.front import cas_handler  # noqa: PLC0415
    from moongate.app.shared_secret import shared_secret  # noqa: PLC0415
    from moongate.app.xet_routes import XetRoutes  # noqa: PLC0415
    from moongate.app.xet_tokens import XetTokens  # noqa: PLC0415
    from moongate.app.xorb_routes import XorbRoutes  # noqa: PLC0415
    from moongate.hub.by_xet import FilesByXet  # noqa: PLC0415
    from moongate.hub.hosted.xet_access import XetAccess  # noqa: PLC0415
    from moongate.hub.hosted.xet_uploads import XetUploads  # noqa: PLC0415
    from moongate.hub.xet_made import XetService  # noqa: PLC0415

    secret = shared_secret(gateway.settings.home)
    tokens = XetTokens(secret, door.still_good)
    addresses = DataAddresses(secret)
    files = FilesByXet(gateway.index, gateway.repos)
    service = XetService(gateway.xets, gateway.index, gateway.content.fill, gateway.fills.keeps)
    questions = CasRoutes(
        tokens,
        files,
        service,
        addresses,
        gateway.offers,
        gateway.metrics,
        base_url=door.base_url,
        whole_after_bytes=gateway.settings.sparse_span_bytes,
    )
    access = XetAccess(gateway.repos.hosted, gateway.repos.proxied.access)
    uploads = XetUploads(
        gateway.stock.layout,
        gateway.index,
        gateway.stock.segments,
        access=access,
        make_room=_room_maker(gateway.stock, gateway.metrics),
    )
    writes = CasWriteRoutes(tokens, uploads, secret, base_url=door.base_url)
    data = XorbRoutes(service, sender, gateway.offers, gateway.metrics, addresses)
    ways = XetRoutes(
        gateway.repos, files, tokens, gateway.offers, access, base_url=door.base_url, pass_of=door.pass_of
    )
    return ways, cas_handler(questions, writes, data)


def make_door(gateway: Gateway) -> Door:
    """The door of a gateway; closed on addresses that others can reach.

    Raises:
        DoorHasNoKey: nobody could come in: it is closed, and there is no token.
    """
    from moongate.app.door import Door, DoorHasNoKey, DoorRules  # noqa: PLC0415
    from moongate.core.callers import Secret  # noqa: PLC0415

    settings = gateway.settings
    rules = DoorRules(
        loopback=settings.is_loopback,
        allow_anonymous=settings.allow_anonymous,
        upstream_orgs=settings.upstream_orgs,
        server_names=settings.server_names,
        public_url=settings.public_url,
        trusted_proxies=settings.trusted_proxies,
        access_ttl_seconds=settings.access_ttl_seconds,
        access_grace_seconds=settings.access_grace_seconds,
    )

    async def identity(credential: Secret) -> bytes:
        return (await gateway.upstream.get("/api/whoami-v2", credential)).body

    door = Door(gateway.index, rules, identity)
    if not door.is_open and not settings.upstream_orgs and not gateway.index.any_token(time.time()):
        raise DoorHasNoKey(settings.host)
    return door


class _FillLedger:
    """Writes down what fills do: counters, new blobs, failures. Called from worker threads."""

    def __init__(self, index: Index, metrics: Metrics) -> None:
        self._index = index
        self._metrics = metrics

    def fetched(self, count: int) -> None:
        self._metrics.fetched(count)

    def retried(self, error: UpstreamError) -> None:
        self._metrics.asked_again(type(error).__name__)

    def sealed(self, etag: Etag, size_bytes: int, seconds: float) -> None:
        self._metrics.filled(size_bytes, seconds)
        try:
            self._index.put_blob(etag, size_bytes, time.time())
        except StoreError as error:
            # the file is sealed and served; the hourly collection registers it
            log.warning("a sealed file is not in the index yet", etag=etag, why=error.message)

    def failed(self, etag: Etag, error: MoongateError) -> None:
        self._metrics.fill_failed(type(error).__name__)
        log.warning("fill failed", etag=etag, kind=type(error).__name__, why=error.message)
        _record_failure(self._index, etag, error)


class _XetLedger:
    """Writes down what the fills of Xet files do. Called from worker threads."""

    def __init__(self, index: Index, metrics: Metrics) -> None:
        self._index = index
        self._metrics = metrics

    def fetched(self, count: int) -> None:
        self._metrics.xet_fetched(count)

    def retried(self, error: UpstreamError) -> None:
        self._metrics.asked_again(type(error).__name__)

    def proven(self, file_id: str, etag: Etag, size_bytes: int, seconds: float) -> None:
        self._metrics.xet_proven(seconds)

    def failed(self, file_id: str, etag: Etag, error: MoongateError) -> None:
        self._metrics.xet_failed(type(error).__name__)
        log.warning("xet fill failed", file=file_id, etag=etag, kind=type(error).__name__, why=error.message)
        _record_failure(self._index, etag, error)

    def fell_back(self, etag: Etag, error: MoongateError) -> None:
        self._metrics.xet_fell_back(type(error).__name__)
        log.warning("read on without the CAS", etag=etag, kind=type(error).__name__, why=error.message)


def _record_failure(index: Index, etag: Etag, error: MoongateError) -> None:
    try:
        for file in index.where_is(etag)[:1]:
            index.record_failure(etag, file.repo, file.entry.path, error.message, time.time())
    except StoreError as trouble:
        log.warning("a failure was not recorded", etag=etag, why=trouble.message)


def _no_room_needed(incoming_bytes: int) -> None:
    """For who takes nothing in."""


def _never(entry: FileEntry) -> bool:
    return False


def _room_maker(stock: Stock, metrics: Metrics) -> Callable[[int], None]:
    def make_room(incoming_bytes: int) -> None:
        evicted = stock.keeping.make_room(incoming_bytes)
        if evicted.freed_bytes:
            metrics.evicted(evicted.files, evicted.freed_bytes)

    return make_room


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
