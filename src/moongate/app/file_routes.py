"""Files: resolve, resolve-cache and raw, answered directly (200, 206, 304, 416) with all of a file's headers.

HEAD never touches the bytes. GET opens the body in the store, or joins its fill, and waits for its first byte
before the headers go out, so that an upstream that fails at once is a coded error. From then on
`Content-Length` binds us: a fill that fails breaks the connection off.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from aiohttp import hdrs, web

from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange, Outcome
from moongate.app.replies import FileReply, Headers, Reply, error_reply, freshness, streamed
from moongate.app.sendfile import FileSender
from moongate.app.xet_routes import XetHeaders
from moongate.core.callers import Caller
from moongate.core.digests import is_sha256
from moongate.core.errors import StoreFull
from moongate.core.names import RepoId, RepoPath, Revision
from moongate.core.records import FileAt
from moongate.core.spans import ByteSpan
from moongate.hub.content import OpenBody
from moongate.hub.recalls import Recalls, cutter
from moongate.wire import routes
from moongate.wire.headers import etag_matches, file_headers, header_text
from moongate.wire.lfs import pointer_text
from moongate.wire.ranges import (
    Unsatisfiable,
    asks_for_the_rest,
    if_range,
    multipart_frame,
    parse_range,
)
from moongate.wire.xet_words import FILE_INFO_TYPE, file_info, wants_file_info

_START_OVER = (
    "bytes of this file that were sent lately were wrong: remove what you have of it, and start over "
    "(huggingface_hub: force_download=True)"
)
INLINE_BYTES = 64 << 10
"""Sealed content up to this long is read and written at once: a descriptor of its own would cost more."""


class Resolved(Protocol):
    """How a file's name was resolved."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def age_seconds(self) -> float: ...


class Files(Protocol):
    """What this room needs of the hub: names to files (access checked), and files to bodies."""

    async def file_at(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved]: ...

    async def open(self, file: FileAt, caller: Caller, span: ByteSpan) -> OpenBody: ...

    def is_tainted(self, file: FileAt) -> bool: ...


