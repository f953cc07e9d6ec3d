"""Which question a path below our CAS asks, in the spelling of every generation of Xet clients.

    [/v2 | /v1]/reconstructions/{file}   a file's terms, and where their chunks are; also `/reconstruction/…`
    [/v1]/reconstructions                the same for several files: POST, or GET with `file_id=…`
    [/v1]/xorbs/{prefix}/{xorb}          also `/xorb/…`; HEAD tells its length, POST uploads it
    [/v1]/chunks/{prefix}/{chunk}        also `/chunk/…`; who has this chunk?
    [/v1]/files/{file}                   HEAD tells its length
    [/v1]/xorb-grants/{prefix}/{xorb}    POST: may a xorb be sent, and where to?
    [/v1]/xorb-commits/{prefix}/{xorb}/grant/{id}    POST: it was sent there
    [/v2 | /v1]/shards                   POST: files made of xorbs; also `/shard/{prefix}/{shard}`
    [/v1]/telemetry
    /data/{xorb}/{file}?…                chunks, at an address that we signed (`wire.data_urls`)
    /granted/{xorb}/{id}?…               PUT a xorb, at an address that we signed (`wire.grant_urls`)

Before any of it may stand `/~word`, which says nothing here: what clients remember of a CAS they file under
its address, and those who may not share a memory are given different ones.

Anything else is none of ours: a model may live in a namespace `cas`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from moongate.wire.xet_words import CAS_PREFIX

Version = Literal[1, 2]

_HASH = re.compile(r"[0-9a-f]{64}")
_OWNER = re.compile(r"~[A-Za-z0-9_-]{1,64}")
_GRANT = re.compile(r"[A-Za-z0-9_-]{1,128}")


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
class XorbGrant:
    """May a xorb be sent, and where to?"""

    xorb: str


@dataclass(frozen=True, slots=True)
class XorbCommit:
    """A xorb was sent to where a grant said."""

    xorb: str
    grant: str


@dataclass(frozen=True, slots=True)
class GrantedXorb:
    """A xorb that comes by a grant."""

    xorb: str
    grant: str


@dataclass(frozen=True, slots=True)
class Shard:
    """Files made of xorbs; version 2 wants to hear how it goes."""

    version: Version


@dataclass(frozen=True, slots=True)
class ChunkHashes:
    """The chunks of a file, for edits of a part of it."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A question of ours about something that is no hash."""


Question = OneFile | SeveralFiles | WholeXorb | WholeFile | ChunkHashes | Telemetry | Malformed
Write = ChunkQuery | XorbGrant | XorbCommit | GrantedXorb | Shard
CasRoute = Question | Write | Data


def parse_cas_path(path: str) -> CasRoute | None:
    """The question that a raw path below `CAS_PREFIX` asks; None when it is none of the CAS's."""
    segments = path.removeprefix(CAS_PREFIX).strip("/").split("/")
    if len(segments) > 1 and _OWNER.fullmatch(segments[0]):
        segments = segments[1:]
    if segments[0] == "data" and len(segments) == 3:
        return _hashed(Data(segments[1], segments[2]), *segments[1:])
    if segments[0] == "granted" and len(segments) == 3 and _GRANT.fullmatch(segments[2]):
        return _hashed(GrantedXorb(segments[1], segments[2]), segments[1])
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
        case ["file-chunk-hashes", file_id]:
            return _hashed(ChunkHashes(), file_id)
        case words:
            return _write(words, version)


def _write(words: list[str], version: Version) -> CasRoute | None:
    match words:
        case ["xorb-grants", _, xorb]:
            return _hashed(XorbGrant(xorb), xorb)
        case ["xorb-commits", _, xorb, "grant", grant] if _GRANT.fullmatch(grant):
            return _hashed(XorbCommit(xorb, grant), xorb)
        case ["shards"]:
            return Shard(version)
        case ["shard", _, shard]:
            return _hashed(Shard(version), shard)
        case _:
            return None


def _hashed(route: CasRoute, *hashes: str) -> CasRoute | None:
    """The route, when what should be hashes are; `resolve` or a name in their place is a model's address."""
    if all(_HASH.fullmatch(text) for text in hashes):
        return route
    return Malformed() if all(len(text) == 64 for text in hashes) else None
