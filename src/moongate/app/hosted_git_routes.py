"""git over smart HTTP on hosted repositories.

Fetches are answered by git itself, streamed. A push is read, judged and landed by the hub; what came of it is
told in git's own words, and a long silence is filled, so that nothing between takes it for dead.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from urllib.parse import parse_qs

import orjson
import structlog
from aiohttp import hdrs, web

from moongate import __version__
from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.hub_routes import read_body
from moongate.app.passing import accept_body, body_pieces
from moongate.app.replies import Reply, streamed
from moongate.app.sendfile import BrokenOff, ClientGone
from moongate.core.errors import AuthRequired, BadRequest, MoongateError, RepoAbsent, StoreError
from moongate.core.names import RepoId
from moongate.hub.hosted.git_door import GitDoor
from moongate.hub.hosted.pushes import Pushed
from moongate.wire import routes
from moongate.wire.lfs import MEDIA_TYPE
from moongate.wire.pkt_lines import FLUSH, PushHead, advertisement, packet, read_push_head, report, words

AGENT = f"moongate/{__version__}"

_MAX_QUESTION_BYTES = 16 << 20
_KEEP_ALIVE_SECONDS = 5.0
_UNPACKED_BYTES = 256 << 10
_NOT_KEPT = ("Cache-Control", "no-cache, max-age=0, must-revalidate")
_STILL_HERE = packet(b"\2")
_PROTOCOL = re.compile(r"version=[0-2](:[a-z0-9=.-]{1,64}){0,4}")

log = structlog.get_logger("moongate.git")


class HostedGitRoutes:
    """What git asks of a hosted repository's address."""

    def __init__(self, door: GitDoor, silence_seconds: float) -> None:
        """`silence_seconds`: how long a client may take nothing of an answer."""
        self._door = door
        self._silence_seconds = silence_seconds

    async def info_refs(self, exchange: Exchange, route: routes.GitInfoRefs) -> web.StreamResponse:
        """The refs, for a fetch or a push."""
        allow(exchange, "GET", "HEAD")
        service = parse_qs(exchange.query).get("service", [""])[0]
        self._check(exchange, route.repo, writes=service == "git-receive-pack")
        if service == "git-upload-pack":
            protocol = _protocol(exchange)
            told = await self._door.refs_to_fetch(route.repo, exchange.caller, protocol)
            if not protocol.startswith("version=2"):
                told = packet("# service=git-upload-pack\n") + FLUSH + told
        elif service == "git-receive-pack":
            told = advertisement(self._door.refs_to_push(route.repo, exchange.caller), AGENT)
        else:
            raise BadRequest("This address is for git that speaks the smart protocol over HTTP.")
        exchange.outcome = "hit"
        headers = (("Content-Type", f"application/x-{service}-advertisement"), _NOT_KEPT)
        return Reply(200, headers, told, request_id=exchange.request_id)

    async def upload_pack(self, exchange: Exchange, route: routes.GitUploadPack) -> web.StreamResponse:
        """A fetch: git's answer, streamed."""
        allow(exchange, "POST")
        self._check(exchange, route.repo, writes=False)
        _check_type(exchange, "application/x-git-upload-pack-request")
        question = await read_body(exchange, _MAX_QUESTION_BYTES)
        response = streamed(exchange, 200, _result_headers("upload-pack"))
        answer = self._door.fetch(route.repo, exchange.caller, _protocol(exchange), question)
        exchange.outcome = "hit"
        async with aclosing(answer) as pieces:
            try:
                async for piece in pieces:
                    await self._write(exchange, response, piece)
            except MoongateError as error:
                if not response.prepared:
                    raise
                raise _broken_off(exchange, error) from error
        await self._write(exchange, response, b"")
        await response.write_eof()
        return response

    async def receive_pack(self, exchange: Exchange, route: routes.GitReceivePack) -> web.StreamResponse:
        """A push: taken in whole, and then what became of it."""
        allow(exchange, "POST")
        self._check(exchange, route.repo, writes=True)
        _check_type(exchange, "application/x-git-receive-pack-request")
        await accept_body(exchange.request)
        pieces = _unpacked(exchange.request)
        head, first = await _push_head(pieces)
        response = streamed(exchange, 200, _result_headers("receive-pack"))
        if not head.commands:
            return await self._ended(exchange, response, b"")
        work = asyncio.ensure_future(
            self._door.push(route.repo, exchange.caller, head, _continued(first, pieces))
        )
        try:
            await self._wait(exchange, response, head, work)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                work.cancel()
            with suppress(Exception):  # it lands or not, whoever still listens
                await work
            raise
        pushed = await work
        exchange.outcome = "hit"
        self._tell(exchange, route.repo, head, pushed)
        if pushed.error is not None:
            exchange.error = f"{type(pushed.error).__name__}: {pushed.error.message}"
            if isinstance(pushed.error, StoreError):
                log.error("a push was not taken", id=exchange.request_id, why=pushed.error.message)
        return await self._ended(exchange, response, _told(head, pushed))

    @staticmethod
    def _tell(exchange: Exchange, repo: RepoId, head: PushHead, pushed: Pushed) -> None:
        """Has every ref that moved written down."""
        moved = {ref for ref, trouble in pushed.results if trouble is None}
        for command in head.commands if pushed.landed else ():
            if command.name in moved:
                kind, new = ("ref.delete", "") if command.new is None else ("repo.commit", command.new)
                exchange.tell(kind, repo, commit_hash=new, subject=command.name, details={"way": "git"})

    def _check(self, exchange: Exchange, repo: RepoId, *, writes: bool) -> None:
        """Lets who may in. Who did not say who they are is asked to, since git then asks its user."""
        caller = exchange.caller
        try:
            self._door.check(repo, caller, writes=writes)
        except RepoAbsent:
            if caller.kind == "anonymous" and not caller.is_operator:
                raise AuthRequired("Invalid username or password.") from None
            raise

    async def _wait(
        self,
        exchange: Exchange,
        response: web.StreamResponse,
        head: PushHead,
        work: asyncio.Future[Pushed],
    ) -> None:
        """Waits for the push; once it was received, says every few seconds that we are still here."""
        while not work.done():
            await asyncio.wait({work}, timeout=_KEEP_ALIVE_SECONDS)
            if not work.done() and head.has_bands and exchange.request.content.at_eof():
                await self._write(exchange, response, _STILL_HERE)

    async def _ended(
        self, exchange: Exchange, response: web.StreamResponse, told: bytes
    ) -> web.StreamResponse:
        await self._write(exchange, response, told)
        await response.write_eof()
        return response

    async def _write(self, exchange: Exchange, response: web.StreamResponse, piece: bytes) -> None:
        """Sends a piece, the head before the first one.

        Raises:
            ClientGone: the client takes nothing any more.
        """
        try:
            async with asyncio.timeout(self._silence_seconds):
                if not response.prepared:
                    await response.prepare(exchange.request)
                    exchange.status = response.status
                if piece:
                    await response.write(piece)
                    exchange.sent_bytes += len(piece)
        except TimeoutError:
            transport = exchange.request.transport
            if transport is not None:
                transport.abort()
            raise ClientGone from None


