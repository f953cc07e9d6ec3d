"""What stands before content: scanners, verdicts, the gate, and what a gate knows of a question."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from moongate.app.governing import Governing
from moongate.app.metrics import Metrics
from moongate.app.settings import BadSettings
from moongate.app.wiring.hosted import open_hosted
from moongate.app.wiring.intelligence import open_intelligence
from moongate.app.wiring.provenance import open_vouching
from moongate.app.wiring.stock import Stock
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, RevisionAbsent
from moongate.core.names import CommitHash, RepoId, Revision, is_commit_hash
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.core.verdicts import Finding, Judged
from moongate.hub.audit import SYSTEM, Audit, AuditEvent
from moongate.hub.guard import Guard
from moongate.hub.hosted.arrivals import Arrivals
from moongate.hub.hosted.repos import HostedRepos
from moongate.hub.intelligence import Subject
from moongate.hub.judging import Judging, standing
from moongate.hub.recalls import Recalls
from moongate.hub.rejudging import Rejudging
from moongate.hub.repos import Repos
from moongate.hub.second_opinions import SecondOpinions
from moongate.hub.security import SecurityAnswers
from moongate.policy.gate import PolicyGate
from moongate.policy.gate_facts import GateFacts
from moongate.policy.knowledge import Knowledge
from moongate.policy.lore import Lore
from moongate.policy.signatures import Signatures
from moongate.scan.feeds.intelligence import FeedIntelligence
from moongate.scan.feeds.rule_file import RuleFile
from moongate.scan.pool import Jails
from moongate.scan.voices.choir import Asked
from moongate.scan.voices.hearing import Hearing, installed
from moongate.scan.voices.voice import VoiceAbsent, is_here
from moongate.store.at_rest import AtRest
from moongate.store.index import ReconstructionRow
from moongate.store.serial import Serial

_MOST_JAILS = 4
_WARM_SECONDS = 0.5


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
    recalls: Recalls,
) -> Guarding:
    """The guard of a process. Starts no scanner yet."""

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
    return Guarding(Guard(gate, judging, opinions, recalls.refuse), gate, jails, changes, knowledge, opinions)


def _gate_facts(stock: Stock, hosted: HostedRepos, intelligence: FeedIntelligence) -> GateFacts:
    """What is known of a question."""

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


def guard_answers(stock: Stock, repos: Repos, guarding: Guarding) -> None:
    """Have repositories tell verdicts, and judge what comes in."""

    judging, at_rest = guarding.guard.judging, AtRest(stock.blobs, stock.segments, stock.index)
    repos.hosted.have_judged(Arrivals(judging, guarding.gate, at_rest.read))
    if not guarding.gate.is_off:
        repos.security = SecurityAnswers(judging, stock.index)
