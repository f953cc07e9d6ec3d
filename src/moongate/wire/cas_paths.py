"""Which question a path below our CAS asks, in the spelling of every generation of Xet clients.

    [/v2 | /v1]/reconstructions/{file}   a file's terms, and where their chunks are; also `/reconstruction/…`
    [/v1]/reconstructions                the same for several files: POST, or GET with `file_id=…`
    [/v1]/xorbs/{prefix}/{xorb}          also `/xorb/…`; HEAD tells its length, POST uploads it
    [/v1]/chunks/{prefix}/{chunk}        also `/chunk/…`; who has this chunk?
    [/v1]/files/{file}                   HEAD tells its length
    [/v1]/telemetry
    /data/{xorb}/{file}?…                chunks, at an address that we signed (`wire.data_urls`)

Anything else is none of ours: a model may live in a namespace `cas`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from moongate.wire.xet_words import CAS_PREFIX

Version = Literal[1, 2]

_HASH = re.compile(r"[0-9a-f]{64}")
_UPLOADS = frozenset(("xorb-grants", "xorb-commits", "shards", "shard", "file-chunk-hashes"))


@dataclass(frozen=True, slots=True)
class OneFile:
    """The reconstruction of one file, in the words of this version."""

    file_id: str
    version: Version


@dataclass(frozen=True, slots=True)
class SeveralFiles:
    """The reconstructions of the files that the query or the body names."""


@dataclass(frozen=True, slots=True)
class WholeXorb:
    """A xorb by its hash; is it there, and how long is it?"""

    xorb: str


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file by its id; is it there, and how long is it?"""

    file_id: str


@dataclass(frozen=True, slots=True)
class ChunkQuery:
    """Which xorb has this chunk?"""

    chunk: str


@dataclass(frozen=True, slots=True)
class Data:
    """Chunks of a xorb, for a file that needs them."""

    xorb: str
    file_id: str


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a client has to tell about its transfers."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Something that clients do when they write; `word` is the route's name."""

    word: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A question of ours about something that is no hash."""


Question = OneFile | SeveralFiles | WholeXorb | WholeFile | ChunkQuery | Telemetry | Upload | Malformed
CasRoute = Question | Data


def parse_cas_path(path: str) -> CasRoute | None:
    """The question that a raw path below `CAS_PREFIX` asks; None when it is none of the CAS's."""
    segments = path.removeprefix(CAS_PREFIX).strip("/").split("/")
    if segments[0] == "data" and len(segments) == 3:
        return _hashed(Data(segments[1], segments[2]), *segments[1:])
    version: Version = 2 if segments[0] == "v2" else 1
    versioned = segments[0] in ("v1", "v2")
    match segments[1:] if versioned else segments:
        case ["reconstructions" | "reconstruction", file_id]:
            return _hashed(OneFile(file_id, version), file_id)
        case ["reconstructions"]:
            return SeveralFiles()
        case ["xorbs" | "xorb", _, xorb]:
            return _hashed(WholeXorb(xorb), xorb)
        case ["files", file_id]:
            return _hashed(WholeFile(file_id), file_id)
        case ["chunks" | "chunk", _, chunk]:
            return _hashed(ChunkQuery(chunk), chunk)
        case ["telemetry"]:
            return Telemetry()
        case [word, *rest] if word in _UPLOADS and (versioned or len(rest) in (0, 2)):
            return Upload(word)
        case _:
            return None


def _hashed(route: CasRoute, *hashes: str) -> CasRoute | None:
    """The route, when what should be hashes are; `resolve` or a name in their place is a model's address."""
    if all(_HASH.fullmatch(text) for text in hashes):
        return route
    return Malformed() if all(len(text) == 64 for text in hashes) else None
