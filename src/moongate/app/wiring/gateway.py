"""`Gateway`: everything below HTTP, put together for one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from moongate.app.governing import Governing
from moongate.app.identity import Identity
from moongate.app.metrics import Metrics
from moongate.app.settings import Settings
from moongate.app.upkeep import Upkeep
from moongate.app.wiring.governing import Announcing, announce_of, announced, make_governing
from moongate.app.wiring.guarding import Guarding, guard_answers, make_guarding
from moongate.app.wiring.hosted import open_hosted
from moongate.app.wiring.identity import make_identity
from moongate.app.wiring.intelligence import feed_opener, open_refresher
from moongate.app.wiring.ledgers import FillLedger, XetLedger, log, room_maker
from moongate.app.wiring.names import USER_AGENT
from moongate.app.wiring.provenance import commit_facts
from moongate.app.wiring.stock import Stock, open_store
from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.errors import StoreError
from moongate.core.names import CommitHash, RepoId
from moongate.hub.assembled import Assembler
from moongate.hub.audit import Audit
from moongate.hub.content import Content
from moongate.hub.fill import FillRules, Fills
from moongate.hub.hot import HotFiles
from moongate.hub.lists import Lists
from moongate.hub.offers import XetOffers
from moongate.hub.proxied import ProxiedRepos
from moongate.hub.pull import Puller
from moongate.hub.recalls import Recalls
from moongate.hub.repos import Repos
from moongate.hub.rules import HubRules
from moongate.hub.xet_files import XetFiles, XetRules
from moongate.policy.provenance.facts import CommitFacts
from moongate.scan.feeds.intelligence import FeedIntelligence
from moongate.scan.feeds.refreshing import Refresher
from moongate.scan.feeds.services import HashServices
from moongate.store.index import Index
from moongate.store.keeping import Keeping
from moongate.upstream.cas import CasClient
from moongate.upstream.client import UpstreamClient
from moongate.upstream.guard import AddressGuard
from moongate.upstream.ranged import FileSource, Road


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
    audit: Audit
    recalls: Recalls
    identity: Identity
    feeds: Refresher
    services: HashServices
    intelligence: FeedIntelligence
    governing: Governing
    announcing: Announcing
    guarding: Guarding
    last: list[Callable[[], None]] = field(default_factory=list)
    """What is done when all the rest was closed."""

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

    def facts_of(self, repo: RepoId, commit_hash: CommitHash) -> CommitFacts:
        """See `commit_facts`."""
        return commit_facts(self.stock, repo, commit_hash, hosted=self.repos.is_hosted(repo))

    async def start(self) -> None:
        """Begins the upkeep; call it on the loop that will serve. Pulling works without."""
        await asyncio.to_thread(self.stock.recover_deliveries)
        self.recalls.start()
        self.upkeep.start()
        await asyncio.to_thread(self._tell_policy)
        self.governing.start()
        self.announcing.courier.start()
        self.guarding.warm()

    def _tell_policy(self) -> None:
        try:
            self.governing.tell_what_holds(self.stock.audit_desk().last_policy())
        except StoreError as error:
            log.error("a change of policy was not audited", why=error.message)

    async def close(self) -> None:
        """Ends fills (their progress stays), questions in the air, upkeep and connections."""
        await self.guarding.opinions.close()
        await self.services.close()
        await self.recalls.stop()
        await self.content.close()
        self.assembler.close()
        await self.fills.stop()
        await self.xets.stop()
        await self.governing.stop()
        await self.announcing.close()
        self.guarding.close()
        await self.upkeep.stop()
        await self.repos.close()
        await self.cas.close()
        await self.upstream.close()
        await self.identity.close()
        self.stock.close()
        for work in self.last:
            work()


def build(settings: Settings) -> Gateway:
    """A gateway with these settings; opens the store and the index, and no connection yet.

    Call it where an event loop runs, after any fork.

    Raises:
        StoreError: the store or index cannot be made or opened.
    """

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
    make_room = room_maker(stock, metrics)
    hosted = open_hosted(stock, make_room, offers)
    proxied = ProxiedRepos(
        stock.index, upstream, rules, events=metrics, offers=offers, lives_here=hosted.hosts
    )
    offers.hosts = hosted.hosts
    repos = Repos(proxied, hosted, Lists(stock.index, hosted.places, hosted.lists, proxied), metrics)
    audit = announced(stock, stock.audit)
    governing, changes = make_governing(stock, audit)
    feeds = open_refresher(stock, audit)
    services = HashServices(stock.index, feed_opener(settings), time.time)
    intelligence = FeedIntelligence(stock.index, time.time, services)
    recalls = Recalls(stock.index)
    recalls.refresh()
    guarding = make_guarding(stock, metrics, governing, intelligence, hosted, changes, audit, recalls)
    guard_answers(stock, repos, guarding)
    forget = guarding.guard.judging.forget_unproven
    fills = Fills(
        stock.layout,
        stock.blobs,
        fill_rules,
        FillLedger(stock.index, metrics, forget),
        make_room,
        guarding.judge,
    )
    cas = CasClient(upstream, guard, timeout_seconds=settings.upstream_timeout_seconds, user_agent=USER_AGENT)
    xets = XetFiles(
        cas,
        stock.segments,
        stock.index,
        repos,
        XetRules(connections=settings.fill_connections, offline=settings.offline),
        XetLedger(stock.index, metrics, forget),
        make_room,
        judge=guarding.judge_row,
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
        recalls,
        xets,
        speaks_xet=settings.xet,
        assembler=assembler,
        hot=hot,
        guard=guarding.guard,
    )
    puller = Puller(repos, stock.index, content.open, content.finished)
    upkeep = Upkeep(
        fills,
        xets,
        stock.index,
        stock.keeping,
        metrics,
        stock.retain,
        feeds,
        None if guarding.guard.gate.is_off else guarding.rejudging(stock),
        stock.forget,
    )
    return Gateway(
        stock=stock,
        metrics=metrics,
        upstream=upstream,
        repos=repos,
        fills=fills,
        xets=xets,
        cas=cas,
        offers=offers,
        content=content,
        puller=puller,
        upkeep=upkeep,
        assembler=assembler,
        audit=audit,
        recalls=recalls,
        identity=make_identity(stock, hosted.places),
        feeds=feeds,
        services=services,
        intelligence=intelligence,
        governing=governing,
        announcing=announce_of(stock),
        guarding=guarding,
    )
