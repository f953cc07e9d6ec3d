"""What is asked before a commit or push lands, and noted after it did, whatever way it came.

admit    the namespace has room for its contents, and its README may stand
judge    what it brings was looked at, and may be here
landed   what it was made from is written down, and what it says of itself is worked out
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from moongate.core.callers import Caller
from moongate.core.errors import StoreError
from moongate.core.names import CommitHash
from moongate.hub.hosted.arrivals import Arrivals
from moongate.hub.hosted.cards import Cards, refuse_bad_card
from moongate.hub.hosted.lineage import Lineage
from moongate.hub.hosted.listings import HostedListings
from moongate.hub.hosted.quotas import Quotas
from moongate.store.index import HostedBlob, HostedRow

log = structlog.get_logger("moongate.hosted")


class Landings:
    """Rules around landing. Any thread; blocks."""

    def __init__(self, quotas: Quotas, cards: Cards, lineage: Lineage, listings: HostedListings) -> None:
        self._quotas = quotas
        self._cards = cards
        self._lineage = lineage
        self.listings = listings
        self.arrivals: Arrivals | None = None
        """Judges what comes in; None: nobody does."""

    def judge(self, row: HostedRow, caller: Caller, files: Iterable[tuple[str, HostedBlob]]) -> None:
        """Return when these files, by path, may land as far as their content goes.

        Raises:
            RefusedByPolicy, HeldByPolicy: one of them may not.
        """
        if self.arrivals is not None:
            self.arrivals.admit(row.repo, caller, files)

    def may_administer(self, row: HostedRow, caller: Caller) -> None:
        """See `Arrivals.may_administer`."""
        if self.arrivals is not None:
            self.arrivals.may_administer(row.repo, caller)

    def admit(
        self, row: HostedRow, blobs: Iterable[HostedBlob], readme: Callable[[], bytes | None] = lambda: None
    ) -> None:
        """Return when these contents may be added. `readme`: the README it brings; None: it brings none.

        Raises:
            QuotaExceeded: the namespace has no room for them.
            BadRequest: the README's metadata is not what the Hub takes.
        """
        self._quotas.admit(row.repo.namespace, {blob.etag: blob.size_bytes for blob in blobs})
        text = readme()
        if text is not None:
            refuse_bad_card(text, row.repo.repo_type)

    def landed(self, row: HostedRow, commit_hash: CommitHash, parent: CommitHash | None) -> None:
        """Note what a commit that is there now was made from. It never fails: the commit stands."""
        try:
            facts = self._cards.facts(row, commit_hash, lambda: self.listings.files(row, commit_hash))
            self._lineage.note(row, commit_hash, parent, facts)
        except StoreError as error:
            log.warning("lineage not noted", repo=str(row.repo), commit=commit_hash, why=error.message)
