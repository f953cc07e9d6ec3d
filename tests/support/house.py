"""A front door whose hub is made of plain values: what the app's own tests talk to.

async with open_house(tmp_path) as house:
    house.hub.contents["config.json"] = b"{}"
    async with house.session.get(house.url + "/acme/tiny/resolve/main/config.json") as answer: ...
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp

from moongate.app.connection import FrontDoor
from moongate.app.door import Door, DoorRules
from moongate.app.exchange import Exchange
from moongate.app.file_routes import FileRoutes
from moongate.app.front import Rooms, dispatcher
from moongate.app.git_routes import GitRoutes
from moongate.app.health import Health
from moongate.app.hub_routes import HubRoutes
from moongate.app.lane import FastLane
from moongate.app.metrics import Metrics
from moongate.app.ollama_routes import OllamaRoutes
from moongate.app.passing import Passing
from moongate.app.replies import Reply
from moongate.app.request_log import RequestLog
from moongate.app.sendfile import FileSender
from moongate.app.server import listen
from moongate.core.callers import Caller, Secret, TokenRow
from moongate.core.digests import Etag, content_hasher
from moongate.core.errors import EntryAbsent, MoongateError, RepoAbsent
from moongate.core.names import CommitHash, RepoId, RepoPath, Revision
from moongate.core.records import FileAt, FileEntry
from moongate.core.spans import ByteSpan
from moongate.hub.answers import Answer
from moongate.hub.handles import Handle
from moongate.wire import routes

COMMIT = CommitHash("c" * 40)
REPO = RepoId("model", "acme/tiny")


@dataclass
class Resolved:
    outcome: str = "hit"
    age_seconds: float = 0.0


class FakeBody:
    """A body whose bytes may fail after a while, as those of a fill do."""

    warning = ""

    outcome = "hit"
    base = 0

    def __init__(
        self, path: Path, etag: Etag, size_bytes: int, trouble: MoongateError | None, after: int
    ) -> None:
        self.etag = etag
        self.size_bytes = size_bytes
        self.fd = os.open(path, os.O_RDONLY)
        self.trouble = trouble
        self.after = after

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self, position: int, count: int) -> bytes:
        return os.pread(self.fd, count, position)

    async def ready(self, position: int, end: int) -> int:
        if self.trouble is not None:
            if position >= self.after:
                raise self.trouble
            return min(end, self.after) - position
        return end - position


@dataclass
class FakeHub:
    """Answers and files by value. `trouble` breaks bodies off after `trouble_after` bytes."""

    folder: Path
    answer_value: Answer = field(
        default_factory=lambda: Answer(
            200,
            (("Content-Type", "application/json; charset=utf-8"), ("X-Repo-Commit", COMMIT)),
            b'{"id":"acme/tiny","pad":"' + b"x" * 2000 + b'"}',
            "hit",
        )
    )
    contents: dict[str, bytes] = field(default_factory=dict)
    lfs: set[str] = field(default_factory=set)
    tainted: set[str] = field(default_factory=set)
    resolved: Resolved = field(default_factory=Resolved)
    error: MoongateError | None = None
    crash: Exception | None = None
    trouble: MoongateError | None = None
    trouble_after: int = 0
    asked: list[tuple[object, str, str, bytes | None]] = field(default_factory=list)
    opened: int = 0
    memory: Answer | None = None
    files_in_memory: bool = False
    lane_hits: int = 0

    async def answer(
        self,
        route: routes.Route,
        query: str,
        caller: Caller,
        post_body: bytes | None = None,
        content_type: str = "",
    ) -> Answer:
        if self.crash is not None:
            raise self.crash
        if self.error is not None:
            raise self.error
        self.asked.append((route, query, caller.key, post_body))
        return self.answer_value

    def when_forgetting(self, told: Callable[[], None]) -> None:
        self.forget = told

    def at_hand(self, route: routes.Route, query: str, caller: Caller) -> Answer | None:
        if self.memory is None:
            return None
        self.lane_hits += 1
        return self.memory

    def file_at_hand(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved] | None:
        if not self.files_in_memory or path not in self.contents:
            return None
        self.lane_hits += 1
        return self._file(repo, path), self.resolved

    guard_serial = 0
    changes = 0

    is_idle = True
    """Whether nothing is recalled; else everything is."""

    def standing(self, file: FileAt) -> bool | None:
        return None if self.is_idle else True

    def begin_reading(self, file: FileAt, cut: Callable[[], None]) -> None: ...
    def end_reading(self, reading: object) -> None: ...

    def passes(self, file: FileAt, caller: Caller) -> str:
        return ""

    def is_tainted(self, file: FileAt) -> bool:
        return file.entry.path in self.tainted

    def sealed(self, file: FileAt) -> Handle:
        path = self.folder / file.entry.etag
        path.write_bytes(self.contents[file.entry.path])
        return Handle(os.open(path, os.O_RDONLY), file.entry.size_bytes, users=1, retired=True)

    async def manifest(self, repo: RepoId, tag: str, caller: Caller, user_agent: str) -> Answer:
        return await self.answer(routes.V2Manifest(repo, tag), "", caller)

    async def layer(self, repo: RepoId, digest: Etag, caller: Caller) -> FileAt:
        return self._by_etag(repo, digest)

    async def lfs_object(
        self, repo: RepoId, oid: Etag, caller: Caller, size_bytes: int | None = None
    ) -> FileAt:
        return self._by_etag(repo, oid)

    async def file_at(
        self, repo: RepoId, revision: Revision, path: RepoPath, caller: Caller
    ) -> tuple[FileAt, Resolved]:
        if self.error is not None:
            raise self.error
        if repo.repo_id == "acme/absent":
            raise RepoAbsent("Repository not found")
        if path not in self.contents:
            raise EntryAbsent("Entry not found", COMMIT)
        return self._file(repo, path), self.resolved

    async def open(self, file: FileAt, caller: Caller, span: ByteSpan) -> FakeBody:
        self.opened += 1
        path = self.folder / file.entry.etag
        path.write_bytes(self.contents[file.entry.path])
        return FakeBody(path, file.entry.etag, file.entry.size_bytes, self.trouble, self.trouble_after)

    def etag(self, path: str) -> Etag:
        content = self.contents[path]
        kind = Etag("0" * (64 if path in self.lfs else 40))
        hasher = content_hasher(kind, len(content))
        hasher.update(content)
        return Etag(hasher.hexdigest())

    def _file(self, repo: RepoId, path: str) -> FileAt:
        entry = FileEntry(RepoPath(path), self.etag(path), len(self.contents[path]))
        return FileAt(repo, COMMIT, entry)

    def _by_etag(self, repo: RepoId, etag: Etag) -> FileAt:
        for path in self.contents:
            if self.etag(path) == etag:
                return self._file(repo, path)
        raise EntryAbsent("no such object")


@dataclass
class FakeStream:
    status: int
    headers: Mapping[str, str]
    pieces: list[bytes | MoongateError]

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, MoongateError):
                raise piece
            yield piece


@dataclass
class FakeUpstream:
    """What passing sends, kept; and one answer for all."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: list[bytes | MoongateError] = field(default_factory=lambda: [b"passed"])
    seen: list[tuple[str, str, dict[str, str], bytes, Secret | None]] = field(default_factory=list)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path_qs: str,
        headers: Iterable[tuple[str, str]],
        body: AsyncIterator[bytes] | None,
        credential: Secret | None,
    ) -> AsyncIterator[FakeStream]:
        sent = b"".join([piece async for piece in body]) if body is not None else b""
        self.seen.append((method, path_qs, dict(headers), sent, credential))
        yield FakeStream(self.status, self.headers, self.pieces)


