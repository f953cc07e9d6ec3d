"""Our CAS, where clients write: xorbs, by a grant or straight away, shards, and who has which chunk already.

A token to write says for whom and to which repository; that its caller may write there is looked up again
each time. Bodies go to disk as they come, and are decoded and hashed in threads. What fails a check
is a coded 4xx, and nothing of it is kept.
"""

from __future__ import annotations

import asyncio
import mmap
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from aiohttp import hdrs, web

from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.passing import accept_body, body_pieces
from moongate.app.replies import JSON_TYPE, Reply, streamed
from moongate.app.shared_secret import key_for
from moongate.app.xet_tokens import XetGrant, XetTokens
from moongate.core.callers import Caller
from moongate.core.errors import Absent, BadRequest, EntryAbsent, MoongateError, ScopeMissing, StoreFull
from moongate.core.names import RepoId
from moongate.hub.hosted.shard_uploads import Progress
from moongate.wire import cas_paths
from moongate.wire.bearer import token_of
from moongate.wire.errors import error_answer
from moongate.wire.grant_urls import (
    GrantedUpload,
    grant_id,
    is_grant_of,
    read_grant_question,
    read_grant_url,
    write_grant,
)
from moongate.xet.hashes import XetHash, parse_hash

if TYPE_CHECKING:
    from moongate.xet.crc64 import Crc64

HEARTBEAT_SECONDS = 15.0
"""How long a client waits for the next word of how its shard does."""

_AT_ONCE_SECONDS = 1.0
_PIECE_BYTES = 1 << 20
_MAX_GRANT_BYTES = 4096
_GRANT_TTL_SECONDS = 3600.0
_SHARDS_AT_ONCE = 4
_NDJSON = ("Content-Type", "application/x-ndjson")
_JSON_HEADERS = (JSON_TYPE, ("Cache-Control", "no-store"))


class Sent(Protocol):
    """Bytes on their way in: see `store.incoming.Incoming`."""

    path: str
    size_bytes: int

    def append(self, data: bytes | memoryview) -> None: ...
    def close(self) -> None: ...


class XetUploads(Protocol):
    """What this room needs of `hub.hosted.xet_uploads.XetUploads`. It takes what it began; all blocks."""

    max_xorb_body_bytes: int
    max_xorb_bytes: int
    max_shard_bytes: int

    def may_write(self, repo: RepoId, caller: Caller, *, pull_request: bool = False) -> None: ...
    def begin(self, expected_bytes: int) -> Any: ...
    def has_xorb(self, xorb: XetHash, caller: Caller) -> bool: ...
    def xorb_bytes(self, xorb: XetHash, caller: Caller) -> int | None: ...
    def take_xorb(self, sent: Any, xorb: XetHash, caller: Caller) -> bool: ...
    def take_granted(self, sent: Any, xorb: XetHash, grant: str) -> None: ...
    def claim_granted(self, xorb: XetHash, grant: str, caller: Caller) -> bool: ...
    def take_shard(self, shard: memoryview, repo: RepoId, caller: Caller, progress: Progress) -> bool: ...
    def dedup_answer(self, chunk: XetHash, caller: Caller) -> bytes | None: ...


