"""Threat intelligence: what is known, and who fetches it."""

from __future__ import annotations

import time

from moongate.app.settings import Settings
from moongate.app.wiring.governing import open_changes
from moongate.app.wiring.names import USER_AGENT
from moongate.app.wiring.stock import Stock
from moongate.core.feeds import FeedRow
from moongate.hub.audit import Audit
from moongate.scan.feeds.intelligence import FeedIntelligence
from moongate.scan.feeds.options import FeedOptions, is_remote
from moongate.scan.feeds.refreshing import OpenFetch, Refresher
from moongate.upstream.feeds import FeedFetcher, FileFetcher, credential_of, read_key


def open_refresher(stock: Stock, audit: Audit) -> Refresher:
    """What fetches feeds of threat intelligence. Belongs to one event loop."""

    changed = open_changes(stock).raise_it
    return Refresher(stock.index, feed_opener(stock.settings), audit, time.time, changed)


def open_intelligence(stock: Stock) -> FeedIntelligence:
    """What feeds and earlier answers say; asks nobody. Usable from any thread."""

    return FeedIntelligence(stock.index, time.time)


def feed_opener(settings: Settings) -> OpenFetch:
    """Opens what fetches a feed: over HTTP behind a guard of its own, or from this machine."""

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
