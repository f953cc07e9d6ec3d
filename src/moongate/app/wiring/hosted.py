"""The repositories that live in a home."""

from __future__ import annotations

import time
from collections.abc import Callable

from moongate.app.wiring.stock import Stock
from moongate.core.records import FileEntry
from moongate.hub.hosted.contents import Contents, PublicUpstream
from moongate.hub.hosted.repos import HostedRepos
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.offers import XetOffers
from moongate.store.at_rest import AtRest
from moongate.store.claims import Claims


def open_hosted(
    stock: Stock, make_room: Callable[[int], None] | None = None, offers: XetOffers | None = None
) -> HostedRepos:
    """The repositories that live in a home. Usable from any thread."""

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


def _no_room_needed(incoming_bytes: int) -> None:
    """For who takes nothing in."""


def _never(entry: FileEntry) -> bool:
    return False
