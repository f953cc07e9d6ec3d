"""Where concrete classes are named and put together; nowhere else.

    Settings ─► Stock    index, layout, blobs, keeping           (blocking; what most commands need)
             └► Gateway  the stock, an upstream, the hub, fills  (an event loop; what pulls and serves)
                  └► front_door: the gateway behind HTTP

Order on the way in: FrontDoor (limits, framing) → Dispatcher (Host, caller, errors, log) → routes → hub
(access, freshness) → store, or upstream behind its guard. On the way out nothing is wrapped again.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from moongate import __version__
from moongate.app.settings import BadSettings, Settings
from moongate.core.callers import ANONYMOUS, Caller
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, MoongateError, StoreError, UpstreamError, VerificationFailed
from moongate.core.names import CommitHash, RepoId
from moongate.core.spans import ByteSpan
from moongate.store.blobs import Blobs
from moongate.store.index import Index, ReconstructionRow
from moongate.store.keeping import Ages, Collected, Keeping
from moongate.store.layout import Layout
from moongate.store.segments import Segments

if TYPE_CHECKING:
    from moongate.app.admin_audit import AdminAudit
    from moongate.app.auditing import Auditing
    from moongate.app.connection import FrontDoor
    from moongate.app.data_lane import DataLane
    from moongate.app.dispatch import CasHandler, Dispatcher
    from moongate.app.door import Door
    from moongate.app.front import HostedRooms
    from moongate.app.governing import Governing
    from moongate.app.hooks import Hooks
    from moongate.app.identity import Identity
    from moongate.app.login_routes import LoginRoutes
    from moongate.app.metrics import Metrics
    from moongate.app.oauth_routes import OAuthRoutes
    from moongate.app.operations import Operation
    from moongate.app.pages.pages import Pages
    from moongate.app.request_log import RequestLog
    from moongate.app.sendfile import FileSender
    from moongate.app.upkeep import Upkeep
    from moongate.app.xet_routes import XetRoutes
    from moongate.core.feeds import FeedRow
    from moongate.core.records import FileAt, FileEntry
    from moongate.core.verdicts import Finding, Judged
    from moongate.hub.assembled import Assembler
    from moongate.hub.audit import Audit
    from moongate.hub.audit_desk import AuditDesk
    from moongate.hub.audit_log import AuditLog
    from moongate.hub.content import Content
    from moongate.hub.fill import Fills
    from moongate.hub.guard import Guard
    from moongate.hub.hosted.places import Places
    from moongate.hub.hosted.repos import HostedRepos
    from moongate.hub.offers import XetOffers
    from moongate.hub.pull import Puller
    from moongate.hub.recalling import Recalling
    from moongate.hub.recalls import Recalls
    from moongate.hub.rejudging import Rejudging
    from moongate.hub.repos import Repos
    from moongate.hub.second_opinions import SecondOpinions
    from moongate.hub.sign_ins import SignInRules
    from moongate.hub.xet_files import XetFiles
    from moongate.policy.courier import Courier
    from moongate.policy.desk import Desk
    from moongate.policy.gate import PolicyGate
    from moongate.policy.gate_facts import GateFacts
    from moongate.policy.knowledge import Knowledge
    from moongate.policy.provenance.facts import CommitFacts
    from moongate.policy.provenance.keys import PrivateKey
    from moongate.policy.provenance.vouching import Vouching
    from moongate.scan.feeds.intelligence import FeedIntelligence
    from moongate.scan.feeds.options import FeedOptions
    from moongate.scan.feeds.refreshing import OpenFetch, Refresher
    from moongate.scan.feeds.services import HashServices
    from moongate.scan.pool import Jails
    from moongate.scan.voices.hearing import Hearing
    from moongate.store.serial import Serial
    from moongate.store.signing_key import PublicKey
    from moongate.upstream.cas import CasClient
    from moongate.upstream.client import UpstreamClient
    from moongate.upstream.posting import Poster

USER_AGENT = f"moongate/{__version__}"

_MOST_JAILS = 4
_WARM_SECONDS = 0.5

_EXCHANGED_KEPT_SECONDS = 7 * 86400.0
"""How long exchanged tokens are listed after they ended."""

_GROUPS_SECONDS = 30 * 86400.0
"""How long groups count that an issuer told of at a sign-in, where nobody signs in again."""

DEVICE_TOKEN_SECONDS = 30 * 86400.0
"""How long a token is good for that a person let a command line have, where no setting says less."""

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
    audit: AuditLog

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

    def forget(self) -> None:
        """Forgets sessions and exchanged tokens that ended, and groups that no issuer told of lately."""
        now = time.time()
        self.index.prune_ways_in(now)
        self.index.prune_exchanged(now - _EXCHANGED_KEPT_SECONDS)
        self.index.prune_groups(now - _GROUPS_SECONDS)

    def audit_desk(self) -> AuditDesk:
        """The audit log, to be read."""
        from moongate.hub.audit_desk import AuditDesk  # noqa: PLC0415

        return AuditDesk(self.index, self.audit)

    def recover_deliveries(self) -> None:
        """Has written down what processes that died were sending, and to whom; if not now, another time."""
        from moongate.app.deliveries import recover  # noqa: PLC0415
        from moongate.store.journals import left_behind  # noqa: PLC0415

        try:
            recover(left_behind(self.layout.journals_dir), self.audit, self.audit_desk().delivered_since)
        except StoreError as error:
            log.warning("deliveries of a process that died are not written down yet", why=error.message)

    def audit_key(self) -> PublicKey:
        """The public half of the key that checkpoints are signed with; made when there is none."""
        from moongate.store.signing_key import SigningKey  # noqa: PLC0415

        return SigningKey.of_home(self.settings.home, "audit").public

    def recalling(self) -> Recalling:
        """Where recalls are made."""
        from moongate.hub.recalling import Recalling  # noqa: PLC0415

        return Recalling(self.index, announced(self, self.audit), time.time)

    def vouching(self) -> Vouching:
        """Who vouches for what is kept."""
        return open_vouching(self)

    def signing_key(self) -> PrivateKey:
        """The gateway's own key, which vouches and states; made when there is none."""
        from moongate.policy.provenance.keys import PrivateKey  # noqa: PLC0415

        return PrivateKey.own(self.settings.home / SIGNING_KEY)

    def close(self) -> None:
        """Writes the last lines of the audit log, and lets go of the index. May be called twice."""
        self.audit.close()
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
    return Stock(settings, layout, blobs, segments, index, keeping, open_audit(settings, index))


