"""Large files sent to hosted repositories: the upload batch, the bytes, and the check afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final, Protocol

from aiohttp import hdrs, web

from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.passing import accept_body, body_pieces
from moongate.app.replies import JSON_TYPE, Reply
from moongate.app.upload_addresses import TTL_SECONDS, UploadAddresses
from moongate.core.digests import Etag
from moongate.core.errors import Absent, BadRequest, EntryAbsent, MoongateError
from moongate.core.names import RepoId
from moongate.hub.hosted.intake import Intake, Upload
from moongate.hub.hosted.repos import HostedRepos
from moongate.wire import routes
from moongate.wire.lfs import (
    MEDIA_TYPE,
    UPLOADS_PREFIX,
    BatchRequest,
    UploadAction,
    read_verify,
    upload_answer,
    xet_answer,
)

_MAX_BODY_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 20


XetWay = Callable[[Exchange, RepoId], tuple[str, Mapping[str, str]]]


class Receiver(Protocol):
    """Takes bytes as they come; blocks."""

    def write(self, data: bytes | bytearray) -> None: ...


class LfsUploads:
    """Takes large files in."""

    def __init__(
        self,
        hosted: HostedRepos,
        intake: Intake,
        addresses: UploadAddresses,
        base_url: Callable[[web.BaseRequest], str],
        pass_of: Callable[[web.BaseRequest], str | None],
        xet_way: XetWay,
    ) -> None:
        """`pass_of`: the sha256 of the token of ours that a request came with, if it is one of ours.

        `xet_way`: where those who speak Xet get a token to upload, and what is sent along with that.
        """
        self._hosted = hosted
        self._intake = intake
        self._addresses = addresses
        self._base_url = base_url
        self._pass_of = pass_of
        self._xet_way = xet_way

    def hosts(self, repo: RepoId) -> bool:
        """Whether a repository of this name lives here, if it exists at all. A point read."""
        return self._hosted.hosts(repo)

    async def batch(
        self, exchange: Exchange, route: routes.LfsBatch, request: BatchRequest
    ) -> web.StreamResponse:
        """Where to send each object: through Xet, or in parts when it is long, to those who can."""
        caller = exchange.caller
        row = self._hosted.repo_for(route.repo, caller, "write")
        in_parts = "multipart" in request.transfers
        asked = await asyncio.to_thread(self._intake.ask, row, request.objects, caller, in_parts=in_parts)
        if "xet" in request.transfers:
            href, header = self._xet_way(exchange, row.repo)
            ways = {one.oid: _xet_action(told, href) for one, told in asked if told is not None}
            body = xet_answer(request.objects, ways, header)
            return Reply(200, (("Content-Type", MEDIA_TYPE),), body, request_id=exchange.request_id)
        base_url, pass_sha256 = self._base_url(exchange.request), self._pass_of(exchange.request)
        actions: dict[Etag, UploadAction] = {}
        for one, upload in asked:
            if isinstance(upload, MoongateError):
                actions[one.oid] = UploadAction(error=upload.message)
            elif upload is not None:
                href = self._addresses.write(upload, pass_sha256, base_url)
                count = upload.part_count if upload.part_bytes else 0
                parts = tuple(f"{href}/{number}" for number in range(1, count + 1))
                actions[one.oid] = UploadAction(href, upload.part_bytes, parts)
        sent = exchange.request.headers.get(hdrs.AUTHORIZATION)
        verify = f"{base_url}{row.repo.file_path}.git/info/lfs/objects/verify"
        body = upload_answer(
            request.objects,
            actions,
            (verify, {hdrs.AUTHORIZATION: sent} if sent else {}),
            expires_in_seconds=int(TTL_SECONDS),
        )
        return Reply(200, (("Content-Type", MEDIA_TYPE),), body, request_id=exchange.request_id)

    async def verify(self, exchange: Exchange, route: routes.LfsOther) -> web.StreamResponse:
        """Whether an object arrived."""
        allow(exchange, "POST")
        row = self._hosted.repo_for(route.repo, exchange.caller, "write")
        one = read_verify(await read_body(exchange, _MAX_BODY_BYTES))
        known = await asyncio.to_thread(self._hosted.uploads.may_commit, row, exchange.caller, one.oid)
        if known != one.size_bytes:
            raise EntryAbsent("This object has not arrived.")
        return Reply(200, (("Content-Type", MEDIA_TYPE),), b"{}", request_id=exchange.request_id)

    async def receive(self, exchange: Exchange) -> web.StreamResponse:
        """Bytes, or the word that all parts were sent, at an address of ours; no token is asked for."""
        text, _, part = exchange.path.removeprefix(UPLOADS_PREFIX).partition("/")
        upload = self._addresses.read(text)
        if part:
            allow(exchange, "PUT")
            if not (upload.part_bytes and part.isascii() and part.isdigit() and len(part) < 9):
                raise Absent("This upload has no such part.")
            etag = await self._receive(exchange, upload, int(part))
            return Reply(200, (("ETag", f'"{etag}"'),), b"", request_id=exchange.request_id)
        if upload.part_bytes:
            allow(exchange, "POST")
            await read_body(exchange, _MAX_BODY_BYTES)  # it names the parts, which we know
            await asyncio.to_thread(self._intake.complete, upload)
            return Reply(200, (JSON_TYPE,), b"{}", request_id=exchange.request_id)
        allow(exchange, "PUT")
        etag = await self._receive(exchange, upload, None)
        return Reply(200, (("ETag", f'"{etag}"'),), b"", request_id=exchange.request_id)

    async def _receive(self, exchange: Exchange, upload: Upload, part: int | None) -> str:
        """Takes the body in; its sha256. A client that leaves takes nothing of this with it but its bytes."""
        length = upload.size_bytes if part is None else upload.part_size(part)
        said = exchange.request.content_length
        if said is not None and said != length:
            raise BadRequest(f"{length} bytes are expected here, not {said}")
        with ExitStack() as held:
            begin = self._intake.whole(upload) if part is None else self._intake.part(upload, part)
            file = await asyncio.to_thread(held.enter_context, begin)
            await accept_body(exchange.request)
            await _copy(exchange, file, length)
            end = held.pop_all()
        await asyncio.to_thread(end.close)
        return file.hasher.hexdigest()


def _xet_action(told: Upload | MoongateError, href: str) -> UploadAction:
    return UploadAction(error=told.message) if isinstance(told, MoongateError) else UploadAction(href)


async def _copy(exchange: Exchange, file: Receiver, length: int) -> None:
    pieces = bytearray()
    count = 0
    async for piece in body_pieces(exchange.request):
        count += len(piece)
        if count > length:
            raise BadRequest(f"more than the {length} bytes came that are expected here")
        pieces += piece
        if len(pieces) >= _PIECE_BYTES:
            await asyncio.to_thread(file.write, pieces)
            pieces = bytearray()
    if pieces:
        await asyncio.to_thread(file.write, pieces)
