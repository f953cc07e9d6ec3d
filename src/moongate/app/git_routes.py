"""git and git-lfs on proxied repositories.

Smart HTTP is streamed both ways with the client's own credential. LFS objects of a download batch come from
our store: the batch names our own addresses, and the bytes are served like any file. Uploads, locks and every
other LFS route are upstream's business, its hrefs untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.file_routes import FileRoutes
from moongate.app.hub_routes import read_body
from moongate.app.passing import Passing
from moongate.app.replies import Reply
from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.names import RepoId
from moongate.core.records import FileAt
from moongate.wire import routes
from moongate.wire.lfs import BatchRequest, batch_answer, read_batch_request

LFS_TYPE = "application/vnd.git-lfs+json"
MAX_BATCH_BYTES = 1 << 20
"""A batch names at most 1000 objects."""
_MAX_SIZE_DIGITS = 18


class LfsFiles(Protocol):
    """What this room needs of the hub: LFS objects of a repository, access checked."""

    async def lfs_object(
        self, repo: RepoId, oid: Etag, caller: Caller, size_bytes: int | None = None
    ) -> FileAt: ...


class HostedUploads(Protocol):
    """What this room needs of `lfs_uploads.LfsUploads`."""

    def hosts(self, repo: RepoId) -> bool: ...

    async def batch(
        self, exchange: Exchange, route: routes.LfsBatch, request: BatchRequest
    ) -> web.StreamResponse: ...


class GitRoutes:
    """What git asks of a repository's address."""

    def __init__(
        self,
        passing: Passing,
        objects: LfsFiles,
        files: FileRoutes,
        base_url: Callable[[web.BaseRequest], str],
        uploads: HostedUploads | None = None,
    ) -> None:
        """`uploads`: what answers upload batches of repositories that live here."""
        self._uploads = uploads
        self._passing = passing
        self._objects = objects
        self._files = files
        self._base_url = base_url

    async def info_refs(self, exchange: Exchange, route: routes.GitInfoRefs) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        return await self._passing.pass_through(exchange)

    async def upload_pack(self, exchange: Exchange, route: routes.GitUploadPack) -> web.StreamResponse:
        allow(exchange, "POST")
        return await self._passing.pass_through(exchange, reads=True)

    async def receive_pack(self, exchange: Exchange, route: routes.GitReceivePack) -> web.StreamResponse:
        allow(exchange, "POST")
        return await self._passing.pass_through(exchange)

    async def lfs_batch(self, exchange: Exchange, route: routes.LfsBatch) -> web.StreamResponse:
        """Downloads are answered with our own addresses; uploads go on to upstream as they came."""
        allow(exchange, "POST")
        body = await read_body(exchange, MAX_BATCH_BYTES)
        request = read_batch_request(body)
        if request.operation != "download":
            if self._uploads is not None and self._uploads.hosts(route.repo):
                return await self._uploads.batch(exchange, route, request)
            return await self._passing.pass_through(exchange, body=body)
        base = f"{self._base_url(exchange.request)}{route.repo.file_path}.git/info/lfs/objects"
        # the size goes along, since upstream is asked for an object that no listing knows by oid and size
        hrefs = {item.oid: f"{base}/{item.oid}?size={item.size_bytes}" for item in request.objects}
        sent = exchange.request.headers.get(hdrs.AUTHORIZATION)
        answer = batch_answer(request.objects, hrefs, header={hdrs.AUTHORIZATION: sent} if sent else None)
        return Reply(200, (("Content-Type", LFS_TYPE),), answer, request_id=exchange.request_id)

    async def lfs_object(self, exchange: Exchange, route: routes.LfsObject) -> web.StreamResponse:
        """An LFS object's bytes, from the store."""
        if not exchange.is_read:
            return await self._passing.pass_through(exchange)
        size_bytes = _size_named(exchange.query)
        file = await self._objects.lfs_object(route.repo, route.oid, exchange.caller, size_bytes)
        headers = [
            ("ETag", f'"{file.entry.etag}"'),
            ("Accept-Ranges", "bytes"),
            ("Content-Type", "application/octet-stream"),
        ]
        return await self._files.give(exchange, file, headers)

    async def lfs_other(self, exchange: Exchange, route: routes.LfsOther) -> web.StreamResponse:
        return await self._passing.pass_through(exchange)


def _size_named(query: str) -> int | None:
    text = parse_qs(query).get("size", [""])[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS else None
