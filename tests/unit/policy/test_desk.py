"""The desk: holds become requests, requests become waivers, and waivers let pass what they cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moongate.core.approvals import Request, Terms
from moongate.core.decisions import Decision
from moongate.core.errors import Absent, BadRequest, Conflict, NotAllowed
from moongate.hub.audit import Actor, AuditEvent, NoAudit
from moongate.policy.desk import MAX_SECONDS, Desk, NewWaiver
from moongate.policy.facts import Facts
from moongate.policy.loading import load
from moongate.policy.short_facts import facts_from
from moongate.policy.waivers import WaivedPolicy, WaiverBook
from moongate.store.index import Index

ADA, BOB = Actor("ada", "token"), Actor("bob", "token")
COMMIT = "c" * 40


class Ledger(NoAudit):
    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def record(self, event: AuditEvent) -> None:
        self.events.append(event)


class House:
    """A desk over an index, the balanced policy with waivers, and a clock."""

    def __init__(self, index: Index, *, two_persons: bool = False) -> None:
        self.now = 1_000_000.0
        self.audit = Ledger()
        self.rules = load("balanced").rules
        self.desk = Desk(index, self.audit, lambda: self.now, two_persons=two_persons)
        effects = {rule.id: rule.effect for rule in self.rules.rules}
        self.policy = WaivedPolicy(self.rules, WaiverBook(index, lambda: self.now), effects.get)

    def asked(self, **facts: Any) -> Facts:
        told = {
            "repo": "acme/tiny", "actor": "eve", "commit_hash": COMMIT, "path": "model.bin",
            "digest": "d" * 64, "verdict": "suspicious", "formats": ["pickle"],
            "findings": ["pickle-import-unknown:medium", "hidden-text:low"],
        }  # fmt: skip
        return facts_from({**told, **facts}, self.now)

    def hold(self, **facts: Any) -> Request:
        asked = self.asked(**facts)
        decision = self.policy.decide(asked)
        assert decision.effect == "hold"
        return self.desk.request(self.desk.held(asked, decision))

    def terms(self, scope: Any = "digest", subject: str = "all", **more: Any) -> Terms:
        return Terms(scope, subject, self.now + 1000, "looked at it", **more)

    def effect(self, **facts: Any) -> str:
        return self.policy.decide(self.asked(**facts)).effect


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "index.sqlite3") as index:
        yield index


@pytest.fixture
def house(index: Index) -> House:
    return House(index)


def test_a_hold_opens_one_request_however_often_it_is_met(house: House) -> None:
    first = house.hold()
    house.now += 120
    again, other = house.hold(actor="mallory"), house.hold(path="other.bin")

    assert again.id == first.id
    assert other.id != first.id
    assert house.desk.request(first.id).askers == ("eve", "mallory")
    assert first.evidence["grave"] == ["pickle-import-unknown"]
    assert [event.kind for event in house.audit.events] == ["approval.request"] * 2
    assert {request.id for request in house.desk.requests()} == {first.id, other.id}


def test_what_is_granted_passes_with_a_warning_that_names_the_waiver(house: House) -> None:
    granted = house.desk.grant(house.hold().id, house.terms(), ADA)
    decision = house.policy.decide(house.asked())

    assert granted.waiver is not None
    assert (decision.effect, decision.waiver) == ("warn", granted.waiver.id)
    assert "waived by ada until 1970-01-12" in decision.reason
    assert decision.rules == ("suspicious", "unsafe-format")
    assert granted.request.state == "granted"
    assert house.audit.events[-1].kind == "approval.grant"
    assert house.desk.requests() == []


def test_a_waiver_ends(house: House) -> None:
    house.desk.grant(house.hold().id, house.terms(), ADA)
    before = house.policy.generation
    assert house.effect() == "warn"

    house.now += 1000

    assert house.effect() == "hold"
    assert house.policy.generation != before
    assert house.hold().state == "open"


def test_a_revoked_waiver_stops_again_at_once_in_every_process(house: House, index: Index) -> None:
    granted = house.desk.grant(house.hold().id, house.terms(), ADA)
    other = House(index)
    assert granted.waiver is not None
    assert other.effect() == "warn"

    house.desk.revoke_waiver(granted.waiver.id, BOB)

    assert (house.effect(), other.effect()) == ("hold", "hold")
    with pytest.raises(Conflict, match="revoked before"):
        other.desk.revoke_waiver(granted.waiver.id, BOB)


@pytest.mark.parametrize(
    ("scope", "covered", "not_covered"),
    [
        ("digest", {"repo": "other/copy", "path": "x"}, {"digest": "e" * 64}),
        ("file", {"digest": "d" * 64}, {"commit_hash": "e" * 40}),
        ("file", {}, {"path": "other.bin"}),
        ("repo", {"path": "other.bin", "digest": "e" * 64}, {"repo": "acme/other"}),
        ("repo", {"repo": "Acme/Tiny"}, {"repo": "datasets/acme/tiny"}),
        ("finding", {"path": "x", "digest": "e" * 64}, {"findings": ["pickle-import-unknown", "secret"]}),
        ("finding", {"path": "x", "digest": "e" * 64}, {"repo": "acme/other"}),
    ],
)
def test_a_waiver_covers_its_scope_and_no_more(
    house: House, scope: str, covered: dict[str, Any], not_covered: dict[str, Any]
) -> None:
    request = house.hold()
    house.desk.grant(request.id, house.terms(scope), ADA)

    assert house.effect(**covered) == "warn"
    assert house.effect(**not_covered) == "hold"
    assert house.effect(action="deploy") == "hold"


@pytest.mark.parametrize(
    ("subject", "covered", "not_covered"),
    [("user:eve", {}, {"actor": "mallory"}), ("team:ml", {"teams": ["ml"]}, {"teams": ["ops"]})],
)
def test_a_waiver_is_for_whom_it_names(
    house: House, subject: str, covered: dict[str, Any], not_covered: dict[str, Any]
) -> None:
    house.desk.grant(house.hold().id, house.terms(subject=subject), ADA)

    assert house.effect(**covered) == "warn"
    assert house.effect(**not_covered) == "hold"


def test_a_waiver_lifts_the_rules_that_held_and_no_others(house: House) -> None:
    house.desk.grant(house.hold().id, house.terms("repo"), ADA)

    assert house.effect(verdict="failed") == "hold"
    assert house.effect(verdict="dangerous") == "deny"


def test_a_waiver_for_a_deny_says_so(house: House) -> None:
    house.desk.add_waiver(NewWaiver(house.terms("repo"), "hold", repo="acme/tiny"), ADA)
    assert house.effect(verdict="dangerous") == "deny"
    house.desk.add_waiver(NewWaiver(house.terms("repo"), "deny", repo="acme/tiny"), ADA)
    assert house.effect(verdict="dangerous") == "warn"


def test_granting_a_repository_answers_its_other_requests(house: House) -> None:
    first, second, failed = house.hold(), house.hold(path="b.bin"), house.hold(verdict="failed", path="c.bin")
    granted = house.desk.grant(first.id, house.terms("repo"), ADA)

    assert granted.also == (second.id,)
    assert [request.id for request in house.desk.requests()] == [failed.id]


def test_a_refused_hold_opens_nothing_new_for_a_day(house: House) -> None:
    request = house.hold()
    house.desk.refuse(request.id, "it is malware", ADA)
    house.now += 3600
    assert house.hold().id == request.id
    house.now += 86400
    assert house.hold().id != request.id
    with pytest.raises(Conflict, match="was refused by ada"):
        house.desk.grant(request.id, house.terms(), BOB)


def test_two_persons_have_to_agree_and_nobody_approves_their_own(index: Index) -> None:
    house = House(index, two_persons=True)
    request = house.hold(actor="ada")

    with pytest.raises(NotAllowed, match="ada asked for it"):
        house.desk.grant(request.id, house.terms(), ADA)
    proposed = house.desk.grant(request.id, house.terms(subject="team:ml"), BOB)
    assert proposed.waiver is None
    assert house.effect(teams=["ml"]) == "hold"
    with pytest.raises(NotAllowed, match="bob proposed it"):
        house.desk.grant(request.id, None, BOB)
    with pytest.raises(Conflict, match="bob proposed the scope digest for team:ml"):
        house.desk.grant(request.id, house.terms("repo"), Actor("cyd", "token"))
    granted = house.desk.grant(request.id, None, Actor("cyd", "token"))

    assert granted.waiver is not None
    assert granted.waiver.created_by == "bob and cyd"
    assert house.effect(teams=["ml"]) == "warn"
    assert house.effect() == "hold"
    with pytest.raises(NotAllowed, match="two persons"):
        house.desk.add_waiver(NewWaiver(house.terms("repo"), repo="acme/tiny"), BOB)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"comment": " "}, "say why"),
        ({"comment": "x" * 2001}, "at most 2000"),
        ({"expires_at": 1_000_000.0}, "ends in the future"),
        ({"expires_at": 1_000_000.0 + MAX_SECONDS + 1}, "within a year"),
        ({"subject": "everybody"}, "for all, for user:NAME"),
        ({"subject": "team:"}, "for all, for user:NAME"),
        ({"scope": "finding", "finding": "secret"}, "did not find 'secret'"),
    ],
)
def test_terms_that_make_no_sense_are_refused(house: House, change: dict[str, Any], words: str) -> None:
    request = house.hold()
    with pytest.raises(BadRequest, match=words):
        house.desk.grant(request.id, replace(house.terms(), **change), ADA)
    assert house.desk.request(request.id).state == "open"


def test_a_finding_is_waived_only_where_it_is_the_only_grave_one(house: House) -> None:
    request = house.hold(findings=["pickle-import-unknown", "secret"])
    with pytest.raises(BadRequest, match="approve the file instead"):
        house.desk.grant(request.id, house.terms("finding"), ADA)


@pytest.mark.parametrize("scope", ["digest", "file", "repo", "finding"])
def test_a_waiver_about_nothing_is_refused(house: House, scope: str) -> None:
    with pytest.raises(BadRequest, match=f"the scope {scope} needs"):
        house.desk.add_waiver(NewWaiver(house.terms(scope)), ADA)


def test_what_is_not_there_is_absent(house: House) -> None:
    with pytest.raises(Absent):
        house.desk.request("r-0")
    with pytest.raises(Absent):
        house.desk.revoke_waiver("w-0", ADA)


def test_what_is_sure_to_be_refused_is_not_where_a_waiver_covers_it(house: House) -> None:
    dangerous = house.asked(verdict="dangerous")
    assert house.policy.foresee(dangerous) is not None
    assert house.policy.foresee(house.asked()) is None
    house.desk.add_waiver(NewWaiver(house.terms("repo"), "deny", repo="acme/tiny"), ADA)
    assert house.policy.foresee(dangerous) is None


def test_the_decision_that_a_waiver_lifts_keeps_its_rules(house: House) -> None:
    plain = house.rules.decide(house.asked())
    house.desk.grant(house.hold().id, house.terms(), ADA)
    lifted = house.policy.decide(house.asked())

    assert isinstance(plain, Decision)
    assert (lifted.rules, lifted.policy) == (plain.rules, plain.policy)
