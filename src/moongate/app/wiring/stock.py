"""`Stock`: what is kept in one home, for whoever needs no network and no event loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from moongate.app.wiring.names import SIGNING_KEY
from moongate.core.errors import StoreError
from moongate.hub.audit_checkpoint import Signer, exporter
from moongate.hub.audit_log import AuditLog
from moongate.store.blobs import Blobs
from moongate.store.index import Index
from moongate.store.keeping import Ages, Keeping
from moongate.store.layout import Layout
from moongate.store.segments import Segments

if TYPE_CHECKING:
    from moongate.app.settings import Settings
    from moongate.hub.audit_desk import AuditDesk
    from moongate.hub.recalling import Recalling
    from moongate.policy.provenance.keys import PrivateKey
    from moongate.policy.provenance.vouching import Vouching
    from moongate.store.keeping import Collected
    from moongate.store.signing_key import PublicKey

log = structlog.get_logger("moongate.audit")

_EXCHANGED_KEPT_SECONDS = 7 * 86400.0
"""How long exchanged tokens are listed after they ended."""

_GROUPS_SECONDS = 30 * 86400.0
"""How long groups count that an issuer told of at a sign-in, where nobody signs in again."""


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
        from moongate.hub.hosted.retention import Retention  # noqa: PLC0415 - as above
        from moongate.hub.hosted.sweeping import Sweeping  # noqa: PLC0415 - as above

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
        from moongate.hub.audit_desk import AuditDesk  # noqa: PLC0415 - only readers of the log need it

        return AuditDesk(self.index, self.audit)

    def recover_deliveries(self) -> None:
        """Has written down what processes that died were sending, and to whom; if not now, another time."""
        from moongate.app.deliveries import recover  # noqa: PLC0415 - only a gateway recovers
        from moongate.store.journals import left_behind  # noqa: PLC0415 - as above

        try:
            recover(left_behind(self.layout.journals_dir), self.audit, self.audit_desk().delivered_since)
        except StoreError as error:
            log.warning("deliveries of a process that died are not written down yet", why=error.message)

    def audit_key(self) -> PublicKey:
        """The public half of the key that checkpoints are signed with; made when there is none."""
        from moongate.store.signing_key import SigningKey  # noqa: PLC0415 - slow to import, seldom needed

        return SigningKey.of_home(self.settings.home, "audit").public

    def recalling(self) -> Recalling:
        """Where recalls are made."""
        from moongate.app.wiring.governing import announced  # noqa: PLC0415 - governing is wired on a stock
        from moongate.hub.recalling import Recalling  # noqa: PLC0415 - only recalls need it

        return Recalling(self.index, announced(self, self.audit), time.time)

    def vouching(self) -> Vouching:
        """Who vouches for what is kept."""
        from moongate.app.wiring.provenance import open_vouching  # noqa: PLC0415 - it is wired on a stock

        return open_vouching(self)

    def signing_key(self) -> PrivateKey:
        """The gateway's own key, which vouches and states; made when there is none."""
        from moongate.policy.provenance.keys import PrivateKey  # noqa: PLC0415 - slow to import, seldom needed

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
    from moongate.store.signing_key import PublicKey  # noqa: PLC0415 - slow to import, seldom needed

    return PublicKey.read(path)


def open_audit(settings: Settings, index: Index) -> AuditLog:
    """The audit log of an index. Its key is made when it first signs; usable from any thread."""

    def signer() -> Signer:
        from moongate.store.signing_key import SigningKey  # noqa: PLC0415 - slow to import, seldom needed

        return SigningKey.of_home(settings.home, "audit")

    place = settings.audit_checkpoints
    return AuditLog(index, cache(signer), export=exporter(place) if place else None)