class FileRoutes:
    """The Hub's file addresses."""

    def __init__(
        self,
        files: Files,
        sender: FileSender,
        xet: XetHeaders | None = None,
        recalls: Recalls | None = None,
        begins: Callable[[Exchange, FileAt], object] = lambda _exchange, _file: None,
    ) -> None:
        """
        xet: what else is said of files that are offered as Xet; None says nothing of any.
        recalls: cuts answers on their way. begins: is told before the first byte of a file goes out.
        """
        self._begins = begins
        self._recalls = recalls
        self._files = files
        self._sender = sender
        self._xet = xet

    async def resolve(self, exchange: Exchange, route: routes.Resolve) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        file, resolved = await self._files.file_at(route.repo, route.revision, route.path, exchange.caller)
        xet_headers = self._xet.of(file, exchange.request) if self._xet is not None else []
        if xet_headers and wants_file_info(exchange.request.headers.get(hdrs.ACCEPT)):
            return self._file_info(exchange, file, resolved, xet_headers)
        return await self._give(exchange, file, resolved, xet_headers)

    async def resolve_cache(self, exchange: Exchange, route: routes.ResolveCache) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        revision = Revision(route.commit_hash)
        file, resolved = await self._files.file_at(route.repo, revision, route.path, exchange.caller)
        return await self._give(exchange, file, resolved)

    async def raw(self, exchange: Exchange, route: routes.Raw) -> web.StreamResponse:
        """What git holds: a small file's content, an LFS file's pointer."""
        allow(exchange, "GET", "HEAD")
        file, resolved = await self._files.file_at(route.repo, route.revision, route.path, exchange.caller)
        if not is_sha256(file.entry.etag):
            return await self._give(exchange, file, resolved)
        exchange.outcome = resolved.outcome
        body = pointer_text(file.entry.etag, file.entry.size_bytes)
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Repo-Commit", file.commit_hash),
            *freshness(resolved.outcome, resolved.age_seconds),
        ]
        return Reply(200, headers, body, request_id=exchange.request_id)

    def _file_info(
        self, exchange: Exchange, file: FileAt, resolved: Resolved, xet_headers: Headers
    ) -> web.StreamResponse:
        """What a client that reads through Xet wants to know first, in place of the bytes."""
        assert self._xet is not None  # noqa: S101 - it gave the headers
        exchange.outcome = resolved.outcome
        headers = [pair for pair in plain_headers(file) if pair[0] != "Content-Type"]
        headers += [("Content-Type", FILE_INFO_TYPE), *xet_headers]
        headers += freshness(resolved.outcome, resolved.age_seconds)
        if etag_matches(exchange.request.headers.get(hdrs.IF_NONE_MATCH), file.entry.etag):
            return Reply(304, headers, b"", request_id=exchange.request_id)
        body = file_info(file, self._xet.address(exchange.request))
        return Reply(200, headers, body, request_id=exchange.request_id)

    async def _give(
        self, exchange: Exchange, file: FileAt, resolved: Resolved, xet_headers: Headers = ()
    ) -> web.StreamResponse:
        exchange.outcome = resolved.outcome
        headers = [*plain_headers(file), *xet_headers]
        if resolved.outcome == "stale":
            headers += freshness("stale", resolved.age_seconds)[1:]
        return await self.give(exchange, file, headers)

    async def give(self, exchange: Exchange, file: FileAt, headers: Headers) -> web.StreamResponse:
        """The file, or the part asked for, with these headers; access was checked before."""
        request, entry = exchange.request, file.entry
        headers, exchange.file = list(headers), file
        if etag_matches(request.headers.get(hdrs.IF_NONE_MATCH), entry.etag):
            return Reply(304, [*headers, _mark(exchange)], b"", request_id=exchange.request_id)
        if exchange.method == "HEAD":
            headers.append(_mark(exchange))
            return Reply(200, headers, b"", request_id=exchange.request_id, length_bytes=entry.size_bytes)
        asked = _range_of(request, file)
        if asked is not None and asks_for_the_rest(asked) and self._files.is_tainted(file):
            # The whole file instead would be no mercy: some take it for the rest (wget, HfFileSystem).
            return error_reply(409, "StartOver", _START_OVER, exchange.request_id)
        spans = parse_range(asked, entry.size_bytes)
        if isinstance(spans, Unsatisfiable):
            more = (("Content-Range", spans.content_range), ("X-Repo-Commit", file.commit_hash))
            message = f"the file has {entry.size_bytes} bytes; none of them was asked for"
            return error_reply(416, "RangeNotSatisfiable", message, exchange.request_id, more)
        if spans is not None and len(spans) > 1:
            return await self._several(exchange, file, headers, spans)
        span = spans[0] if spans else ByteSpan(0, entry.size_bytes)
        status = 206 if spans else 200
        if spans:
            headers.append(("Content-Range", span.content_range(entry.size_bytes)))
        return await self._one(exchange, file, headers, span, status)

    async def _one(
        self, exchange: Exchange, file: FileAt, headers: list[tuple[str, str]], span: ByteSpan, status: int
    ) -> web.StreamResponse:
        body = await self._open(exchange, file, span)
        try:
            headers.append(_mark(exchange))
            count = await _first_bytes(body, span)
            self._begins(exchange, file)
            headers += warned(body.warning)
            if count == span.length <= INLINE_BYTES:
                data = body.read(span.start, count)
                if len(data) == count:
                    return Reply(status, headers, data, request_id=exchange.request_id)
            response = FileReply(status, headers, span.length, exchange.request_id)
            exchange.status = status
            with self._reading(exchange, file):
                await self._send(exchange, response, body, span)
            return response
        finally:
            body.close()

    async def _several(
        self, exchange: Exchange, file: FileAt, headers: list[tuple[str, str]], spans: Sequence[ByteSpan]
    ) -> web.StreamResponse:
        """Several ranges in one `multipart/byteranges` answer."""
        hull = ByteSpan(min(span.start for span in spans), max(span.end for span in spans))
        kind = next(value for name, value in headers if name == "Content-Type")
        frame = multipart_frame(spans, file.entry.size_bytes, kind, secrets.token_hex(16))
        body = await self._open(exchange, file, hull)
        try:
            await _first_bytes(body, spans[0])
            self._begins(exchange, file)
            headers = [pair for pair in headers if pair[0] != "Content-Type"]
            headers += [
                ("Content-Type", frame.content_type),
                ("Content-Length", str(frame.length_bytes)),
                _mark(exchange),
                *warned(body.warning),
            ]
            response = streamed(exchange, 206, headers)
            await response.prepare(exchange.request)
            exchange.status = 206
            with self._reading(exchange, file):
                for head, span in zip(frame.heads, frame.spans, strict=True):
                    await response.write(head)
                    await self._send(exchange, response, body, span)
                await response.write(frame.tail)
                return await _ended(response)
        finally:
            body.close()

    def _reading(self, exchange: Exchange, file: FileAt) -> AbstractContextManager[None]:
        if self._recalls is None:
            return nullcontext()
        return self._recalls.reading(file, cutter(exchange.request.transport))

    async def _open(self, exchange: Exchange, file: FileAt, span: ByteSpan) -> OpenBody:
        body = await self._files.open(file, exchange.caller, span)
        if body.outcome == "miss":
            exchange.outcome = "miss"
        elif exchange.outcome != "stale":
            exchange.outcome = "hit"
        return body

    async def _send(
        self, exchange: Exchange, response: web.StreamResponse, body: OpenBody, span: ByteSpan
    ) -> None:
        exchange.sent_bytes += await self._sender.send(exchange.request, response, body, span)


def plain_headers(file: FileAt) -> list[tuple[str, str]]:
    """A file's headers, but for those that every reply of ours has."""
    return [pair for pair in file_headers(file) if pair[0] != "Access-Control-Expose-Headers"]


def _range_of(request: web.BaseRequest, file: FileAt) -> str | None:
    """The `Range` that counts; None when the whole file is asked for."""
    counts = if_range(request.headers.get(hdrs.IF_RANGE), file.entry.etag)
    return request.headers.get(hdrs.RANGE) if counts else None


def warned(warning: str) -> list[tuple[str, str]]:
    """The header that tells why a file passed only with a warning; mostly none."""
    return [("X-Moongate-Warning", header_text(warning))] if warning else []


async def _first_bytes(body: OpenBody, span: ByteSpan) -> int:
    """How many bytes can be sent at once; waits for the first, so that an early failure is a coded error.

    0 when there is no room to keep them: the sender passes them through.
    """
    if not span:
        return 0
    try:
        return await body.ready(span.start, span.end)
    except StoreFull:
        return 0


async def _ended(response: web.StreamResponse) -> web.StreamResponse:
    """The response after its last byte; the bytes went around aiohttp's writer, which must not add any."""
    await response.write_eof()
    return response


def _mark(exchange: Exchange) -> tuple[str, str]:
    return ("X-Moongate-Cache", exchange.outcome or "pass")
