"""Hosted repositories over a store, without a gateway."""

from __future__ import annotations

import time
from collections.abc import Callable

from moongate.hub.hosted.contents import Contents
from moongate.hub.hosted.repos import HostedRepos
from moongate.hub.hosted.rules import HostedRules
from moongate.store.at_rest import AtRest
from moongate.store.blobs import Blobs
from moongate.store.claims import Claims
from moongate.store.index import Index
from moongate.store.layout import Layout
from moongate.store.segments import Segments


def hosted_over(
    layout: Layout, index: Index, rules: HostedRules, clock: Callable[[], float] = time.time
) -> HostedRepos:
    """What lives in a store that is there."""
    blobs = Blobs(layout)
    contents = Contents(blobs, Claims(layout), index, lambda incoming_bytes: None, clock)
    at_rest = AtRest(blobs, Segments(layout), index)
    return HostedRepos(index, contents, at_rest, rules, offered=lambda entry: True, clock=clock)
