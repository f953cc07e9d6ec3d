"""Answers `hub.intelligence.Intelligence` from feeds, services and the Hub's own status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from moongate.core.feeds import FeedRow
from moongate.core.hits import Hit, PackageHit
from moongate.core.verdicts import Finding
from moongate.hub.intelligence import Subject
from moongate.scan.feeds import hub_status, osv
from moongate.scan.feeds.ledger import HitLedger
from moongate.scan.feeds.services import HashServices
from moongate.scan.feeds.virustotal import Standing, finding_of

_ECOSYSTEM = "PyPI"
_LOOK_AGAIN_SECONDS = 5.0


class FeedIntelligence:
    """Everything that is known. Without `services`, `ask` is `known`."""

    def __init__(
        self, ledger: HitLedger, clock: Callable[[], float], services: HashServices | None = None
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._services = services
        self._has_services, self._looked_at = False, -_LOOK_AGAIN_SECONDS

    def feeds_version(self) -> str:
        return self._ledger.feeds_version()

    def oldest_age_seconds(self) -> float | None:
        now = self._clock()
        ages = [now - (feed.fetched_at or feed.added_at) for feed in self._feeds()]
        return max(0.0, *ages) if ages else None

    def known(self, subject: Subject) -> tuple[Finding, ...]:
        now = self._clock()
        hits: list[Hit] = []
        if subject.sha256 is not None:
            hits += self._ledger.hits("sha256", subject.sha256, now)
        if subject.md5 is not None:
            hits += self._ledger.hits("md5", subject.md5, now)
        if subject.repo is not None and not subject.hosted:
            key = f"{subject.repo.repo_type}s/{subject.repo.repo_id}".lower()
            hits += self._ledger.hits("repo", key, now)
            if subject.repo.namespace:
                hits += self._ledger.hits("author", subject.repo.namespace.lower(), now)
        found = [hit.finding(now) for hit in surest(hits)]
        found += self._from_services(subject, now)
        found += hub_status.findings_of(subject.security_status)
        return tuple(found)

    def has_services(self) -> bool:
        now = self._clock()
        if self._services is None:
            return False
        if not self._looked_at <= now < self._looked_at + _LOOK_AGAIN_SECONDS:
            self._looked_at = now
            self._has_services = any(feed.kind == "virustotal" for feed in self._ledger.feeds())
        return self._has_services

    async def ask(self, subject: Subject) -> tuple[Finding, ...]:
        if self._services is not None:
            await self._services.ask(subject)
        return self.known(subject)

    def packages(self, requirements: str) -> tuple[Finding, ...]:
        now = self._clock()
        return tuple(hit.finding(now) for hit in self.package_hits(requirements))

    def package_hits(self, requirements: str) -> list[PackageHit]:
        """Every advisory that covers what a requirements.txt wants, each once."""
        found: dict[tuple[str, str, str], PackageHit] = {}
        for name, version in osv.wanted(requirements):
            for feed, fetched_at, advisory, told in self._ledger.advisories(_ECOSYSTEM, name):
                hit = PackageHit(
                    feed,
                    fetched_at,
                    advisory,
                    name,
                    version,
                    str(told.get("summary", "")),
                    osv.fixed_in(told, version),
                    tuple(str(alias) for alias in told.get("aliases", ())),
                )
                # Without a version, an advisory about some versions says nothing of the one that comes.
                if osv.covers(told, version) and (version or hit.is_malware):
                    found.setdefault((advisory, name, version), hit)
        return list(found.values())

    def kept_and_known(self) -> Mapping[str, tuple[Finding, ...]]:
        now = self._clock()
        by_etag: dict[str, list[Hit]] = defaultdict(list)
        for etag, hit in self._ledger.kept_hits(now):
            by_etag[etag].append(hit)
        named: dict[tuple[str, str], list[Hit]] = defaultdict(list)
        for hit in self._ledger.named_hits(now):
            named[hit.indicator.kind, hit.indicator.value].append(hit)
        for key in self._ledger.repo_keys() if named else ():
            folded = key.lower()
            hits = named.get(("repo", folded), []) + named.get(("author", folded.split("/")[1]), [])
            for etag in self._ledger.etags_of_repo(key) if hits else ():
                by_etag[etag] += hits
        return {etag: tuple(hit.finding(now) for hit in surest(hits)) for etag, hits in by_etag.items()}

    def _from_services(self, subject: Subject, now: float) -> list[Finding]:
        if subject.hosted or subject.sha256 is None:
            return []
        found = []
        for feed in self._ledger.feeds():
            answer = (
                self._ledger.service_answer(feed.name, subject.sha256) if feed.kind == "virustotal" else None
            )
            if answer is not None and answer.told is not None:
                told = Standing.of(answer.told)
                found.append(finding_of(told, subject.sha256, feed.name, answer.asked_at, now))
        return [finding for finding in found if finding is not None]

    def _feeds(self) -> list[FeedRow]:
        return [feed for feed in self._ledger.feeds() if feed.kind != "virustotal"]


def surest(hits: Iterable[Hit]) -> list[Hit]:
    """Of each feed the surest statement about each value."""
    best: dict[tuple[str, str, str], Hit] = {}
    for hit in hits:
        key = (hit.feed, hit.indicator.kind, hit.indicator.value)
        if key not in best or hit.indicator.confidence > best[key].indicator.confidence:
            best[key] = hit
    return sorted(best.values(), key=lambda hit: -hit.indicator.confidence)
