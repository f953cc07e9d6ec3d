"""Feeds of threat intelligence, as the dashboard shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moongate.app.admin.feeds import feeds_now
from moongate.web.security_views import FeedLine

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway


def feed_lines(gateway: Gateway) -> Sequence[FeedLine]:
    """Every feed, by name. Blocks."""
    return [
        FeedLine(
            name=feed.name,
            kind=feed.kind,
            refreshed_at=feed.fetched_at,
            entries=feed.indicators + feed.advisories + feed.rules,
            trouble=feed.trouble or feed.held or ("out of date" if feed.stale else ""),
        )
        for feed in feeds_now(gateway.index).feeds
    ]
