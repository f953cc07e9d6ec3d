"""One contract for what the index keeps of identity, over SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from moongate.core.accounts import EVERYWHERE, AccountRow, DeviceRow, SessionRow, StandingRow, TrustRow
from moongate.core.callers import TokenRow
from moongate.core.errors import Conflict
from moongate.store import index as room
from moongate.store.index import Index

TOKEN = TokenRow("t1", "ab" * 32, "Trainer", "write", 1.0, places=("acme", "other/tiny"), origin="exchange")
SERVICE = AccountRow("trainer", "service", None, None, 5.0, note="nightly")


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    if request.param == "sqlite":
        where = f"sqlite:///{tmp_path}/index.sqlite3"
    else:
        create: Callable[[], str] = request.getfixturevalue("postgres_database")
        where = create()
    with Index(where) as index:
        yield index


class TestTokens:
    def test_what_a_token_is_bound_to_and_when_it_was_used_is_kept(self, index: Index) -> None:
        index.put_token(TOKEN)
        assert index.token_by_sha256(TOKEN.sha256) == TOKEN
        index.tokens_used([("t1", 7.5), ("unknown", 8.0)])
        assert index.token_by_sha256(TOKEN.sha256) == replace(TOKEN, last_used_at=7.5)

    def test_a_token_tells_of_its_account_whatever_the_case(self, index: Index) -> None:
        index.put_token(TOKEN)
        assert index.add_account(SERVICE)
        assert index.token_by_sha256(TOKEN.sha256) == replace(TOKEN, service=True)
        assert index.disable_account("TRAINER", 9.0)
        assert index.tokens() == [replace(TOKEN, service=True, disabled=True)]
        assert index.enable_account("trainer")
        assert index.tokens() == [replace(TOKEN, service=True)]

    def test_exchanged_tokens_are_forgotten_in_time_and_no_others(self, index: Index) -> None:
        index.put_token(replace(TOKEN, expires_at=10.0))
        index.put_token(TokenRow("t2", "cd" * 32, "ada", "read", 1.0, expires_at=10.0))
        assert index.prune_exchanged(10.0) == 0
        assert index.prune_exchanged(11.0) == 1
        assert [token.id for token in index.tokens()] == ["t2"]


class TestAccounts:
    def test_a_service_account_is_made_once(self, index: Index) -> None:
        assert index.add_account(SERVICE)
        assert not index.add_account(replace(SERVICE, note="again"))
        assert index.account("Trainer") == SERVICE
        assert index.account("nobody") is None

    def test_whom_an_issuer_calls_the_same_keeps_the_name(self, index: Index) -> None:
        assert index.sign_in("https://idp", "1", "Alice@acme", ["b", "a", "a"], 2.0) == "alice@acme"
        assert index.sign_in("https://idp", "1", "other@acme", ["c"], 3.0) == "alice@acme"
        assert index.groups_of("ALICE@acme") == ["c"]
        found = index.account("alice@acme")
        assert found is not None
        assert (found.kind, found.created_at, found.seen_at) == ("user", 2.0, 3.0)
        assert index.account("other@acme") is None

    @pytest.mark.parametrize(("issuer", "subject"), [("https://idp", "2"), ("https://other", "1")])
    def test_a_name_is_never_given_to_two(self, index: Index, issuer: str, subject: str) -> None:
        index.sign_in("https://idp", "1", "alice", ["staff"], 2.0)
        with pytest.raises(Conflict):
            index.sign_in(issuer, subject, "ALICE", ["admins"], 3.0)
        assert index.groups_of("alice") == ["staff"]

    def test_nobody_signs_in_as_a_service_account(self, index: Index) -> None:
        index.add_account(SERVICE)
        with pytest.raises(Conflict):
            index.sign_in("https://idp", "1", "trainer", [], 2.0)

    def test_many_sign_in_at_once_and_one_gets_the_name(self, index: Index) -> None:
        def sign_in(number: int) -> bool:
            try:
                index.sign_in("https://idp", str(number), "alice", [], 2.0)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(sign_in, range(8))) == 1

    def test_groups_are_teams_as_long_as_they_were_told_lately(self, index: Index) -> None:
        index.map_group("ml", "research")
        index.map_group("ml", "research")
        index.add_member("ops", "Alice")
        index.sign_in("https://idp", "1", "alice", ["ml"], 2.0)
        assert index.teams_of("alice") == ["research"]
        assert index.teams_of("Alice") == ["ops", "research"]
        assert index.group_map() == [("ml", "research")]
        assert index.prune_groups(2.0) == 0
        assert index.prune_groups(3.0) == 1
        assert index.teams_of("alice") == []
        assert index.unmap_group("ml", "research")
        assert not index.unmap_group("ml", "research")


def test_roles_are_beside_one_another(index: Index) -> None:
    rows = [
        StandingRow(EVERYWHERE, "team:research", "publisher"),
        StandingRow("acme", "user:ada", "approver"),
        StandingRow(EVERYWHERE, "user:ada", "admin"),
    ]
    for row in (*rows, *rows):
        index.add_standing(row)
    assert index.standing() == sorted(rows, key=lambda row: (row.place, row.subject))
    assert index.drop_standing(rows[1])
    assert not index.drop_standing(rows[1])
    assert rows[1] not in index.standing()


class TestWaysIn:
    def test_a_session_ends_with_its_account_and_is_forgotten_in_time(self, index: Index) -> None:
        index.sign_in("https://idp", "1", "alice", [], 1.0)
        mine, other = SessionRow("aa", "alice", None, 1.0, 9.0), SessionRow("bb", "bob", "cd" * 32, 1.0, 5.0)
        index.put_session(mine)
        index.put_session(other)
        assert index.session("aa") == mine
        index.disable_account("alice", 2.0)
        assert index.session("aa") is None
        assert index.session("bb") == other
        assert index.prune_ways_in(5.0) == 0
        assert index.prune_ways_in(6.0) == 1
        assert not index.drop_session("bb")

    def test_a_device_is_answered_once_and_taken_once(self, index: Index) -> None:
        row = DeviceRow("aa", "BCDFGHJK", 9.0)
        assert index.put_device(row)
        assert not index.put_device(replace(row, sha256="bb"))
        assert index.device_called("BCDFGHJK") == row
        assert index.answer_device("BCDFGHJK", "allowed", "alice")
        assert not index.answer_device("BCDFGHJK", "denied", "mallory")
        assert index.device("aa") == replace(row, state="allowed", account="alice")
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(index.take_device, ["aa"] * 4)) == 1

    def test_a_word_is_spent_once(self, index: Index) -> None:
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(lambda _: index.spend("state x", 9.0), range(4))) == 1
        assert index.prune_ways_in(10.0) == 1
        assert index.spend("state x", 20.0)


def test_a_trust_is_kept_as_it_was_made(index: Index) -> None:
    claims = {"repository": "acme/*", "ref": "refs/heads/main"}
    row = TrustRow("t1", "https://ci", claims, "ci", "write", ("acme",), "", "RS256", 900.0, True, 3.0, "CI")
    index.put_trust(row)
    assert index.trusts() == [row]
    assert index.drop_trust("t1")
    assert not index.drop_trust("t1")


def test_no_two_nouns_of_the_index_call_anything_alike() -> None:
    """They are one object: an attribute that two of them set would be the second one's."""
    seen: dict[str, str] = {}
    for file in sorted(Path(str(room.__file__)).parent.glob("*.py")):
        if file.name in ("sqlite.py", "postgres.py", "database.py"):
            continue
        for name in sorted(set(re.findall(r"self\.(_\w+)\s*(?:[:=])", file.read_text())) - {"_db"}):
            assert name not in seen, f"{name} is set in {seen[name]} and {file.name}"
            seen[name] = file.name
