"""Addresses of xorb data for reconstructions: made here for an hour, and read back when they are used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from moongate.app.shared_secret import key_for
from moongate.core.digests import Etag
from moongate.core.spans import ByteSpan
from moongate.wire.cas_paths import Data
from moongate.wire.data_urls import MAX_SIGNED_RANGES, SignedData, read_data_url, write_data_url
from moongate.xet.hashes import XetHash, hash_hex
from moongate.xet.reconstruction import FetchRange, Term

TTL_SECONDS = 3600.0


class Chunks(Protocol):
    """A run of whole chunks of a xorb, and the bytes it takes there."""

    @property
    def first(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def span(self) -> ByteSpan: ...


class Fetch(Protocol):
    """A range of a xorb that a file needs."""

    @property
    def xorb(self) -> XetHash: ...
    @property
    def chunks(self) -> Chunks: ...


class XetFile(Protocol):
    """A file as its reconstruction tells it."""

    @property
    def file_id(self) -> str: ...
    @property
    def etag(self) -> Etag: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def terms(self) -> tuple[Term, ...]: ...
    @property
    def fetches(self) -> tuple[Fetch, ...]: ...
    @property
    def verified(self) -> bool: ...


class DataAddresses:
    """Signs and reads data addresses; all processes with the same secret read each other's."""

    def __init__(
        self, secret: bytes, *, ttl_seconds: float | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """`ttl_seconds`: how long an address holds; `TTL_SECONDS` unless told."""
        self._key = key_for(secret, "xorb data")
        self._ttl_seconds = TTL_SECONDS if ttl_seconds is None else ttl_seconds
        self._now = now

    def read(self, route: Data, query: str) -> SignedData:
        """What an address permits.

        Raises:
            NotAllowed: it is not ours, was changed, or has expired.
        """
        return read_data_url(self._key, route.xorb, route.file_id, query, self._now())

    def fetches(
        self,
        file: XetFile,
        terms: Iterable[Term],
        base_url: str,
        *,
        each: int = MAX_SIGNED_RANGES,
        data_key: str | None = None,
        verdict: str = "",
    ) -> dict[XetHash, tuple[FetchRange, ...]]:
        """Where the chunks of a file's terms are: ranges in order, those of one xorb under few addresses.

        each: most ranges under one address. Clients that speak version 1 alone take two ranges with the same
            address for the same, so there it must be 1.
        data_key: what stands for the xorbs in the addresses, when their chunks are made.
        verdict: what is said of the file by now, by which its reader was let pass.
        """
        expires_seconds = int(self._now() + self._ttl_seconds)
        wanted: dict[XetHash, list[Term]] = {}
        for term in terms:
            wanted.setdefault(term.xorb, []).append(term)
        chunks_of: dict[XetHash, list[Chunks]] = {}
        for fetch in file.fetches:
            if any(_covers(fetch.chunks, term) for term in wanted.get(fetch.xorb, ())):
                chunks_of.setdefault(fetch.xorb, []).append(fetch.chunks)
        return {
            xorb: tuple(
                self._signed(
                    SignedData(data_key or hash_hex(xorb), file.file_id, (), expires_seconds, verdict),
                    chunks,
                    base_url,
                    each,
                )
            )
            for xorb, chunks in chunks_of.items()
        }

    def _signed(
        self, like: SignedData, chunks: list[Chunks], base_url: str, each: int
    ) -> Iterable[FetchRange]:
        chunks = sorted(chunks, key=lambda one: one.first)
        for at in range(0, len(chunks), each):
            some = chunks[at : at + each]
            data = replace(like, spans=tuple(one.span for one in some))
            url = write_data_url(base_url, self._key, data)
            for one in some:
                yield FetchRange(one.first, one.end, one.span, url)


def _covers(chunks: Chunks, term: Term) -> bool:
    return chunks.first <= term.start and term.end <= chunks.end
