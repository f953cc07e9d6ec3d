"""The admin API's operations on what is kept: repositories, pins, the store as a whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moongate import __version__
from moongate.app.admin import models
from moongate.app.admin.models import Gone, Model
from moongate.app.admin.operations import Asked, Operation, fields, needing, required
from moongate.core.errors import BadRequest
from moongate.core.names import RepoId, Revision, parse_repo, parse_revision

if TYPE_CHECKING:
    from moongate.app.wiring.gateway import Gateway

_MAX_FAILURES = 1000


def store_operations(gateway: Gateway) -> tuple[Operation, ...]:
    """The operations."""
    admin, repo = _AdminStore(gateway), ("repo", "revision")
    return needing(
        "admin",
        Operation("GET", "/status", "How the gateway is", admin.status, models.Status),
        Operation("GET", "/repos", "What is kept, by repository", admin.repos, models.Repos),
        Operation("DELETE", "/repos", "Remove a repository", admin.rm, models.Removed, query=repo,
                  audited="repo.delete", administers="repo"),
        Operation("GET", "/usage", "The store as a whole", admin.usage, models.Usage),
        Operation("GET", "/pins", "What eviction passes over", admin.pins, models.Pins),
        Operation("POST", "/pins", "Pin", admin.pin, models.Pin, models.Pin,
                  status=201, audited="pin.create", administers="repo"),
        Operation("DELETE", "/pins", "Unpin", admin.unpin, Gone, query=repo,
                  audited="pin.delete", administers="repo"),
        Operation("GET", "/failures", "Files that failed", admin.failures, models.Failures,
                  query=("limit",)),
        Operation("POST", "/gc", "Bring disk and index together", admin.gc, models.Collected,
                  audited="content.collect"),
        Operation("POST", "/evict", "Make room under the quota now", admin.evict, models.Evicted,
                  audited="content.evict"),
    )  # fmt: skip


class _AdminStore:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._started_at = time.time()

    async def status(self, _: Asked) -> Model:
        settings, index = self._gateway.settings, self._gateway.index
        usage = await asyncio.to_thread(self._gateway.keeping.usage)
        return models.Status(
            version=__version__,
            started_at=self._started_at,
            upstream=settings.upstream,
            offline=settings.offline,
            workers=settings.workers,
            repos=len(await asyncio.to_thread(index.repos)),
            blobs=usage.blobs,
            blob_bytes=usage.blob_bytes,
            xet_files=usage.xet_files,
            xorb_bytes=usage.xorb_bytes,
            quota_bytes=usage.quota_bytes,
            free_bytes=usage.free_bytes,
            filling=[
                models.Filling(etag=etag, present_bytes=present, size_bytes=size)
                for etag, present, size in self._gateway.fills.active
            ],
        )

    async def repos(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._gateway.index.usage_by_repo)
        pinned = {pin.repo for pin in await asyncio.to_thread(self._gateway.index.pins)}
        return models.Repos(
            repos=[
                models.Repo(
                    repo=str(row.repo),
                    files=row.files,
                    logical_bytes=row.logical_bytes,
                    stored_bytes=row.stored_bytes,
                    saved_bytes=row.saved_bytes,
                    own_bytes=row.own_bytes,
                    last_read_at=row.last_read_at,
                    pinned=row.repo in pinned,
                )
                for row in rows
            ]
        )

    async def rm(self, asked: Asked) -> Model:
        repo, revision = _repo_in(asked.query)
        removed = await asyncio.to_thread(self._gateway.keeping.remove, repo, revision)
        self._gateway.repos.forget(repo)
        return models.Removed.model_validate(removed)

    async def usage(self, _: Asked) -> Model:
        return models.Usage.model_validate(
            fields(await asyncio.to_thread(self._gateway.keeping.usage), models.Usage)
        )

    async def pins(self, _: Asked) -> Model:
        rows = await asyncio.to_thread(self._gateway.index.pins)
        return models.Pins(pins=[models.Pin(repo=str(row.repo), revision=row.revision) for row in rows])

    async def pin(self, asked: Asked) -> Model:
        repo, revision = parse_repo(asked.body.repo), _revision(asked.body.revision)
        await asyncio.to_thread(self._gateway.index.pin, repo, revision, time.time())
        return models.Pin(repo=str(repo), revision=revision)

    async def unpin(self, asked: Asked) -> Model:
        repo, revision = _repo_in(asked.query)
        return Gone(removed=await asyncio.to_thread(self._gateway.index.unpin, repo, revision))

    async def failures(self, asked: Asked) -> Model:
        limit = _number(asked.query.get("limit", "100"), _MAX_FAILURES)
        rows = await asyncio.to_thread(self._gateway.index.failures, limit)
        return models.Failures(
            failures=[
                models.Failure(
                    etag=row.etag, repo=str(row.repo), path=row.path, why=row.why, failed_at=row.failed_at
                )
                for row in rows
            ]
        )

    async def gc(self, _: Asked) -> Model:
        collected = await asyncio.to_thread(self._gateway.stock.collect)
        return models.Collected.model_validate(fields(collected, models.Collected))

    async def evict(self, _: Asked) -> Model:
        evicted = await asyncio.to_thread(self._gateway.keeping.evict)
        return models.Evicted.model_validate(fields(evicted, models.Evicted))


def _repo_in(query: Mapping[str, str]) -> tuple[RepoId, Revision | None]:
    return parse_repo(required(query, "repo")), _revision(query.get("revision"))


def _revision(text: str | None) -> Revision | None:
    return parse_revision(text) if text else None


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"not a number: {text[:20]!r}")
    return max(1, min(int(text), most))
