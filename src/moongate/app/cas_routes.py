"""Our CAS: reconstructions of the files that a Xet token opens, and the small questions around them.

Every generation of clients asks in its own spelling (`wire.cas_paths`) and is answered in its own version.
Data itself is read at addresses that a reconstruction gives (`xorb_routes`). What clients do when they write
is next door (`cas_write_routes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson
from aiohttp import hdrs, web

from moongate.app.data_addresses import DataAddresses, XetFile
from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.metrics import Metrics
from moongate.app.replies import JSON_TYPE, Reply, error_reply
from moongate.app.xet_routes import Offers
from moongate.app.xet_tokens import XetGrant, XetTokens
from moongate.core.callers import Caller
from moongate.core.errors import (
    Absent,
    AuthRequired,
    BadName,
    BadRequest,
    BadToken,
    EntryAbsent,
    MoongateError,
    NotAllowed,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
)
from moongate.core.names import CommitHash, RepoId
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.offers import REFUSED_SECONDS, TROUBLE_SECONDS
from moongate.wire import cas_paths
from moongate.wire.bearer import token_of
from moongate.wire.data_urls import MAX_SIGNED_RANGES
from moongate.wire.ranges import Unsatisfiable, parse_range
from moongate.xet.hashes import XetHash, hash_hex, parse_hash
from moongate.xet.reconstruction import FetchRange, Reconstruction, cut_terms, write_v1, write_v2

_MAX_FILES = 1000
_MAX_REFERENCES = 100
_MAX_QUESTION_BYTES = 1 << 20
_MAX_TELEMETRY_BYTES = 1 << 20
_INLINE_TERMS = 2000


class Reconstructions(Protocol):
    """What this room needs of `hub.xet_made.XetService`; its values are `XetFile`s."""

    async def reconstruction_of(self, file: FileAt, caller: Caller) -> Any: ...
    async def instead(self, file: FileAt, caller: Caller, error: MoongateError) -> Any: ...
    def known(self, file_id: str) -> Any: ...
    def ensure(self, row: Any) -> None: ...


class FilesById(Protocol):
    """What this room needs of `hub.by_xet.FilesByXet`."""

    async def file(self, repo: RepoId, commit_hash: CommitHash, file_id: str, caller: Caller) -> FileAt: ...

    def kept_as(self, xorb: XetHash) -> frozenset[XetHash]: ...

    def needing(self, xorbs: Iterable[XetHash]) -> list[str]: ...


class Guards(Protocol):
    """What this room needs of `hub.guarded_xet.XetGuard`."""

    async def admit(self, file: FileAt, caller: Caller, row: Any) -> str: ...


class CasRoutes:
    """Answers what is asked below our CAS."""

    def __init__(  # noqa: PLR0913 - it stands before the rooms behind it
        self,
        tokens: XetTokens,
        files: FilesById,
        xets: Reconstructions,
        addresses: DataAddresses,
        offers: Offers,
        metrics: Metrics,
        *,
        base_url: Callable[[web.BaseRequest], str],
        whole_after_bytes: int = 0,
        guard: Guards | None = None,
    ) -> None:
        """guard: says who may have a file, and what its addresses are to tell.

        `whole_after_bytes`: asking for the reconstruction of a longer part has the whole file fetched."""
        self._tokens = tokens
        self._files = files
        self._xets = xets
        self._addresses = addresses
        self._offers = offers
        self._metrics = metrics
        self._base_url = base_url
        self._whole_after_bytes = whole_after_bytes
        self._guard = guard

    async def answer(self, exchange: Exchange, route: cas_paths.Question) -> web.StreamResponse:
        """The answer to any route of the CAS, but for data: that takes no token."""
        match route:
            case cas_paths.OneFile():
                allow(exchange, "GET", "HEAD")
                return await self._one(exchange, route)
            case cas_paths.SeveralFiles():
                allow(exchange, "GET", "HEAD", "POST")
                return await self._several(exchange)
            case cas_paths.WholeFile():
                allow(exchange, "HEAD", "GET")
                file = await self._file(exchange, route.file_id)
                return self._length(exchange, file.entry.size_bytes)
            case cas_paths.Telemetry():
                return await self._telemetry(exchange)
            case cas_paths.Malformed():
                raise BadName("This is not the hash of anything: 64 lower-case hex digits were expected.")
            case cas_paths.ChunkHashes():
                self._grant(exchange)
                raise EntryAbsent("This gateway does not tell the chunks of files.")
            case cas_paths.WholeXorb():
                return await self._xorb(exchange, route)

    # Who asks

    def _grant(self, exchange: Exchange) -> XetGrant:
        grant = self._tokens.open(token_of(exchange.request.headers.get(hdrs.AUTHORIZATION)))
        exchange.repo, exchange.caller = grant.repo, grant.caller
        return grant

    async def _file(self, exchange: Exchange, file_id: str) -> FileAt:
        grant = self._grant(exchange)
        return await self._files.file(grant.repo, grant.commit_hash, file_id, grant.caller)

    async def _reconstruction(self, exchange: Exchange, file_id: str) -> tuple[FileAt, XetFile, str]:
        """A file, the whole of its reconstruction, and what its addresses are to tell.

        Raises:
            RefusedByPolicy, HeldByPolicy: the guard does not let the file pass.
            EntryAbsent: it is no file of what the token opens, or upstream knows no reconstruction of it.
            UpstreamError: it is not here, and upstream failed, by the plain road, too. For a while files are
                offered plainly then.
        """
        file = exchange.file = await self._file(exchange, file_id)
        try:
            row: XetFile = await self._xets.reconstruction_of(file, exchange.caller)
            if (row.etag, row.size_bytes) != (file.entry.etag, file.entry.size_bytes):
                raise UpstreamBroken("upstream tells one Xet id of different contents")
        except UpstreamBusy:
            raise
        except (Absent, UpstreamBroken) as error:
            self._offers.withdraw(file_id)
            self._metrics.xet_withdrawn(type(error).__name__)
            if isinstance(error, Absent):
                error = EntryAbsent(error.message, file.commit_hash)
            row = await self._instead(exchange, file, error)
        except UpstreamError as error:
            refused = isinstance(error, UpstreamRefused)
            self._offers.withdraw(seconds=REFUSED_SECONDS if refused else TROUBLE_SECONDS)
            self._metrics.xet_withdrawn(type(error).__name__)
            row = await self._instead(exchange, file, error)
        except (AuthRequired, BadToken) as error:
            raise NotAllowed(error.message) from error  # ours was good; it is upstream that refuses
        verdict = await self._guard.admit(file, exchange.caller, row) if self._guard is not None else ""
        return file, row, verdict

    async def _instead(self, exchange: Exchange, file: FileAt, error: MoongateError) -> XetFile:
        """A reconstruction whose chunks are made of the file's plain bytes; or the error."""
        made: XetFile = await self._xets.instead(file, exchange.caller, error)
        self._metrics.xet_made(type(error).__name__)
        return made

    # Reconstructions

    async def _one(self, exchange: Exchange, route: cas_paths.OneFile) -> web.StreamResponse:
        file, row, verdict = await self._reconstruction(exchange, route.file_id)
        exchange.outcome = "hit" if row.verified else "miss"
        spans = parse_range(exchange.request.headers.get(hdrs.RANGE), row.size_bytes)
        if isinstance(spans, Unsatisfiable):
            more = (("Content-Range", spans.content_range),)
            message = f"The file has {row.size_bytes} bytes; none of them was asked for."
            return error_reply(416, "RangeNotSatisfiable", message, exchange.request_id, more)
        span = ByteSpan(0, row.size_bytes)
        if spans is not None:
            span = ByteSpan(min(one.start for one in spans), max(one.end for one in spans))
        if not row.verified and (span.length > self._whole_after_bytes or span.length == row.size_bytes):
            self._xets.ensure(row)
        cut = cut_terms(row.terms, span)
        if exchange.method == "GET":
            exchange.reconstructed = ((file, span.length),)
        base_url = self._base_url(exchange.request)
        write, each = (write_v2, MAX_SIGNED_RANGES) if route.version == 2 else (write_v1, 1)

        def told() -> bytes:
            fetches = self._addresses.fetches(
                row,
                cut.terms,
                base_url,
                each=each,
                data_key=getattr(row, "data_key", None),
                verdict=verdict,
            )
            answer = Reconstruction(cut.offset_bytes, cut.terms, fetches)
            for term in cut.terms:
                answer.fetch_of(term)
            return orjson.dumps(write(answer))

        body = await asyncio.to_thread(told) if len(row.terms) > _INLINE_TERMS else told()
        return self._json(exchange, body)

    async def _several(self, exchange: Exchange) -> web.StreamResponse:
        """Whole files, in the words of version 1: the terms of each, and the ranges of all."""
        file_ids = await self._asked_files(exchange)
        found = {file_id: await self._reconstruction(exchange, file_id) for file_id in file_ids}
        rows = {file_id: (row, verdict) for file_id, (_, row, verdict) in found.items()}
        exchange.reconstructed = tuple((file, row.size_bytes) for file, row, _ in found.values())
        exchange.outcome = "hit" if all(row.verified for row, _ in rows.values()) else "miss"
        for row, _ in rows.values():
            if not row.verified:
                self._xets.ensure(row)
        fetches: dict[XetHash, tuple[FetchRange, ...]] = {}
        for row, verdict in rows.values():
            base_url, data_key = self._base_url(exchange.request), getattr(row, "data_key", None)
            signed = self._addresses.fetches(
                row, row.terms, base_url, each=1, data_key=data_key, verdict=verdict
            )
            fetches |= {xorb: (*fetches.get(xorb, ()), *ranges) for xorb, ranges in signed.items()}
        told = {
            "files": {
                key: write_v1(Reconstruction(0, row.terms, {}))["terms"] for key, (row, _) in rows.items()
            },
            "fetch_info": write_v1(Reconstruction(0, (), fetches))["fetch_info"],
        }
        return self._json(exchange, orjson.dumps(told))

    async def _asked_files(self, exchange: Exchange) -> list[str]:
        self._grant(exchange)
        if exchange.method == "POST":
            body = await read_body(exchange, _MAX_QUESTION_BYTES)
            try:
                told = [str(one["hash"]) for one in orjson.loads(body)]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise BadRequest("Expected a JSON array of objects with a hash.") from None
        else:
            told = [value for name, value in parse_qsl(exchange.query) if name == "file_id"]
        if not told or len(told) > _MAX_FILES:
            raise BadRequest(f"Between 1 and {_MAX_FILES} files are answered at a time.")
        return [hash_hex(parse_hash(text)) for text in dict.fromkeys(told)]

    # The rest

    async def _xorb(self, exchange: Exchange, route: cas_paths.WholeXorb) -> web.StreamResponse:
        """How long a xorb is, as far as the files that the token opens need it: that is all we may tell."""
        grant = self._grant(exchange)
        allow(exchange, "HEAD", "POST")
        kept, size_bytes = self._files.kept_as(parse_hash(route.xorb)), 0
        for file_id in self._files.needing(kept)[:_MAX_REFERENCES]:
            try:
                await self._files.file(grant.repo, grant.commit_hash, file_id, grant.caller)
            except EntryAbsent:
                continue
            row: XetFile | None = self._xets.known(file_id)
            ends = [fetch.chunks.span.end for fetch in (row.fetches if row else ()) if fetch.xorb in kept]
            size_bytes = max(size_bytes, *ends) if ends else size_bytes
        if not size_bytes:
            raise EntryAbsent("No file of this commit is known to need that xorb.")
        return self._length(exchange, size_bytes)

    async def _telemetry(self, exchange: Exchange) -> web.StreamResponse:
        """Clients tell of their transfers; nobody here wants to know, and nothing of it is kept."""
        allow(exchange, "POST")
        await read_body(exchange, _MAX_TELEMETRY_BYTES)
        return self._json(exchange, b"{}")

    @staticmethod
    def _json(exchange: Exchange, body: bytes) -> Reply:
        headers = [JSON_TYPE, ("Cache-Control", "no-store")]
        return Reply(200, headers, body, request_id=exchange.request_id)

    @staticmethod
    def _length(exchange: Exchange, size_bytes: int) -> Reply:
        allow(exchange, "HEAD")
        headers = [("Content-Type", "application/octet-stream")]
        return Reply(200, headers, b"", request_id=exchange.request_id, length_bytes=size_bytes)
