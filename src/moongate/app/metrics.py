"""What is counted: one table (name, kind, labels, help), and the page Prometheus reads.

With several workers each process writes to files in one directory, and any of them answers for all; that
directory must be in the environment before this module is first imported (`prepare_directory`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from moongate.app.exchange import Record
from moongate.core.errors import MoongateError
from moongate.hub.events import Outcome, Purpose

Kind = Literal["counter", "gauge", "histogram"]

_Alike = tuple[str, str | None, int]
"""Route, outcome and status of requests that are counted together."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric, without the `moongate_` every name begins with; counters end in `_total`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


METRICS = (
    MetricRow("requests", "counter", ("route", "outcome", "status"),
              "Requests answered; outcome is hit, miss, stale or pass, and none for answers of our own."),
    MetricRow("request_seconds", "histogram", ("route",),
              "From a request's arrival to the last byte of its answer handed to the system."),
    MetricRow("requests_running", "gauge", (), "Requests being answered now."),
    MetricRow("served_bytes", "counter", ("outcome",), "Body bytes handed to clients."),
    MetricRow("fetched_bytes", "counter", (), "File bytes fetched from upstream."),
    MetricRow("xet_fetched_bytes", "counter", (), "Of the bytes fetched from upstream, those of xorbs."),
    MetricRow("xet_served_bytes", "counter", (), "Of the bytes handed to clients, those of xorbs."),
    MetricRow("xet_proof_seconds", "histogram", (),
              "From the first byte asked of a Xet file to the proof of all of it."),
    MetricRow("xet_fills_failed", "counter", ("error",), "Xet files that could not be had, or proven."),
    MetricRow("xet_fallbacks", "counter", ("error",), "Plain reads that went on without upstream's CAS."),
    MetricRow("xet_made", "counter", ("error",),
              "Times that a Xet client was sent to chunks made of a file's plain bytes."),
    MetricRow("xet_hot_files", "counter", (), "Files kept as chunks of which a whole copy was begun, too."),
    MetricRow("xet_hot_bytes", "counter", (), "Bytes of those copies."),
    MetricRow("xet_withdrawn", "counter", ("error",),
              "Reconstructions that failed, so that files are offered plainly for a while."),
    MetricRow("fill_seconds", "histogram", (), "From a fill's start to its sealed blob."),
    MetricRow("fills_failed", "counter", ("error",), "Fills that ended without a sealed file."),
    MetricRow("upstream_seconds", "histogram", ("purpose",), "Questions put to upstream, files aside."),
    MetricRow("upstream_errors", "counter", ("purpose", "error"), "Questions upstream did not answer well."),
    MetricRow("refusals", "counter", ("error",), "Requests answered with an error, by kind."),
    MetricRow("evicted_files", "counter", (), "Blobs evicted to keep the quota."),
    MetricRow("evicted_bytes", "counter", (), "Bytes freed by eviction."),
    MetricRow("verdicts", "counter", ("verdict", "basis"),
              "Contents judged; basis is whole, or ranges for a first look."),
    MetricRow("scan_seconds", "histogram", ("basis",), "How long judging a content took, waiting included."),
    MetricRow("decisions", "counter", ("action", "effect"), "What the policy said of who wanted what."),
    MetricRow("store_bytes", "gauge", (), "Bytes of sealed blobs and xorbs on disk."),
    MetricRow("disk_free_bytes", "gauge", (), "Room left on the store's disk."),
    MetricRow("memory_cache_bytes", "gauge", (), "Ready-made answers in memory, of one process."),
)  # fmt: skip

