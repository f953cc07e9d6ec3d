"""What is counted: many answers at once come to the same as one after another."""

from __future__ import annotations

from moongate.app.exchange import Outcome, Record
from moongate.app.metrics import Metrics


def ended(route: str, outcome: Outcome | None, status: int, sent_bytes: int) -> tuple[Record, float]:
    record = Record("GET", "/x", "", "id", route=route, outcome=outcome, status=status)
    record.sent_bytes = sent_bytes
    return record, 0.002


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
