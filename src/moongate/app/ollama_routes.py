"""`/v2`: models as ollama and older llama.cpp ask for them, like images of a container registry.

Manifests are upstream's, byte for byte, since their digest is the sha256 of their bytes. Layers are the same
content as everywhere else, by sha256, so a GGUF pulled by `hf` is a hit for ollama.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from aiohttp import hdrs, web

from moongate.app.dispatch import allow
from moongate.app.exchange import Exchange
from moongate.app.file_routes import FileRoutes
from moongate.app.replies import Reply, freshness
from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.names import RepoId
from moongate.core.records import FileAt
from moongate.hub.answers import Answer
from moongate.wire import routes

_REGISTRY = ("Docker-Distribution-Api-Version", "registry/2.0")


class Manifests(Protocol):
    """What this room needs of the hub."""

    async def manifest(self, repo: RepoId, tag: str, caller: Caller, user_agent: str) -> Answer: ...

    async def layer(self, repo: RepoId, digest: Etag, caller: Caller) -> FileAt: ...


class OllamaRoutes:
    """The registry's three addresses."""

    def __init__(self, manifests: Manifests, files: FileRoutes) -> None:
        self._manifests = manifests
        self._files = files

    async def root(self, exchange: Exchange, route: routes.V2Root) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        headers = (_REGISTRY, ("Content-Type", "application/json"))
        return Reply(200, headers, b"{}", request_id=exchange.request_id)

    async def manifest(self, exchange: Exchange, route: routes.V2Manifest) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        user_agent = exchange.request.headers.get(hdrs.USER_AGENT, "")
        answer = await self._manifests.manifest(route.repo, route.tag, exchange.caller, user_agent)
        exchange.outcome = answer.outcome
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        headers = [
            _REGISTRY,
            ("Docker-Content-Digest", digest),
            *freshness(answer.outcome, answer.age_seconds),
            *(pair for pair in answer.headers if pair[0] != "Docker-Content-Digest"),
        ]
        return Reply(answer.status, headers, answer.body, request_id=exchange.request_id)

    async def blob(self, exchange: Exchange, route: routes.V2Blob) -> web.StreamResponse:
        allow(exchange, "GET", "HEAD")
        file = await self._manifests.layer(route.repo, route.digest, exchange.caller)
        headers = [
            _REGISTRY,
            ("Docker-Content-Digest", f"sha256:{file.entry.etag}"),
            ("ETag", f'"{file.entry.etag}"'),
            ("Accept-Ranges", "bytes"),
            ("Content-Type", "application/octet-stream"),
        ]
        return await self._files.give(exchange, file, headers)
