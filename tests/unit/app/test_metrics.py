"""What is counted: many answers at once come to the same as one after another."""

from __future__ import annotations

from prometheus_client import Histogram

from moongate.app.exchange import Outcome, Record
from moongate.app.metrics import Metrics


def ended(
    route: str, outcome: Outcome | None, status: int, sent_bytes: int, seconds: float = 0.002
) -> tuple[Record, float]:
    record = Record("GET", "/x", "", "id", route=route, outcome=outcome, status=status)
    record.sent_bytes = sent_bytes
    return record, seconds


def test_answers_counted_together_are_each_counted() -> None:
    answers = [
        ended("Resolve", "hit", 206, 100),
        ended("Info", "hit", 200, 7),
        ended("Resolve", "hit", 206, 20),
        ended("Resolve", "hit", 200, 3),
        ended("page", None, 200, 1000),
    ]
    together, apart = Metrics(), Metrics()
    together.count_all(answers)
    for record, seconds in answers:
        apart.count(record, seconds)
    told = together.page().decode()
    assert told == apart.page().decode()
    assert 'moongate_requests_total{outcome="hit",route="Resolve",status="206"} 2.0' in told
    assert 'moongate_requests_total{outcome="hit",route="Resolve",status="200"} 1.0' in told
    assert 'moongate_requests_total{outcome="none",route="page",status="200"} 1.0' in told
    assert 'moongate_served_bytes_total{outcome="hit"} 130.0' in told
    assert 'moongate_request_seconds_count{route="Resolve"} 3.0' in told


def test_durations_fall_into_the_buckets_that_a_histogram_would_choose() -> None:
    seconds = [0.0, 0.0005, 0.00051, 0.0025, 1.0, 59.9, 600.0, 601.0]
    metrics = Metrics()
    metrics.count_all([ended("Resolve", "hit", 206, 1, one) for one in seconds])
    plain = Histogram("x", "x", registry=None, buckets=metrics.histogram("request_seconds")._upper_bounds)
    for one in seconds:
        plain.observe(one)
    expected = {
        (sample.name.removeprefix("x_"), sample.labels.get("le", "")): sample.value
        for family in plain.collect()
        for sample in family.samples
    }
    told = {
        (sample.name.removeprefix("moongate_request_seconds_"), sample.labels.get("le", "")): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("moongate_request_seconds_")
    }
    assert told == expected
    assert told["count", ""] == len(seconds)
