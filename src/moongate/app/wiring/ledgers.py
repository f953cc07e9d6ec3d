"""Who writes down what fills do, and who makes room for them."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from moongate.app.metrics import Metrics
from moongate.app.wiring.stock import Stock
from moongate.core.digests import Etag
from moongate.core.errors import MoongateError, StoreError, UpstreamError, VerificationFailed
from moongate.store.index import Index

log = structlog.get_logger("moongate.fills")


class FillLedger:
    """Writes down what fills do: counters, new blobs, failures. Called from worker threads."""

    def __init__(self, index: Index, metrics: Metrics, forget: Callable[[Etag], None]) -> None:
        """forget: called for content whose bytes turned out to be others."""
        self._index = index
        self._metrics = metrics
        self._forget = forget

    def fetched(self, count: int) -> None:
        self._metrics.fetched(count)

    def retried(self, error: UpstreamError) -> None:
        self._metrics.asked_again(type(error).__name__)

    def sealed(self, etag: Etag, size_bytes: int, seconds: float) -> None:
        self._metrics.filled(size_bytes, seconds)
        try:
            self._index.put_blob(etag, size_bytes, time.time())
        except StoreError as error:
            # the file is sealed and served; the hourly collection registers it
            log.warning("a sealed file is not in the index yet", etag=etag, why=error.message)

    def failed(self, etag: Etag, error: MoongateError) -> None:
        self._metrics.fill_failed(type(error).__name__)
        log.warning("fill failed", etag=etag, kind=type(error).__name__, why=error.message)
        _forget_wrong(self._forget, etag, error)
        _record_failure(self._index, etag, error)

    def tainted(self, etag: Etag) -> None:
        try:
            self._index.taint(etag, time.time())
        except StoreError as trouble:
            log.warning("who got wrong bytes may come for the rest", etag=etag, why=trouble.message)


class XetLedger:
    """Writes down what the fills of Xet files do. Called from worker threads."""

    def __init__(self, index: Index, metrics: Metrics, forget: Callable[[Etag], None]) -> None:
        """forget: called for content whose bytes turned out to be others."""
        self._index = index
        self._metrics = metrics
        self._forget = forget

    def fetched(self, count: int) -> None:
        self._metrics.xet_fetched(count)

    def retried(self, error: UpstreamError) -> None:
        self._metrics.asked_again(type(error).__name__)

    def proven(self, file_id: str, etag: Etag, size_bytes: int, seconds: float) -> None:
        self._metrics.xet_proven(seconds)

    def failed(self, file_id: str, etag: Etag, error: MoongateError) -> None:
        self._metrics.xet_failed(type(error).__name__)
        log.warning("xet fill failed", file=file_id, etag=etag, kind=type(error).__name__, why=error.message)
        _forget_wrong(self._forget, etag, error)
        _record_failure(self._index, etag, error)

    def fell_back(self, etag: Etag, error: MoongateError) -> None:
        self._metrics.xet_fell_back(type(error).__name__)
        log.warning("read on without the CAS", etag=etag, kind=type(error).__name__, why=error.message)


def _forget_wrong(forget: Callable[[Etag], None], etag: Etag, error: MoongateError) -> None:
    """What was said of bytes that were not the content's is worth nothing."""
    if isinstance(error, VerificationFailed):
        try:
            forget(etag)
        except StoreError as trouble:
            log.warning("a verdict was not forgotten", etag=etag, why=trouble.message)


def _record_failure(index: Index, etag: Etag, error: MoongateError) -> None:
    try:
        for file in index.where_is(etag)[:1]:
            index.record_failure(etag, file.repo, file.entry.path, error.message, time.time())
    except StoreError as trouble:
        log.warning("a failure was not recorded", etag=etag, why=trouble.message)


def room_maker(stock: Stock, metrics: Metrics) -> Callable[[int], None]:
    def make_room(incoming_bytes: int) -> None:
        evicted = stock.keeping.make_room(incoming_bytes)
        if evicted.freed_bytes:
            metrics.evicted(evicted.files, evicted.freed_bytes)

    return make_room
