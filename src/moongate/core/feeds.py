"""Feeds of threat intelligence, as values: what one is, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

FeedKind: TypeAlias = Literal["hashes", "stix", "taxii", "misp", "osv", "yara", "gti-list", "virustotal"]

FEED_KINDS: Final[dict[FeedKind, str]] = {
    "hashes": "a list of hashes, repositories and authors, as CSV or plain text",
    "stix": "one STIX 2.1 bundle",
    "taxii": "a collection of a TAXII 2.1 server",
    "misp": "a MISP feed: a folder with manifest.json, events and hashes.csv",
    "osv": "the advisories of one ecosystem, an all.zip of OSV",
    "yara": "YARA rules",
    "gti-list": "an hourly threat list of Google Threat Intelligence",
    "virustotal": "a service that is asked about one hash at a time (VirusTotal v3)",
}


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One configured feed.

    url: http(s), or a path on the gateway's machine.
    options: see `scan.feeds.options`.
    state: what the last fetch left for the next one: validators, cursors, the digest of what it held.
    generation: which of the generations of its entries counts; 0: none yet.
    held_generation: one that is fetched and waits for approval, with `held_why`.
    fetched_at: when its content was last known to be current; None: never.
    trouble: why the last try failed; empty when it did not.
    """

    name: str
    kind: FeedKind
    url: str
    added_at: float
    options: Mapping[str, object] = field(default_factory=dict)
    state: Mapping[str, object] = field(default_factory=dict)
    generation: int = 0
    held_generation: int | None = None
    held_why: str = ""
    fetched_at: float | None = None
    tried_at: float | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Advisory:
    """One advisory about one package of one ecosystem. `told` is what is needed to tell which versions."""

    ecosystem: str
    package: str
    id: str
    told: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service said of a hash; `told` None: it does not know it."""

    service: str
    sha256: str
    told: Mapping[str, object] | None
    asked_at: float
    fresh_until: float
