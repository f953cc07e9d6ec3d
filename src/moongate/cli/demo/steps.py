"""What the demo shows, in order. A later capability appends its step.

A step does one thing, checks by itself that it went as told, and returns what it measured; it raises
`CommandFailed` when it did not.
"""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from moongate.cli.demo.model import REPO, WEIGHTS
from moongate.cli.demo.pulls import pull
from moongate.cli.demo.stage import Stage
from moongate.cli.exits import CommandFailed
from moongate.cli.terminal import size

_READ_BYTES = 1 << 20
# What upstream may send beside content: info and listings of one small repository.
_METADATA_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step measured. `upstream_bytes` is None once there is no upstream that could send any.
    `checked` is what arrived with the right sha256."""

    seconds: float
    received_bytes: int
    upstream_bytes: int | None
    checked: str


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the demo's table."""

    name: str
    title: str
    run: Callable[[Stage], Outcome]


def pull_cold(stage: Stage) -> Outcome:
    """The first pull ever: every byte comes from upstream, once, and passes through while it is kept."""
    before = stage.upstream_bytes()
    pulled = pull(REPO, stage.gateway_url, stage.empty_cache(), stage.model.sha256)
    sent = stage.upstream_bytes() - before
    most = stage.model.size_bytes + _METADATA_BYTES
    if not stage.model.weights_bytes <= sent <= most:
        raise CommandFailed(
            f"upstream sent {size(sent)} for a model of {size(stage.model.size_bytes)}: not one copy of it"
        )
    return Outcome(pulled.seconds, pulled.size_bytes, sent, f"{pulled.files} files")


def pull_warm(stage: Stage) -> Outcome:
    """Another client, another empty cache: no content comes from upstream."""
    before = stage.upstream_bytes()
    pulled = pull(REPO, stage.gateway_url, stage.empty_cache(), stage.model.sha256)
    sent = stage.upstream_bytes() - before
    if sent > _METADATA_BYTES:
        raise CommandFailed(f"upstream sent {size(sent)} although everything was kept here")
    return Outcome(pulled.seconds, pulled.size_bytes, sent, f"{pulled.files} files")


def read_plainly(stage: Stage) -> Outcome:
    """The weights by one plain GET, as fast as one connection reads them: no client's own work in it."""
    before = stage.upstream_bytes()
    parts = urlsplit(stage.gateway_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    pieces: list[bytes] = []
    started = time.monotonic()
    try:
        connection.request("GET", f"/{REPO}/resolve/main/{WEIGHTS}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise CommandFailed(f"a plain GET of {WEIGHTS} was answered {answer.status}")
        while piece := answer.read(_READ_BYTES):
            pieces.append(piece)
    except (OSError, http.client.HTTPException) as error:
        raise CommandFailed(f"a plain GET of {WEIGHTS} failed: {error}") from None
    finally:
        connection.close()
    seconds = time.monotonic() - started
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    if hasher.hexdigest() != stage.model.sha256[WEIGHTS]:
        raise CommandFailed(f"a plain GET of {WEIGHTS} brought other bytes")
    sent = stage.upstream_bytes() - before
    if sent > _METADATA_BYTES:
        raise CommandFailed(f"upstream sent {size(sent)} although everything was kept here")
    return Outcome(seconds, sum(map(len, pieces)), sent, "1 file")


def pull_without_upstream(stage: Stage) -> Outcome:
    """Upstream is gone, the branch is stale, the client's cache is empty: the pull works all the same."""
    stage.stop_upstream()
    pulled = pull(REPO, stage.gateway_url, stage.empty_cache(), stage.model.sha256)
    return Outcome(pulled.seconds, pulled.size_bytes, None, f"{pulled.files} files")


STEPS: Sequence[Step] = (
    Step("cold", "hf, cold", pull_cold),
    Step("warm", "hf, warm", pull_warm),
    Step("plain", "plain GET, warm", read_plainly),
    Step("upstream-stopped", "hf, no upstream", pull_without_upstream),
)
