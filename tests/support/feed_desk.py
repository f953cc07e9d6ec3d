"""What a gateway has of threat intelligence, with a clock that tests move."""

from __future__ import annotations

from dataclasses import dataclass, field

from moongate.app.settings import Settings
from moongate.app.wiring.intelligence import feed_opener
from moongate.core.digests import Etag
from moongate.core.feeds import FeedKind, FeedRow
from moongate.hub.audit import AuditEvent, NoAudit
from moongate.scan.feeds.intelligence import FeedIntelligence
from moongate.scan.feeds.refreshing import Refresher
from moongate.scan.feeds.services import HashServices
from moongate.store.index import Index

DAY = 86400.0


class Remembered(NoAudit):
    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def recorded(self, event: AuditEvent) -> None:
        self.events.append(event)


@dataclass
class Desk:
    """What a gateway has of threat intelligence. `now` is the time."""

    index: Index
    settings: Settings
    now: float = 1_790_000_000.0
    audit: Remembered = field(default_factory=Remembered)

    def __post_init__(self) -> None:
        opener = feed_opener(self.settings)
        self.refresher = Refresher(self.index, opener, self.audit, lambda: self.now)
        self.services = HashServices(self.index, opener, lambda: self.now)
        self.intelligence = FeedIntelligence(self.index, lambda: self.now, self.services)

    def add(self, kind: FeedKind, url: str, name: str = "ours", **options: object) -> None:
        self.index.put_feed(FeedRow(name, kind, url, self.now, options))

    def feed(self, name: str = "ours") -> FeedRow:
        feed = self.index.feed(name)
        assert feed is not None
        return feed

    def keep(self, *etags: str) -> None:
        for etag in etags:
            self.index.put_blob(Etag(etag), 10, self.now)

    def knows(self, sha256: str) -> bool:
        return bool(self.index.hits("sha256", sha256, self.now))