@dataclass
class FakeTokens:
    rows: dict[str, TokenRow] = field(default_factory=dict)

    def token_by_sha256(self, sha256: str) -> TokenRow | None:
        return self.rows.get(sha256)

    def put_token(self, token: TokenRow) -> None:
        self.rows[token.sha256] = token


async def _page(exchange: Exchange) -> Reply:
    return Reply(
        200, (("Content-Type", "text/plain"),), b"page", request_id=exchange.request_id, shared=False
    )


@dataclass
class House:
    """A running front door on a free port."""

    url: str
    port: int
    hub: FakeHub
    upstream: FakeUpstream
    tokens: FakeTokens
    door: Door
    metrics: Metrics
    log: Path
    session: aiohttp.ClientSession
    request_log: RequestLog
    lane: FastLane

    def log_text(self) -> str:
        """The request log so far."""
        self.lane.afterwards.settle()
        self.request_log.flush()
        return self.log.read_text()


async def _note_nothing(repo: RepoId | None, caller: Caller) -> None:
    """The hub of this house forgets nothing, as it remembers nothing."""


@asynccontextmanager
async def open_house(
    folder: Path,
    *,
    rules: DoorRules | None = None,
    offline: bool = False,
    shape: str = "json",
    lane_seconds: float = 0.0,
) -> AsyncIterator[House]:
    hub, upstream, tokens, metrics = FakeHub(folder), FakeUpstream(), FakeTokens(), Metrics()
    door = Door(tokens, rules or DoorRules())
    log_path = folder / "requests.log"
    descriptor = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    request_log = RequestLog("json" if shape == "json" else "text", descriptor=descriptor)
    sender = FileSender()
    passing = Passing(
        upstream,
        offline=offline,
        upstream_origin="https://hub.example",
        base_url=door.base_url,
        read_credential=lambda caller, repo: caller.credential,
        changed=_note_nothing,
    )
    files = FileRoutes(hub, sender)
    rooms = Rooms(
        hub=HubRoutes(hub, passing, door.base_url),
        files=files,
        git=GitRoutes(passing, hub, files, door.base_url),
        ollama=OllamaRoutes(hub, files),
        health=Health(metrics, folder, lambda: "", lambda: None),
        admin=_page,
    )
    dispatch = dispatcher(rooms, door, metrics, request_log)
    lane = FastLane(
        hub,
        hub,
        door,
        dispatch.known_route,
        metrics,
        request_log,
        lane_seconds,
        sender,
        recalls=cast(Any, hub),
        changes=lambda: hub.changes,
    )
    front = FrontDoor(dispatch, lane, note=dispatch.note)
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = await asyncio.get_running_loop().create_server(front.accept, sock=listener)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        url = f"http://127.0.0.1:{port}"
        yield House(url, port, hub, upstream, tokens, door, metrics, log_path, session, request_log, lane)
    server.close()
    await front.drain(2.0)
    request_log.close()
    os.close(descriptor)
    sender.close()