def read_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file.

    Raises:
        StoreError: it cannot be read, or is none.
    """
    from moongate.store.signing_key import PublicKey  # noqa: PLC0415

    return PublicKey.read(path)


def open_audit(settings: Settings, index: Index) -> AuditLog:
    """The audit log of an index. Its key is made when it first signs; usable from any thread."""
    from moongate.hub.audit_checkpoint import Signer, exporter  # noqa: PLC0415
    from moongate.hub.audit_log import AuditLog  # noqa: PLC0415

    def signer() -> Signer:
        from moongate.store.signing_key import SigningKey  # noqa: PLC0415 - slow to import, seldom needed

        return SigningKey.of_home(settings.home, "audit")

    place = settings.audit_checkpoints
    return AuditLog(index, cache(signer), export=exporter(place) if place else None)


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

    def audit_office(self) -> AdminAudit:
        """What the admin API does with the audit log and recalls."""
        from moongate.app.admin_audit import AdminAudit  # noqa: PLC0415

        stock = self.stock
        return AdminAudit(stock.audit_desk(), stock.audit, stock.audit_key, stock.recalling())

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


@dataclass(frozen=True, slots=True)
class Guarding:
    """What stands before content: who judges it, and who decides. `changes` is shared by all processes."""

    guard: Guard
    gate: PolicyGate
    jails: Jails
    changes: Serial
    knowledge: Knowledge
    opinions: SecondOpinions

    def judge(self, etag: Etag, size_bytes: int, descriptor: int) -> None:
        """Has content judged whose hash is right. Blocks."""
        if not self.guard.gate.is_off:
            self.guard.judging.whole(etag, size_bytes, descriptor)

    def judge_row(self, row: ReconstructionRow, read: Callable[[ByteSpan], bytes]) -> None:
        """As `judge`, of a file that is here in chunks."""
        if not self.guard.gate.is_off:
            self.guard.judging.whole_read(row.etag, row.size_bytes, read)

    def warm(self) -> None:
        """Have a scanner ready for the first file, once the gateway is."""
        if not self.guard.gate.is_off:
            thread = threading.Thread(target=self.jails.warm, name="warm", daemon=True)
            asyncio.get_running_loop().call_later(_WARM_SECONDS, thread.start)

    def rejudging(self, stock: Stock) -> Rejudging:
        """Looks again at what is kept. Nothing is outdated where nothing is judged."""
        from moongate.hub.rejudging import Rejudging  # noqa: PLC0415
        from moongate.store.at_rest import AtRest  # noqa: PLC0415

        return Rejudging(self.guard.judging, AtRest(stock.blobs, stock.segments, stock.index).read)

    def close(self) -> None:
        self.jails.close()


def make_guarding(
    stock: Stock,
    metrics: Metrics,
    governing: Governing,
    intelligence: FeedIntelligence,
    hosted: HostedRepos,
    changes: Serial,
    audit: Audit,
) -> Guarding:
    """The guard of a process. Starts no scanner yet."""
    from moongate.hub.audit import SYSTEM, AuditEvent  # noqa: PLC0415
    from moongate.hub.guard import Guard  # noqa: PLC0415 - commands without an upstream need none of it
    from moongate.hub.judging import Judging  # noqa: PLC0415
    from moongate.hub.second_opinions import SecondOpinions  # noqa: PLC0415
    from moongate.policy.gate import PolicyGate  # noqa: PLC0415
    from moongate.scan.pool import Jails  # noqa: PLC0415

    jails = Jails(
        max(1, min(_MOST_JAILS, os.cpu_count() or 1)),
        feeds=intelligence.feeds_version,
        hearing=_hearing(stock),
    )
    judging = Judging(stock.index, jails, changes, metrics, intelligence)

    def detected(judged: Judged) -> None:
        rules = [finding.rule for finding in judged.report.findings[:5]]
        details = {"verdict": judged.verdict, "basis": judged.basis, "findings": rules}
        audit.note(AuditEvent("scan.detect", SYSTEM, digest=judged.etag, details=details))

    judging.on_detection = detected

    mode = stock.settings.guard
    facts = _gate_facts(stock, hosted, intelligence)
    gate = PolicyGate(governing.policy, mode, facts, changes, metrics, audit=audit, holds=governing.desk)
    knowledge = _knowledge(stock, hosted, facts)
    opinions = SecondOpinions(intelligence, judging, stock.index, hosted.hosts)
    return Guarding(Guard(gate, judging, opinions), gate, jails, changes, knowledge, opinions)


def _gate_facts(stock: Stock, hosted: HostedRepos, intelligence: FeedIntelligence) -> GateFacts:
    """What is known of a question."""
    from moongate.hub.intelligence import Subject  # noqa: PLC0415
    from moongate.policy.gate_facts import GateFacts  # noqa: PLC0415
    from moongate.policy.lore import Lore  # noqa: PLC0415
    from moongate.policy.signatures import Signatures  # noqa: PLC0415

    def hits(file: FileAt) -> tuple[Finding, ...]:
        sha256 = stock.index.digest_of(file.entry.etag)
        return intelligence.known(Subject(sha256=sha256, repo=file.repo, hosted=hosted.hosts(file.repo)))

    def hosted_info(repo: RepoId, commit_hash: str) -> Mapping[str, object] | None:
        row = stock.index.get_hosted(repo)
        return None if row is None else hosted.reads.info_of(row, CommitHash(commit_hash) or None)

    signatures = Signatures(open_vouching(stock).vouched, time.time)
    return GateFacts(
        Lore(stock.index, hosted.hosts, time.time, hosted_info).of,
        hits,
        digest=stock.index.digest_of,
        signature=signatures.of,
        signature_at_hand=signatures.at_hand,
        feed_age_seconds=intelligence.oldest_age_seconds,
    )


def open_knowledge(stock: Stock) -> Knowledge:
    """What a gateway of this home would know of a question."""
    hosted = open_hosted(stock)
    return _knowledge(stock, hosted, _gate_facts(stock, hosted, open_intelligence(stock)))


def _knowledge(stock: Stock, hosted: HostedRepos, facts: GateFacts) -> Knowledge:
    from moongate.core.errors import RevisionAbsent  # noqa: PLC0415
    from moongate.core.names import Revision, is_commit_hash  # noqa: PLC0415
    from moongate.hub.judging import standing  # noqa: PLC0415
    from moongate.policy.knowledge import Knowledge  # noqa: PLC0415

    index = stock.index

    def commit_of(repo: RepoId, revision: str) -> CommitHash | None:
        row = index.get_hosted(repo)
        if row is not None:
            try:
                return hosted.refs_of.resolve(row, revision)
            except RevisionAbsent:
                return None
        known = index.get_ref(repo, Revision(revision))
        if known is not None:
            return known.commit_hash
        return CommitHash(revision) if is_commit_hash(revision) else None

    def judged(etag: Etag, path: str) -> Judged | None:
        return standing(index.verdicts_of(etag), path, time.time())

    return Knowledge(facts, index, commit_of, judged, time.time)


def _hearing(stock: Stock) -> Hearing:
    """The other scanners that a gateway asks.

    Raises:
        BadSettings: one is not known, not installed, or lacks what it needs.
    """
    from moongate.scan.feeds.rule_file import RuleFile  # noqa: PLC0415
    from moongate.scan.voices.choir import Asked  # noqa: PLC0415
    from moongate.scan.voices.hearing import Hearing, installed  # noqa: PLC0415
    from moongate.scan.voices.voice import VoiceAbsent, is_here  # noqa: PLC0415

    words = [word for word in stock.settings.scanners if word != "none"]
    voices = installed() if "installed" in words else []
    try:
        named = [Asked.parse(word) for word in words if word not in ("installed", "yara")]
        asked = list(dict.fromkeys([*voices, *named]))
        if "yara" in words and not is_here("yara"):
            raise VoiceAbsent("the package of yara is not installed (pip install 'moongate[scanners]')")
        if not is_here("yara") or not {"installed", "yara"} & set(words):
            return Hearing(asked)
        return Hearing(asked, RuleFile(stock.index, stock.layout.home / "rules").now)
    except (VoiceAbsent, BadRequest) as error:
        message = error.message if isinstance(error, BadRequest) else str(error)
        raise BadSettings(f"scanners (MOONGATE_SCANNERS): {message}") from None


def build(settings: Settings) -> Gateway:  # noqa: PLR0915 - a list of what there is
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
    from moongate.hub.recalls import Recalls  # noqa: PLC0415
    from moongate.hub.repos import Repos  # noqa: PLC0415
    from moongate.hub.rules import HubRules  # noqa: PLC0415
    from moongate.hub.xet_files import XetFiles, XetRules  # noqa: PLC0415
    from moongate.scan.feeds.intelligence import FeedIntelligence  # noqa: PLC0415
    from moongate.scan.feeds.services import HashServices  # noqa: PLC0415
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
    audit = announced(stock, stock.audit)
    governing, changes = _governing(stock, audit)
    feeds = open_refresher(stock, audit)
    services = HashServices(stock.index, feed_opener(settings), time.time)
    intelligence = FeedIntelligence(stock.index, time.time, services)
    guarding = make_guarding(stock, metrics, governing, intelligence, hosted, changes, audit)
    _guard_answers(stock, repos, guarding)
    forget = guarding.guard.judging.forget_unproven
    fills = Fills(
        stock.layout,
        stock.blobs,
        fill_rules,
        _FillLedger(stock.index, metrics, forget),
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
        _XetLedger(stock.index, metrics, forget),
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

    recalls = Recalls(stock.index)
    recalls.refresh()
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
        identity=_identity(stock, hosted.places),
        feeds=feeds,
        services=services,
        intelligence=intelligence,
        governing=governing,
        announcing=announce_of(stock),
        guarding=guarding,
    )


def _guard_answers(stock: Stock, repos: Repos, guarding: Guarding) -> None:
    """Have repositories tell verdicts, and judge what comes in."""
    from moongate.hub.hosted.arrivals import Arrivals  # noqa: PLC0415
    from moongate.hub.security import SecurityAnswers  # noqa: PLC0415
    from moongate.store.at_rest import AtRest  # noqa: PLC0415

    judging, at_rest = guarding.guard.judging, AtRest(stock.blobs, stock.segments, stock.index)
    repos.hosted.have_judged(Arrivals(judging, guarding.gate, at_rest.read))
    if not guarding.gate.is_off:
        repos.security = SecurityAnswers(judging, stock.index)


def open_desk(stock: Stock) -> Desk:
    """Requests and waivers of a home. Usable from any thread, beside a running gateway."""
    from moongate.policy.desk import Desk  # noqa: PLC0415

    audit = announced(stock, stock.audit)
    changed, two = open_changes(stock).raise_it, stock.settings.two_approvers
    return Desk(stock.index, audit, time.time, two_persons=two, changed=changed)


def _governing(stock: Stock, audit: Audit) -> tuple[Governing, Serial]:
    """What governs a gateway, and the number that all processes of its home share."""
    from moongate.app.governing import govern  # noqa: PLC0415

    settings, changes = stock.settings, open_changes(stock)
    governing = govern(
        settings.policy,
        stock.index,
        audit,
        two_persons=settings.two_approvers,
        changes=lambda: changes.value,
        changed=changes.raise_it,
    )
    return governing, changes


def open_changes(stock: Stock) -> Serial:
    """The number that says to all processes of a home that something may pass no longer, or now may."""
    from moongate.store.serial import Serial  # noqa: PLC0415

    return Serial(stock.layout.home / "guard.serial")


def announced(stock: Stock, audit: Audit) -> Audit:
    """An audit log whose events are kept for webhooks, too."""
    from moongate.policy.announcing import AnnouncingAudit, Outbox  # noqa: PLC0415

    return AnnouncingAudit(audit, Outbox(stock.index, _source(stock.settings)))


@dataclass(frozen=True, slots=True)
class Announcing:
    """What brings events to webhooks, and what administrators do with those. Belongs to an event loop."""

    courier: Courier
    hooks: Hooks
    poster: Poster

    async def close(self) -> None:
        await self.courier.stop()
        await self.poster.close()


def announce_of(stock: Stock) -> Announcing:
    """The webhooks of a home. Nothing is sent before the courier is started."""
    from moongate.app.hooks import Hooks  # noqa: PLC0415
    from moongate.policy.courier import Courier  # noqa: PLC0415
    from moongate.upstream.posting import Poster  # noqa: PLC0415

    settings = stock.settings
    poster = Poster(settings.webhook_allowed_hosts, settings.upstream_timeout_seconds, USER_AGENT)
    courier = Courier(stock.index, poster)
    hooks = Hooks(stock.index, courier, poster.check, _source(settings), stock.audit)
    return Announcing(courier, hooks, poster)


def _source(settings: Settings) -> str:
    return settings.public_url or f"http://{settings.host}:{settings.port}"


def _identity(stock: Stock, places: Places) -> Identity:
    """Who is who."""
    from moongate.app.id_token_callers import IdTokenCallers  # noqa: PLC0415
    from moongate.app.identity import Identity  # noqa: PLC0415
    from moongate.app.last_used import LastUsed  # noqa: PLC0415
    from moongate.app.sessions import Sessions  # noqa: PLC0415
    from moongate.hub.devices import Devices  # noqa: PLC0415
    from moongate.hub.issuers import Issuers  # noqa: PLC0415
    from moongate.hub.people import People  # noqa: PLC0415
    from moongate.hub.sign_ins import SignIns  # noqa: PLC0415
    from moongate.hub.standing import Standing  # noqa: PLC0415
    from moongate.hub.trusts import Trusts  # noqa: PLC0415
    from moongate.upstream.issuer import IssuerClient  # noqa: PLC0415

    settings, index = stock.settings, stock.index
    standing = Standing(index, time.time, settings.sign_in_role)
    client = IssuerClient(settings.upstream_timeout_seconds, USER_AGENT)
    issuers = Issuers(client, time.time)
    trusts = Trusts(index, issuers, time.time)
    sign_ins = None
    if settings.oidc_issuer is not None:
        sign_ins = SignIns(_sign_in_rules(settings), issuers, index, time.time, places.hosts_namespace)
    return Identity(
        standing,
        Sessions(index, settings.session_seconds),
        LastUsed(index),
        People(index, standing, places, time.time),
        trusts,
        IdTokenCallers(trusts, standing),
        Devices(index, time.time),
        sign_ins,
        client,
    )


def _sign_in_rules(settings: Settings) -> SignInRules:
    """Where people sign in, and how.

    Raises:
        BadRequest: something is missing.
    """
    from moongate.core.callers import Secret  # noqa: PLC0415
    from moongate.hub.sign_ins import SignInRules, check_rules  # noqa: PLC0415
    from moongate.wire.oidc import check_issuer  # noqa: PLC0415

    secret = settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else ""
    rules = SignInRules(
        check_issuer(settings.oidc_issuer or ""),
        settings.oidc_client_id,
        Secret(secret) if secret else None,
        settings.oidc_user_claim,
        settings.oidc_groups_claim,
    )
    check_rules(rules)
    return rules


def open_refresher(stock: Stock, audit: Audit) -> Refresher:
    """What fetches feeds of threat intelligence. Belongs to one event loop."""
    from moongate.scan.feeds.refreshing import Refresher  # noqa: PLC0415

    changed = open_changes(stock).raise_it
    return Refresher(stock.index, feed_opener(stock.settings), audit, time.time, changed)


def open_intelligence(stock: Stock) -> FeedIntelligence:
    """What feeds and earlier answers say; asks nobody. Usable from any thread."""
    from moongate.scan.feeds.intelligence import FeedIntelligence  # noqa: PLC0415

    return FeedIntelligence(stock.index, time.time)


def open_vouching(stock: Stock) -> Vouching:
    """Who vouches for what is kept. Usable from any thread."""
    from moongate.core.spans import ByteSpan  # noqa: PLC0415
    from moongate.policy.provenance.keys import PrivateKey, Trust  # noqa: PLC0415
    from moongate.policy.provenance.model_signing import MAX_BUNDLE_BYTES  # noqa: PLC0415
    from moongate.policy.provenance.vouching import Vouching  # noqa: PLC0415
    from moongate.store.at_rest import AtRest  # noqa: PLC0415

    settings, at_rest = stock.settings, AtRest(stock.blobs, stock.segments, stock.index)

    def read(entry: FileEntry) -> bytes | None:
        if entry.size_bytes > MAX_BUNDLE_BYTES:
            return None
        try:
            return at_rest.read(entry.etag, ByteSpan(0, entry.size_bytes))
        except StoreError:
            return None

    def trust() -> Trust:
        believed = Trust.read(settings.trusted_signers or settings.home / "signers")
        own = settings.home / SIGNING_KEY
        if own.exists():
            believed = replace(believed, keys=(*believed.keys, PrivateKey.read(own).public))
        return believed

    return Vouching(stock.index, read, trust, time.time)


def commit_facts(stock: Stock, repo: RepoId, commit_hash: CommitHash, *, hosted: bool) -> CommitFacts:
    """Everything known of a commit.

    Raises:
        Absent: nothing is known here of it.
    """
    settings = stock.settings
    base = (settings.public_url or f"http://localhost:{settings.port}") if hosted else settings.upstream
    key = f"{repo.repo_type}s/{repo.repo_id}"
    approvals = [
        {"id": one.id, "scope": one.scope, "lifts": one.lifts, "by": one.created_by, "at": one.created_at,
         "expires_at": one.expires_at, "comment": one.comment}
        for one in stock.index.waivers()
        if one.repo == key
    ]  # fmt: skip
    return open_vouching(stock).facts(
        repo,
        commit_hash,
        origin=f"{base}{repo.file_path}/tree/{commit_hash}",
        hosted=hosted,
        approvals=approvals,
        deliveries=deliveries_of(stock, repo),
    )


def deliveries_of(stock: Stock, repo: RepoId) -> list[dict[str, object]]:
    """Who received files of a repository, by the audit log: the newest thousand, the newest first."""
    from moongate.store.index.audit import AuditSearch  # noqa: PLC0415

    wanted = AuditSearch(kind="file.deliver", repo=f"{repo.repo_type}s/{repo.repo_id}")
    rows = stock.index.search_audit(wanted, 1 << 62, 1000)
    return [{"line": row.seq, "at": row.at, "actor": row.actor, "digest": row.digest} for row in rows]


SIGNING_KEY = "moongate-signing.pem"


def feed_opener(settings: Settings) -> OpenFetch:
    """Opens what fetches a feed: over HTTP behind a guard of its own, or from this machine."""
    from moongate.scan.feeds.options import is_remote  # noqa: PLC0415
    from moongate.upstream.feeds import FeedFetcher, FileFetcher, credential_of, read_key  # noqa: PLC0415

    def open_fetch(feed: FeedRow, options: FeedOptions) -> FeedFetcher | FileFetcher:
        if not is_remote(feed.url):
            return FileFetcher(feed.url, options.max_bytes)
        credential = None
        if options.key:
            header = options.header or ("x-apikey" if feed.kind in _BY_API_KEY else "Authorization")
            credential = credential_of(header, options.user, read_key(options.key))
        return FeedFetcher(
            feed.url,
            allowed_hosts=options.allowed_hosts,
            credential=credential,
            max_bytes=options.max_bytes,
            timeout_seconds=settings.upstream_timeout_seconds,
            user_agent=USER_AGENT,
            offline=settings.offline,
        )

    return open_fetch


_BY_API_KEY = ("virustotal", "gti-list")


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
    from moongate.app.admin_routes import AdminRoutes  # noqa: PLC0415 - a gateway without HTTP needs none of it
    from moongate.app.auditing import Auditing  # noqa: PLC0415
    from moongate.app.connection import FrontDoor  # noqa: PLC0415
    from moongate.app.file_routes import FileRoutes  # noqa: PLC0415
    from moongate.app.front import Rooms, dispatcher  # noqa: PLC0415
    from moongate.app.git_routes import GitRoutes  # noqa: PLC0415
    from moongate.app.health import Health  # noqa: PLC0415
    from moongate.app.hub_routes import HubRoutes  # noqa: PLC0415
    from moongate.app.lane import FastLane  # noqa: PLC0415
    from moongate.app.ollama_routes import OllamaRoutes  # noqa: PLC0415
    from moongate.app.pages.table import make_pages  # noqa: PLC0415
    from moongate.app.passing import Passing  # noqa: PLC0415
    from moongate.app.request_log import RequestLog  # noqa: PLC0415
    from moongate.app.sendfile import FileSender  # noqa: PLC0415
    from moongate.app.shared_secret import shared_secret  # noqa: PLC0415
    from moongate.app.xet_routes import XetHeaders  # noqa: PLC0415
    from moongate.store.journals import Journal  # noqa: PLC0415

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
    xet, cas = _xet_rooms(gateway, door, sender)
    hosting = _hosted_rooms(gateway, door, xet)
    admin = AdminRoutes(gateway, door)
    seen = make_pages(gateway, door, files, shared_secret(settings.home))
    login, oauth = _ways_in(gateway, door, seen.pages)
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
        data=_data_lane(gateway),
        auditing=auditing,
        recalls=gateway.recalls,
    )
    server = FrontDoor(dispatch, lane, settings.client_timeout_seconds, dispatch.note, seen.live.stop)
    return Front(server, sender, request_log, dispatch, admin.operations, auditing)


def _ways_in(gateway: Gateway, door: Door, pages: Pages) -> tuple[LoginRoutes, OAuthRoutes]:
    """Where people and workloads get sessions and tokens."""
    from moongate.app.login_routes import LoginRoutes  # noqa: PLC0415
    from moongate.app.oauth_routes import DeviceRules, OAuthRoutes  # noqa: PLC0415
    from moongate.app.shared_secret import shared_secret  # noqa: PLC0415

    who, audit, settings = gateway.identity, gateway.audit, gateway.settings
    secret = shared_secret(settings.home)
    rules = DeviceRules(who.sign_ins is not None, settings.token_max_seconds or DEVICE_TOKEN_SECONDS)
    return (
        LoginRoutes(who.sign_ins, who.sessions, who.devices, door, audit, secret, pages.show),
        OAuthRoutes(who.trusts, who.devices, gateway.index, door, audit, rules),
    )


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
    from moongate.hub.guarded_xet import XetGuard  # noqa: PLC0415
    from moongate.hub.hosted.xet_access import XetAccess  # noqa: PLC0415
    from moongate.hub.hosted.xet_uploads import XetUploads  # noqa: PLC0415
    from moongate.hub.xet_made import XetService  # noqa: PLC0415

    secret = shared_secret(gateway.settings.home)
    tokens = XetTokens(secret, door.still_good)
    addresses = DataAddresses(secret)
    files = FilesByXet(gateway.index, gateway.repos, gateway.recalls)
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
        guard=XetGuard(gateway.guarding.guard, gateway.content, gateway.xets),
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
    data = XorbRoutes(
        service,
        sender,
        gateway.offers,
        gateway.metrics,
        addresses,
        gateway.recalls,
        gateway.guarding.guard,
    )
    ways = XetRoutes(
        gateway.repos, files, tokens, gateway.offers, access, base_url=door.base_url, pass_of=door.pass_of
    )
    return ways, cas_handler(questions, writes, data)


def _data_lane(gateway: Gateway) -> DataLane:
    """Data of proven files, past the rooms that answer for all of it."""
    from moongate.app.data_addresses import DataAddresses  # noqa: PLC0415
    from moongate.app.data_lane import DataLane  # noqa: PLC0415
    from moongate.app.shared_secret import shared_secret  # noqa: PLC0415
    from moongate.hub.chunks_at_hand import ChunksAtHand  # noqa: PLC0415

    addresses = DataAddresses(shared_secret(gateway.settings.home))
    return DataLane(
        addresses,
        ChunksAtHand(gateway.xets),
        may_flow=gateway.guarding.guard.may_flow,
        anything_recalled=lambda: not gateway.recalls.is_idle,
    )


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

    door = Door(
        gateway.index,
        rules,
        identity,
        stands=gateway.identity.standing,
        sessions=gateway.identity.sessions,
        last_used=gateway.identity.last_used,
        id_tokens=gateway.identity.id_tokens,
    )
    others_may = settings.upstream_orgs or settings.oidc_issuer or gateway.index.trusts()
    if not door.is_open and not others_may and not gateway.index.any_token(time.time()):
        raise DoorHasNoKey(settings.host)
    return door


class _FillLedger:
    """Writes down what fills do: counters, new blobs, failures. Called from worker threads."""

    def __init__(self, index: Index, metrics: Metrics, forget: Callable[[Etag], None]) -> None:
        """forget: called for content whose bytes turned out to be others."""
        self._index = index
        self._metrics = metrics
        self._forget = forget

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
        _forget_wrong(self._forget, etag, error)
        _record_failure(self._index, etag, error)


class _XetLedger:
    """Writes down what the fills of Xet files do. Called from worker threads."""

    def __init__(self, index: Index, metrics: Metrics, forget: Callable[[Etag], None]) -> None:
        """forget: called for content whose bytes turned out to be others."""
        self._index = index
        self._metrics = metrics
        self._forget = forget

    def fetched(self, count: int) -> None:
        self._metrics.xet_fetched(count)

    def retried(self, error: UpstreamError) -> None:
        self._metrics.asked_again(type(error).__name__)

    def proven(self, file_id: str, etag: Etag, size_bytes: int, seconds: float) -> None:
        self._metrics.xet_proven(seconds)

    def failed(self, file_id: str, etag: Etag, error: MoongateError) -> None:
        self._metrics.xet_failed(type(error).__name__)
        log.warning("xet fill failed", file=file_id, etag=etag, kind=type(error).__name__, why=error.message)
        _forget_wrong(self._forget, etag, error)
        _record_failure(self._index, etag, error)

    def fell_back(self, etag: Etag, error: MoongateError) -> None:
        self._metrics.xet_fell_back(type(error).__name__)
        log.warning("read on without the CAS", etag=etag, kind=type(error).__name__, why=error.message)


def _forget_wrong(forget: Callable[[Etag], None], etag: Etag, error: MoongateError) -> None:
    """What was said of bytes that were not the content's is worth nothing."""
    if isinstance(error, VerificationFailed):
        try:
            forget(etag)
        except StoreError as trouble:
            log.warning("a verdict was not forgotten", etag=etag, why=trouble.message)


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
