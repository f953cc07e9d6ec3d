"""Reconstructions: which chunks of which xorbs make a file, and where their bytes can be fetched.

Both versions of the JSON, both directions. Chunk ranges end exclusive; byte ranges on the wire end
inclusive, and are half-open `ByteSpan`s here.

Rules of this file:
- What upstream says is checked before it is believed: lengths positive, ranges in order, a fetch range for
  every term, totals that agree.
- A whole file's terms add up to its size; `offset_into_first_range` cuts the first term of a ranged answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moongate.core.errors import BadName, UpstreamBroken
from moongate.core.spans import ByteSpan
from moongate.xet.hashes import XetHash, hash_hex, parse_hash
from moongate.xet.xorb import MAX_XORB_BYTES, MAX_XORB_CHUNKS

_MAX_TERMS: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Term:
    """Chunks `start` up to `end` of a xorb, `unpacked_bytes` long together."""

    xorb: XetHash
    unpacked_bytes: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FetchRange:
    """Chunks `start` up to `end` of a xorb lie in `span` of it, and can be had at `url`."""

    start: int
    end: int
    span: ByteSpan
    url: str


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A file, or a range of one. `offset_bytes` of the first term's unpacked bytes come before the range."""

    offset_bytes: int
    terms: tuple[Term, ...]
    fetches: Mapping[XetHash, tuple[FetchRange, ...]]

    @property
    def unpacked_bytes(self) -> int:
        """The length of all terms together; a ranged answer's offset included."""
        return sum(term.unpacked_bytes for term in self.terms)

    def fetch_of(self, term: Term) -> FetchRange:
        """The fetch range that covers a term.

        Raises:
            UpstreamBroken: there is none.
        """
        for fetch in self.fetches.get(term.xorb, ()):
            if fetch.start <= term.start and term.end <= fetch.end:
                return fetch
        raise UpstreamBroken("upstream's reconstruction has a term that cannot be fetched")


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a list of terms that overlaps a span of the file."""

    offset_bytes: int
    terms: tuple[Term, ...]


def cut_terms(terms: Sequence[Term], span: ByteSpan) -> Cut:
    """The terms that overlap `span` of the file that they make, and what to drop from the first one."""
    position, offset = 0, 0
    kept: list[Term] = []
    for term in terms:
        end = position + term.unpacked_bytes
        if end > span.start and position < span.end:
            if not kept:
                offset = span.start - position
            kept.append(term)
        position = end
        if position >= span.end:
            break
    return Cut(max(0, offset), tuple(kept))


def read_reconstruction(told: object) -> Reconstruction:
    """A reconstruction from the JSON of either version.

    Raises:
        UpstreamBroken: it makes no sense.
    """
    try:
        body = _mapping(told)
        terms = tuple(_read_term(one) for one in _list(body["terms"]))
        fetches = _read_v2(body["xorbs"]) if "xorbs" in body else _read_v1(body["fetch_info"])
        offset = _number(body["offset_into_first_range"])
    except (LookupError, TypeError, ValueError, BadName) as error:
        raise UpstreamBroken("upstream's reconstruction makes no sense") from error
    if terms and not offset < terms[0].unpacked_bytes:
        raise UpstreamBroken("upstream's reconstruction begins beyond its first term")
    answer = Reconstruction(offset, terms, fetches)
    for term in terms:
        answer.fetch_of(term)
    return answer


def write_v1(answer: Reconstruction) -> dict[str, object]:
    """The JSON of version 1: one URL a range."""
    return _head(answer) | {
        "fetch_info": {
            hash_hex(xorb): [
                {"range": _chunks(one), "url": one.url, "url_range": _bytes(one.span)} for one in fetches
            ]
            for xorb, fetches in answer.fetches.items()
        }
    }


def write_v2(answer: Reconstruction) -> dict[str, object]:
    """The JSON of version 2: ranges grouped by URL, in order of their chunks."""
    xorbs = {}
    for xorb, fetches in answer.fetches.items():
        by_url: dict[str, list[dict[str, object]]] = {}
        for one in sorted(fetches, key=lambda fetch: fetch.start):
            by_url.setdefault(one.url, []).append({"chunks": _chunks(one), "bytes": _bytes(one.span)})
        xorbs[hash_hex(xorb)] = [{"url": url, "ranges": ranges} for url, ranges in by_url.items()]
    return _head(answer) | {"xorbs": xorbs}


def _head(answer: Reconstruction) -> dict[str, object]:
    return {
        "offset_into_first_range": answer.offset_bytes,
        "terms": [
            {
                "hash": hash_hex(term.xorb),
                "unpacked_length": term.unpacked_bytes,
                "range": {"start": term.start, "end": term.end},
            }
            for term in answer.terms
        ],
    }


def _chunks(fetch: FetchRange) -> dict[str, object]:
    return {"start": fetch.start, "end": fetch.end}


def _bytes(span: ByteSpan) -> dict[str, object]:
    return {"start": span.start, "end": span.end - 1}


def _read_term(told: object) -> Term:
    body = _mapping(told)
    start, end = _range(body["range"])
    if not 0 <= start < end <= MAX_XORB_CHUNKS:
        raise ValueError("chunks")
    length = _number(body["unpacked_length"])
    if not 0 < length <= MAX_XORB_BYTES:
        raise ValueError("unpacked length")
    return Term(_hash(body["hash"]), length, start, end)


def _read_v1(told: object) -> dict[XetHash, tuple[FetchRange, ...]]:
    return {
        _hash(xorb): tuple(
            _fetch(body["range"], body["url_range"], body["url"]) for body in map(_mapping, _list(fetches))
        )
        for xorb, fetches in _mapping(told).items()
    }


def _read_v2(told: object) -> dict[XetHash, tuple[FetchRange, ...]]:
    return {
        _hash(xorb): tuple(_fetches_v2(map(_mapping, _list(entries))))
        for xorb, entries in _mapping(told).items()
    }


def _fetches_v2(entries: Iterator[Mapping[str, object]]) -> Iterator[FetchRange]:
    for entry in entries:
        for one in map(_mapping, _list(entry["ranges"])):
            yield _fetch(one["chunks"], one["bytes"], entry["url"])


def _fetch(chunks: object, span: object, url: object) -> FetchRange:
    start, end = _range(chunks)
    first, last = _range(span)
    if not isinstance(url, str) or not 0 <= start < end <= MAX_XORB_CHUNKS or not 0 <= first <= last:
        raise ValueError("fetch range")
    if last - first >= 2 * MAX_XORB_BYTES:
        raise ValueError("fetch range")
    return FetchRange(start, end, ByteSpan(first, last + 1), url)


def _range(told: object) -> tuple[int, int]:
    body = _mapping(told)
    return _number(body["start"]), _number(body["end"])


def _hash(told: object) -> XetHash:
    if not isinstance(told, str):
        raise TypeError("hash")
    return parse_hash(told)


def _number(told: object) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:
        raise TypeError("number")
    return told


def _list(told: object) -> list[object]:
    if not isinstance(told, list) or len(told) > _MAX_TERMS:
        raise TypeError("list")
    return told


def _mapping(told: object) -> Mapping[str, object]:
    if not isinstance(told, dict):
        raise TypeError("object")
    return told