async def no_locks(exchange: Exchange) -> web.StreamResponse:
    """What git-lfs is told that asks about locks: none are offered, which it takes without a word."""
    told = orjson.dumps({"message": "File locking is not offered here."})
    return Reply(501, (("Content-Type", MEDIA_TYPE),), told, request_id=exchange.request_id)


def _told(head: PushHead, pushed: Pushed) -> bytes:
    said = words(pushed.words) if head.has_bands and pushed.words else b""
    if "report-status" not in head.abilities:
        return said
    return said + report(pushed.unpacked, pushed.results, has_bands=head.has_bands)


def _result_headers(service: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", f"application/x-git-{service}-result"), _NOT_KEPT)


def _protocol(exchange: Exchange) -> str:
    """The client's wish, when it is one that git has; it becomes a variable of a program."""
    said = exchange.request.headers.get("Git-Protocol", "")
    return said if _PROTOCOL.fullmatch(said) else ""


def _check_type(exchange: Exchange, wanted: str) -> None:
    if exchange.request.headers.get(hdrs.CONTENT_TYPE, "") != wanted:
        raise BadRequest(f"This address takes {wanted}.")


def _broken_off(exchange: Exchange, error: MoongateError) -> BrokenOff:
    transport = exchange.request.transport
    if transport is not None:
        transport.abort()
    return BrokenOff(error)


async def _push_head(pieces: AsyncIterator[bytes]) -> tuple[PushHead, bytes]:
    """The commands of a push, and what of its pack came with them."""
    start = bytearray()
    async for piece in pieces:
        start += piece
        found = read_push_head(start)
        if found is not None:
            head, at = found
            return head, bytes(start[at:])
    raise BadRequest("This push broke off before it said what it wants.")


async def _continued(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in pieces:
        yield piece


async def _unpacked(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body in pieces of bounded length, unzipped if it came so.

    Raises:
        BadRequest: it is not what its Content-Encoding says.
    """
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower()
    if coding == "identity":
        async for piece in body_pieces(request):
            yield piece
        return
    if coding not in ("gzip", "x-gzip"):
        raise BadRequest(f"This gateway does not know the Content-Encoding {coding[:20]!r} of a push.")
    unpacker = zlib.decompressobj(wbits=31)
    async for piece in body_pieces(request):
        rest = piece
        while rest and not unpacker.eof:
            try:
                plain = unpacker.decompress(rest, _UNPACKED_BYTES)
            except zlib.error:
                raise BadRequest("The body is not what its Content-Encoding says.") from None
            rest = unpacker.unconsumed_tail
            if plain:
                yield plain
    if not unpacker.eof:
        raise BadRequest("The body ends in the middle of its Content-Encoding.")
