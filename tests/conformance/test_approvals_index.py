"""One contract for requests, waivers and webhooks in the index, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moongate.core.approvals import Request, Terms, Waiver
from moongate.core.asked import AskedRow
from moongate.core.webhooks import DeliveryRow, HookRow
from moongate.store.index import Index

REQUEST = Request(
    "r-1", "key", "read", "models/acme/tiny", "a" * 40, "model.bin", "b" * 64, "hold", ("suspicious", "x"),
    "look at it", {"facts": {"deep": [1, None]}}, opened_at=10.0, asked_at=10.0,
)  # fmt: skip
WAIVER = Waiver(
    "w-1", "file", "team:ml", "hold", 100.0, 10.0, "ada", "checked by hand", "models/acme/tiny", "a" * 40,
    "model.bin", "b" * 64, "pickle-call", "read", ("suspicious",), "r-1",
)  # fmt: skip
HOOK = HookRow("h-1", "https://example.com/hook", "secret", ("file.denied",), 1.0, "ada", "chat")


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    where = f"sqlite:///{tmp_path}/index.sqlite3"
    if request.param == "postgresql":
        create: Callable[[], str] = request.getfixturevalue("postgres_database")
        where = create()
    with Index(where) as index:
        yield index


def test_a_request_comes_back_whole_and_the_same_one_again_is_counted(index: Index) -> None:
    assert index.open_request(REQUEST, "eve") == REQUEST
    again = index.open_request(replace(REQUEST, id="r-2", asked_at=20.0, opened_at=20.0), "bob")
    index.open_request(replace(REQUEST, id="r-3", asked_at=21.0, opened_at=21.0), "bob")

    assert again == replace(REQUEST, asked_at=20.0, asked_count=2)
    kept = index.get_request("r-1")
    assert kept == replace(REQUEST, asked_at=21.0, asked_count=3)
    assert kept is not None
    assert kept.askers == ("eve", "bob")
    assert index.get_request("r-2") is None
    assert index.last_request("key") == kept
    assert index.requests() == index.requests("open") == [kept]


def test_a_decided_request_stays_and_a_new_hold_opens_another(index: Index) -> None:
    index.open_request(REQUEST, "eve")
    assert index.decide_requests(["r-1", "r-9"], "refused", "ada", "no", 30.0) == ["r-1"]
    assert index.decide_requests(["r-1"], "granted", "bob", "yes", 31.0, WAIVER) == []
    later = replace(REQUEST, id="r-2", opened_at=40.0, asked_at=40.0)
    assert index.open_request(later, "eve") == later

    told = index.get_request("r-1")
    assert told is not None
    assert (told.state, told.decided_at, told.decided_by, told.comment) == ("refused", 30.0, "ada", "no")
    assert [request.id for request in index.requests()] == ["r-2", "r-1"]
    assert [request.id for request in index.requests("refused")] == ["r-1"]
    assert index.waivers() == []
    assert index.last_request("key") == later


def test_a_grant_and_its_waiver_are_one(index: Index) -> None:
    index.open_request(REQUEST, "eve")
    before = index.waiver_serial()
    assert index.decide_requests(["r-1"], "granted", "ada", "yes", 30.0, WAIVER) == ["r-1"]

    assert index.waivers(99.0) == [WAIVER]
    assert index.waivers(100.0) == []
    assert index.waiver_serial() != before
    told = index.get_request("r-1")
    assert told is not None
    assert told.waiver_id == "w-1"


def test_only_the_first_proposal_counts(index: Index) -> None:
    index.open_request(REQUEST, "eve")
    terms = Terms("repo", "all", 99.0, "fine", "")
    assert index.propose("r-1", terms, "ada")
    assert not index.propose("r-1", replace(terms, scope="digest"), "bob")

    told = index.get_request("r-1")
    assert told is not None
    assert (told.proposal, told.proposed_by, told.state) == (terms, "ada", "open")


def test_a_revoked_waiver_holds_no_more_and_is_remembered(index: Index) -> None:
    index.put_waiver(WAIVER)
    serial = index.waiver_serial()
    assert index.revoke_waiver("w-1", "bob", 50.0)
    assert not index.revoke_waiver("w-1", "eve", 51.0)

    assert index.waiver_serial() > serial
    assert index.waivers(20.0) == []
    assert index.waivers() == [replace(WAIVER, revoked_at=50.0, revoked_by="bob")]
    assert index.get_waiver("w-1") == index.waivers()[0]
    assert index.get_waiver("w-2") is None


def test_webhooks_and_what_is_still_to_be_sent(index: Index) -> None:
    index.put_hook(HOOK)
    rows = [
        DeliveryRow(f"d-{number}", "h-1", "file.denied", "{}", "waiting", 5.0, 5.0 + number)
        for number in range(3)
    ]
    index.put_deliveries(rows)

    assert index.hooks() == [HOOK]
    assert index.due_deliveries(6.0) == rows[:2]
    index.note_attempt("d-0", "waiting", 60.0, "status 500")
    index.note_attempt("d-1", "sent", 0.0, "")
    assert [row.id for row in index.due_deliveries(50.0)] == ["d-2"]
    assert index.due_deliveries(60.0)[-1] == replace(rows[0], next_at=60.0, attempts=1, why="status 500")
    assert index.prune_deliveries(100.0) == 1
    assert len(index.deliveries_of("h-1")) == 2
    assert index.drop_hook("h-1")
    assert not index.drop_hook("h-1")
    assert index.due_deliveries(100.0) == []


def test_what_was_asked_is_kept_once_a_day_with_its_count(index: Index) -> None:
    row = AskedRow(7, "f" * 64, "{}", "hold", 2, 700.0)
    index.put_asked([row, replace(row, facts_digest="e" * 64)])
    index.put_asked([replace(row, effect="deny", asked_count=3, asked_at=701.0), replace(row, day=8)])

    assert index.asked_since(8) == [replace(row, day=8)]
    assert replace(row, effect="deny", asked_count=5, asked_at=701.0) in index.asked_since(7)
    assert len(index.asked_since(0)) == 3
    assert index.prune_asked(8) == 2
