"""What the demo shows, in order. A later capability appends its step.

A step does one thing, checks by itself that it went as told, and returns what it measured; it raises
`CommandFailed` when it did not.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from moongate.cli.demo.model import (
    EVIL_REPO,
    EVIL_WEIGHTS,
    OWN_REPO,
    REPO,
    TUNED_REPO,
    WEIGHTS,
    own_fine_tune,
)
from moongate.cli.demo.pulls import pull, push, refused_pull
from moongate.cli.demo.stage import Stage
from moongate.cli.exits import CommandFailed
from moongate.cli.terminal import size

_READ_BYTES = 1 << 20
# What upstream may send beside content: info and listings of one small repository.
_METADATA_BYTES = 256 << 10
# What clients ask of a Hub whatever they do, such as for its list of agents.
_CHATTER_BYTES = 512
# Through Xet, weights travel compressed: less than their size, and never so little.
_LEAST_SHARE = 0.7
# Of the fine-tune, 2.6 % is new; whole chunks of it and what describes them come to a little more.
_NEW_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Kept:
    """Files as clients see them, and what the gateway's disk holds for them."""

    logical_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step measured. `upstream_bytes` is None once there is no upstream that could send any.
    `checked` is what arrived with the right sha256; `kept` is what lies on disk now, or what a push added to
    it, where that is told."""

    seconds: float
    received_bytes: int
    upstream_bytes: int | None
    checked: str
    kept: Kept | None = None
    how: Literal["pulled", "pushed", "refused"] = "pulled"
    reason: str = ""
    """Why it was refused, as the client was told."""


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
    if not _LEAST_SHARE * stage.model.weights_bytes <= sent <= most:
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


def pull_fine_tune(stage: Stage) -> Outcome:
    """A fine-tune of a model that is here: what it shares with it comes from here, and is kept once."""
    before, stored = stage.upstream_bytes(), stage.stored_bytes()
    pulled = pull(TUNED_REPO, stage.gateway_url, stage.empty_cache(), stage.tuned.sha256)
    sent, grown = stage.upstream_bytes() - before, stage.stored_bytes() - stored
    most = int(_NEW_SHARE * pulled.size_bytes)
    if sent > most:
        raise CommandFailed(f"upstream sent {size(sent)} for a fine-tune: more than what is new in it")
    # A client without hf_xet reads whole files, which are kept as such for the next one.
    if importlib.util.find_spec("hf_xet") is not None and grown > most:
        raise CommandFailed(f"a fine-tune took {size(grown)} of disk: more than what is new in it")
    kept = Kept(stage.model.size_bytes + pulled.size_bytes, stored + grown)
    return Outcome(pulled.seconds, pulled.size_bytes, sent, f"{pulled.files} files", kept)


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


def push_own(stage: Stage) -> Outcome:
    """A fine-tune of the company's own is pushed to a hosted repository: upstream hears nothing of it."""
    own = own_fine_tune(stage.model, stage.folder / "own")
    before, stored = stage.upstream_bytes(), stage.stored_bytes()
    alice = stage.token("alice", "write")
    seconds = push(OWN_REPO, own.folder, stage.gateway_url, stage.empty_cache(), alice)
    sent, grown = stage.upstream_bytes() - before, stage.stored_bytes() - stored
    if sent > _CHATTER_BYTES:
        raise CommandFailed(f"upstream sent {size(sent)} while a hosted repository was pushed to")
    stage.own = own
    kept = Kept(own.size_bytes, grown)
    return Outcome(seconds, own.size_bytes, sent, f"{len(own.sha256)} files", kept, "pushed")


def pull_own(stage: Stage) -> Outcome:
    """Another user pulls it; and what it was made from is known by the exact commit."""
    if stage.own is None:
        raise CommandFailed("nothing was pushed")
    before = stage.upstream_bytes()
    expected = {name: digest for name, digest in stage.own.sha256.items() if name != ".gitattributes"}
    bob = stage.token("bob", "read")
    pulled = pull(OWN_REPO, stage.gateway_url, stage.empty_cache(), expected, bob)
    sent = stage.upstream_bytes() - before
    if sent > _CHATTER_BYTES:
        raise CommandFailed(f"upstream sent {size(sent)} while a hosted repository was pulled")
    made_from = stage.moongate("show", OWN_REPO, "--json")["made_from"]
    base = stage.moongate("show", REPO, "--json")["commit_hash"]
    if [(one["repo"], one["commit_hash"]) for one in made_from] != [(REPO, base)]:
        raise CommandFailed(f"it was made from {REPO} at {base}, and `moongate show` says {made_from}")
    return Outcome(pulled.seconds, pulled.size_bytes, sent, f"{pulled.files} files")


def pull_backdoored(stage: Stage) -> Outcome:
    """A model whose weights would run a command: no byte of them reaches the client, and it is told why."""
    before = stage.upstream_bytes()
    seconds, reason = refused_pull(EVIL_REPO, EVIL_WEIGHTS, stage.gateway_url, stage.empty_cache())
    sent = stage.upstream_bytes() - before
    return Outcome(seconds, 0, sent, "refused", how="refused", reason=reason)


def pull_without_upstream(stage: Stage) -> Outcome:
    """Upstream is gone, the branch is stale, the client's cache is empty: the pull works all the same."""
    stage.stop_upstream()
    pulled = pull(REPO, stage.gateway_url, stage.empty_cache(), stage.model.sha256)
    return Outcome(pulled.seconds, pulled.size_bytes, None, f"{pulled.files} files")


STEPS: Sequence[Step] = (
    Step("cold", "hf, cold", pull_cold),
    Step("warm", "hf, warm", pull_warm),
    Step("fine-tune", "hf, a fine-tune", pull_fine_tune),
    Step("plain", "plain GET, warm", read_plainly),
    Step("push", "hf upload, our own", push_own),
    Step("pull-own", "hf, by another user", pull_own),
    Step("backdoored", "hf, a backdoored one", pull_backdoored),
    Step("upstream-stopped", "hf, no upstream", pull_without_upstream),
)