_TROUBLE_SECONDS = 300.0
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted since the start, of what Hub clients ask for: our pages and errors do not count."""

    requests: float
    hits: float
    served_bytes: float
    fetched_bytes: float


@dataclass(slots=True)
class _Sum:
    """What requests that are counted together took, one by one, and sent."""

    seconds: list[float]
    sent_bytes: int = 0


class _Durations(Histogram):
    """A histogram that takes many at once: one by one, each looks for its bucket and takes two locks."""

    def observe_all(self, seconds: Sequence[float]) -> None:
        """As `observe` of each."""
        counts = [0] * len(self._buckets)
        for one in seconds:
            counts[bisect_left(self._upper_bounds, one)] += 1
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(sum(seconds))


class Metrics:
    """The counters of this process, and what the rooms below report to (`hub.events.HubEvents`).

    Labels are bound once, so that counting a request costs microseconds.
    """

    def __init__(self, *, multiprocess: bool = False) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._multiprocess = multiprocess
        self.registry = CollectorRegistry()
        made: dict[str, Counter | Gauge | Histogram] = {row.name: self._make(row) for row in METRICS}
        self._made = made
        self._request_children: dict[_Alike, Callable[[float], None]] = {}
        self._seconds_children: dict[str, Callable[[Sequence[float]], None]] = {}
        self._served_children: dict[str | None, Callable[[float], None]] = {}
        self._trouble, self._trouble_until = "", 0.0
        self.upstream_heard = False
        """Whether upstream has answered this process at all."""
        self._first: list[Callable[[], None]] = []
        self.running = 0

    def before_reading(self, settle: Callable[[], None]) -> None:
        """Call this whenever the counters are about to be read: somebody counts late."""
        self._first.append(settle)

    def count(self, exchange: Record, seconds: float) -> None:
        """Counts a finished exchange."""
        self.count_all([(exchange, seconds)])

    def count_all(self, ended: Sequence[tuple[Record, float]]) -> None:
        """Counts finished exchanges, each with its seconds; what is alike is added up first."""
        sums: dict[_Alike, _Sum] = {}
        for exchange, seconds in ended:
            key: _Alike = (exchange.route, exchange.outcome, exchange.status)
            found = sums.get(key)
            if found is None:
                found = sums[key] = _Sum([])
            found.seconds.append(seconds)
            found.sent_bytes += exchange.sent_bytes
        for key, found in sums.items():
            self._add(key, found.seconds, found.sent_bytes)

    def _add(self, key: _Alike, seconds: Sequence[float], sent_bytes: int) -> None:
        """Adds requests of a route, outcome and status: how long each took, and their bytes."""
        route, outcome, status = key
        observe = self._seconds_children.get(route)
        if observe is None:
            labelled = cast(_Durations, self.histogram("request_seconds").labels(route))
            observe = self._seconds_children[route] = labelled.observe_all
        observe(seconds)
        increment = self._request_children.get(key)
        if increment is None:
            increment = self._request_children[key] = (
                self.counter("requests").labels(route, outcome or "none", str(status)).inc
            )
        increment(len(seconds))
        served = self._served_children.get(outcome)
        if served is None:
            served = self._served_children[outcome] = (
                self.counter("served_bytes").labels(outcome or "none").inc
            )
        served(sent_bytes)

    def refused(self, error: MoongateError) -> None:
        """Counts a request that ended in an error."""
        self.counter("refusals").labels(type(error).__name__).inc()

    def answered(self, kind: str, outcome: Outcome) -> None:
        """Nothing: `count` sees every answer that leaves the house."""

    def asked_upstream(self, purpose: Purpose, seconds: float, error: str | None) -> None:
        self.histogram("upstream_seconds").labels(purpose).observe(seconds)
        if error is None:
            self._trouble, self.upstream_heard = "", True
            return
        self.counter("upstream_errors").labels(purpose, error).inc()
        if error.startswith("Upstream"):
            self._trouble, self._trouble_until = error, time.monotonic() + _TROUBLE_SECONDS

    def asked_again(self, error: str) -> None:
        """A fill's request failed and is repeated."""
        self.counter("upstream_errors").labels("file", error).inc()

    def filled(self, size_bytes: int, seconds: float) -> None:
        self.histogram("fill_seconds").observe(seconds)

    def fetched(self, size_bytes: int) -> None:
        self.counter("fetched_bytes").inc(size_bytes)

    def xet_fetched(self, size_bytes: int) -> None:
        self.fetched(size_bytes)
        self.counter("xet_fetched_bytes").inc(size_bytes)

    def xet_served(self, size_bytes: int) -> None:
        self.counter("xet_served_bytes").inc(size_bytes)

    def xet_proven(self, seconds: float) -> None:
        self.histogram("xet_proof_seconds").observe(seconds)

    def xet_failed(self, error: str) -> None:
        self.counter("xet_fills_failed").labels(error).inc()

    def xet_fell_back(self, error: str) -> None:
        self.counter("xet_fallbacks").labels(error).inc()

    def xet_made(self, error: str) -> None:
        """A Xet client goes on without upstream's CAS."""
        self.counter("xet_made").labels(error).inc()

    def xet_became_hot(self, size_bytes: int) -> None:
        self.counter("xet_hot_files").inc()
        self.counter("xet_hot_bytes").inc(size_bytes)

    def xet_withdrawn(self, error: str) -> None:
        """What was offered as Xet could not be had so."""
        self.counter("xet_withdrawn").labels(error).inc()

    def fill_failed(self, error: str) -> None:
        self.counter("fills_failed").labels(error).inc()

    def judged(self, verdict: str, basis: str, seconds: float) -> None:
        """A content was judged."""
        self.counter("verdicts").labels(verdict, basis).inc()
        self.histogram("scan_seconds").labels(basis).observe(seconds)

    def decided(self, action: str, effect: str) -> None:
        """The policy was asked."""
        self.counter("decisions").labels(action, effect).inc()

    def evicted(self, files: int, size_bytes: int) -> None:
        self.counter("evicted_files").inc(files)
        self.counter("evicted_bytes").inc(size_bytes)

    def counter(self, name: str) -> Counter:
        return cast(Counter, self._made[name])

    def gauge(self, name: str) -> Gauge:
        return cast(Gauge, self._made[name])

    def histogram(self, name: str) -> Histogram:
        return cast(Histogram, self._made[name])

    def totals(self) -> Totals:
        """The counters a status page shows, of all workers."""
        sums: dict[str, float] = {}
        hits = 0.0
        for family in self._gathered().collect():
            for sample in family.samples:
                if sample.labels.get("outcome") == "none":
                    continue
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
                if sample.name == "moongate_requests_total" and sample.labels.get("outcome") == "hit":
                    hits += sample.value
        return Totals(
            requests=sums.get("moongate_requests_total", 0.0),
            hits=hits,
            served_bytes=sums.get("moongate_served_bytes_total", 0.0),
            fetched_bytes=sums.get("moongate_fetched_bytes_total", 0.0),
        )

    def trouble(self) -> str:
        """The kind of error upstream's last answer to this process was, while it is recent; else empty."""
        return self._trouble if time.monotonic() < self._trouble_until else ""

    def page(self) -> bytes:
        """The exposition text of all workers."""
        self.gauge("requests_running").set(self.running)
        return generate_latest(self._gathered())

    def _gathered(self) -> CollectorRegistry:
        for settle in self._first:
            settle()
        if not self._multiprocess:
            return self.registry
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return everybody

    def _make(self, row: MetricRow) -> Counter | Gauge | Histogram:
        name = f"moongate_{row.name}"
        if row.kind == "counter":
            return Counter(name, row.help, row.labels, registry=self.registry)
        if row.kind == "histogram":
            return _Durations(name, row.help, row.labels, registry=self.registry, buckets=_BUCKETS)
        mode: Literal["livesum", "mostrecent"] = "livesum" if row.name == "requests_running" else "mostrecent"
        return Gauge(name, row.help, row.labels, registry=self.registry, multiprocess_mode=mode)