class CasWriteRoutes:
    """Answers what is written to our CAS."""

    def __init__(
        self,
        tokens: XetTokens,
        uploads: XetUploads,
        secret: bytes,
        *,
        base_url: Callable[[web.BaseRequest], str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._uploads = uploads
        self._key = key_for(secret, "xorb grants")
        self._base_url = base_url
        self._now = now
        self._shard_turns = asyncio.Semaphore(_SHARDS_AT_ONCE)

    async def answer(self, exchange: Exchange, route: cas_paths.Write) -> web.StreamResponse:
        """The answer to a write route."""
        match route:
            case cas_paths.ChunkQuery():
                return await self._find_chunk(exchange, route)
            case cas_paths.XorbGrant():
                return await self._grant_xorb(exchange, route)
            case cas_paths.GrantedXorb():
                return await self._take_granted(exchange, route)
            case cas_paths.XorbCommit():
                return await self._commit_xorb(exchange, route)
            case cas_paths.Shard():
                return await self._shard(exchange, route)

    def _writer(self, exchange: Exchange) -> XetGrant:
        """Who writes, and where.

        Raises:
            BadToken: the token is none of ours, or has expired.
            ScopeMissing: it may only read.
        """
        grant = self._tokens.open(token_of(exchange.request.headers.get(hdrs.AUTHORIZATION)))
        exchange.repo, exchange.caller = grant.repo, grant.caller
        if not grant.write:
            raise ScopeMissing("This Xet token may only read.")
        self._uploads.may_write(grant.repo, grant.caller, pull_request=grant.pull_request)
        return grant

    # -- xorbs -----------------------------------------------------------------------------------------------

    async def _grant_xorb(self, exchange: Exchange, route: cas_paths.XorbGrant) -> web.StreamResponse:
        allow(exchange, "POST")
        writer = self._writer(exchange)
        asked = read_grant_question(await read_body(exchange, _MAX_GRANT_BYTES))
        if asked.size_bytes > self._uploads.max_xorb_bytes:
            raise BadRequest(f"A xorb has at most {self._uploads.max_xorb_bytes} bytes.")
        if await asyncio.to_thread(self._uploads.has_xorb, parse_hash(route.xorb), writer.caller):
            return Reply(200, _JSON_HEADERS, b"{}", request_id=exchange.request_id)
        if asked.crc64 is None:
            raise Absent("No grants are given for this checksum; send the xorb itself.")
        grant = grant_id(self._key, secrets.token_hex(8), route.xorb, _holder(writer))
        expires_seconds = int(self._now() + _GRANT_TTL_SECONDS)
        upload = GrantedUpload(route.xorb, grant, asked.size_bytes, asked.crc64, expires_seconds)
        body = write_grant(self._base_url(exchange.request), self._key, upload)
        return Reply(201, _JSON_HEADERS, body, request_id=exchange.request_id)

    async def _take_granted(self, exchange: Exchange, route: cas_paths.GrantedXorb) -> web.StreamResponse:
        """A xorb at the address of a grant, which is all the permission that it needs."""
        allow(exchange, "PUT")
        upload = read_grant_url(self._key, route.xorb, route.grant, exchange.query, self._now())
        checksum = await asyncio.to_thread(_checksum)
        async with self._received(exchange, upload.size_bytes, checksum) as sent:
            if sent.size_bytes != upload.size_bytes or checksum.value != upload.crc64:
                raise BadRequest("These bytes have not the length and checksum that the grant was given for.")
            await asyncio.to_thread(self._uploads.take_granted, sent, parse_hash(route.xorb), route.grant)
        return Reply(200, _JSON_HEADERS, b"{}", request_id=exchange.request_id)

    async def _commit_xorb(self, exchange: Exchange, route: cas_paths.XorbCommit) -> web.StreamResponse:
        allow(exchange, "POST")
        writer = self._writer(exchange)
        xorb = parse_hash(route.xorb)
        known = is_grant_of(self._key, route.grant, route.xorb, _holder(writer)) and await asyncio.to_thread(
            self._uploads.claim_granted, xorb, route.grant, writer.caller
        )
        if not known:
            raise EntryAbsent("Nothing came by this grant; ask for another one.")
        return Reply(200, _JSON_HEADERS, b"{}", request_id=exchange.request_id)

    async def _upload_xorb(self, exchange: Exchange, route: cas_paths.WholeXorb) -> web.StreamResponse:
        writer = self._writer(exchange)
        async with self._received(exchange, self._uploads.max_xorb_body_bytes) as sent:
            new = await asyncio.to_thread(
                self._uploads.take_xorb, sent, parse_hash(route.xorb), writer.caller
            )
        body = orjson.dumps({"was_inserted": new})
        return Reply(200, _JSON_HEADERS, body, request_id=exchange.request_id)

    async def whole_xorb(self, exchange: Exchange, route: cas_paths.WholeXorb) -> web.StreamResponse | None:
        """A xorb sent straight to the CAS, or how long one is that a writer may use; None: not known here."""
        if exchange.method == "POST":
            return await self._upload_xorb(exchange, route)
        grant = self._tokens.open(token_of(exchange.request.headers.get(hdrs.AUTHORIZATION)))
        if not grant.write:
            return None
        size_bytes = await asyncio.to_thread(self._uploads.xorb_bytes, parse_hash(route.xorb), grant.caller)
        if size_bytes is None:
            return None
        allow(exchange, "HEAD", "POST")
        headers = [("Content-Type", "application/octet-stream")]
        return Reply(200, headers, b"", request_id=exchange.request_id, length_bytes=size_bytes)

    # -- shards ----------------------------------------------------------------------------------------------

    async def _shard(self, exchange: Exchange, route: cas_paths.Shard) -> web.StreamResponse:
        """Checks a shard; version 2 hears how it goes when that takes a while."""
        allow(exchange, "POST")
        writer = self._writer(exchange)
        async with self._received(exchange, self._uploads.max_shard_bytes) as sent:
            progress = Progress()
            work = asyncio.create_task(self._checked(sent, writer, progress))
            try:
                if route.version == 1:
                    return self._result(exchange, await asyncio.shield(work))
                return await self._told(exchange, work, progress)
            finally:
                progress.stopped = True
                await asyncio.gather(work, return_exceptions=True)

    async def _checked(self, sent: Sent, writer: XetGrant, progress: Progress) -> bool:
        async with self._shard_turns:
            return await asyncio.to_thread(self._take_shard, sent, writer, progress)

    def _take_shard(self, sent: Sent, writer: XetGrant, progress: Progress) -> bool:
        if not sent.size_bytes:
            raise BadRequest("The shard is empty.")
        with Path(sent.path).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # It is unmapped with the last view into it, which a traceback may hold.
        return self._uploads.take_shard(memoryview(mapped), writer.repo, writer.caller, progress)

    def _result(self, exchange: Exchange, new: bool) -> Reply:
        return Reply(200, _JSON_HEADERS, b'{"result":%d}' % new, request_id=exchange.request_id)

    async def _told(
        self, exchange: Exchange, work: asyncio.Task[bool], progress: Progress
    ) -> web.StreamResponse:
        """The events of a shard. What is found wrong before the first one is a plain error answer."""
        await asyncio.wait([work], timeout=_AT_ONCE_SECONDS)
        if work.done():
            lines = [_validating(progress), _COMMITTING, _result_line(work.result())]
            return Reply(
                200,
                (_NDJSON, ("Cache-Control", "no-store")),
                b"".join(lines),
                request_id=exchange.request_id,
            )
        response = streamed(exchange, 200, [_NDJSON, ("Cache-Control", "no-store")])
        await response.prepare(exchange.request)
        exchange.status = 200
        await response.write(_validating(progress))
        while not work.done():
            await asyncio.wait([work], timeout=HEARTBEAT_SECONDS)
            await response.write(_validating(progress))
        try:
            last = _COMMITTING + _result_line(work.result())
        except MoongateError as error:
            exchange.error = f"{type(error).__name__}: {error.message}"
            last = _error_line(error)
        await response.write(last)
        await response.write_eof()
        return response

    # -- who has a chunk? ------------------------------------------------------------------------------------

    async def _find_chunk(self, exchange: Exchange, route: cas_paths.ChunkQuery) -> web.StreamResponse:
        """A shard that tells of xorbs with this chunk.

        Raises:
            EntryAbsent: the caller may read none.
        """
        allow(exchange, "GET")
        grant = self._tokens.open(token_of(exchange.request.headers.get(hdrs.AUTHORIZATION)))
        exchange.repo, exchange.caller = grant.repo, grant.caller
        found = None
        if grant.write:
            chunk = parse_hash(route.chunk)
            found = await asyncio.to_thread(self._uploads.dedup_answer, chunk, grant.caller)
        if found is None:
            raise EntryAbsent("No xorb here is known to have this chunk.")
        headers = (("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store"))
        return Reply(200, headers, found, request_id=exchange.request_id)

    # -- bodies ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _received(
        self, exchange: Exchange, most_bytes: int, checksum: Crc64 | None = None
    ) -> AsyncIterator[Sent]:
        """The request's body, whole and on disk; gone afterwards, unless it was kept.

        Raises:
            BadRequest: it is longer than that, or compressed.
            StoreFull: there is no room for it.
        """
        request = exchange.request
        if (request.content_length or 0) > most_bytes:
            raise BadRequest(f"The body is longer than {most_bytes} bytes.")
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise BadRequest("What is uploaded here must not be compressed.")
        sent = await asyncio.to_thread(self._uploads.begin, request.content_length or most_bytes)
        try:
            await accept_body(request)
            async for piece in _collected(body_pieces(request)):
                if sent.size_bytes + len(piece) > most_bytes:
                    raise BadRequest(f"The body is longer than {most_bytes} bytes.")
                await asyncio.to_thread(_append, sent, piece, checksum)
            yield sent
        finally:
            await asyncio.to_thread(sent.close)


def _checksum() -> Crc64:
    """A fresh one. In a thread, for it brings numpy, which takes a while the first time."""
    from moongate.xet.crc64 import Crc64  # noqa: PLC0415 - see above

    return Crc64()


def _append(sent: Sent, piece: bytes, checksum: Crc64 | None) -> None:
    sent.append(piece)
    if checksum is not None:
        checksum.update(piece)


async def _collected(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces worth a trip to another thread."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        if len(buffer) >= _PIECE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _holder(writer: XetGrant) -> str:
    return f"{writer.caller.key} {writer.repo}"


_COMMITTING = b'{"type":"committing","stage":"uploading"}\n{"type":"committing","stage":"syncing"}\n'


def _validating(progress: Progress) -> bytes:
    total = max(progress.total_bytes, 1)
    verified = min(progress.read_bytes, total)
    return orjson.dumps({"type": "validating", "verified": verified, "total": total}) + b"\n"


def _result_line(new: bool) -> bytes:
    return b'{"type":"result","result":%d}\n' % new


def _error_line(error: MoongateError) -> bytes:
    message, retryable = error_answer(error).message, isinstance(error, StoreFull)
    return orjson.dumps({"type": "error", "message": message, "retryable": retryable}) + b"\n"
