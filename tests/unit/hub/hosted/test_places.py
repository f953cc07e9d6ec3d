"""Who may do what with what is hosted, and what a namespace hides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.core.callers import ANONYMOUS, LOCAL_USER, Caller
from moongate.core.errors import (
    Absent,
    AuthRequired,
    BadName,
    Conflict,
    MoongateError,
    NotAllowed,
    RepoAbsent,
    RepoMoved,
    ScopeMissing,
)
from moongate.core.names import CommitHash, RepoId, Revision
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.repositories import NewRepo
from moongate.hub.hosted.rules import HostedRules
from moongate.store.index import Role
from support.hosting import ALICE, BOB, REPO, HostingHouse

READER = Caller("token", user="alice", scope="read")
ADMIN = Caller("token", user="root", scope="admin")
SECRET = RepoId("model", "acme/secret")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[HostingHouse]:
    house = HostingHouse(tmp_path)
    house.repos.repositories.create(NewRepo(SECRET, private=True), ALICE)
    yield house
    house.close()


def most(house: HostingHouse, repo: RepoId, caller: Caller) -> Role | None:
    """What a caller may do at most; None: they may not know of it."""
    found: Role | None = None
    wanted: tuple[Role, ...] = ("read", "write", "admin")
    for want in wanted:
        try:
            house.repos.repo_for(repo, caller, want)
        except RepoAbsent:
            return None
        except NotAllowed:
            break
        found = want
    return found


@pytest.mark.parametrize(
    ("caller", "public", "secret"),
    [
        (ADMIN, "admin", "admin"),
        (LOCAL_USER, "admin", "admin"),
        (ALICE, "admin", "admin"),
        (READER, "read", "read"),
        (BOB, "write", None),
        (ANONYMOUS, "read", None),
        (Caller("upstream", user="0123"), "read", None),
    ],
)
def test_who_may_what(house: HostingHouse, caller: Caller, public: Role, secret: Role | None) -> None:
    assert (most(house, REPO, caller), most(house, SECRET, caller)) == (public, secret)


class TestRoles:
    @pytest.mark.parametrize("role", ["read", "write", "admin"])
    def test_a_role_with_a_repository(self, house: HostingHouse, role: Role) -> None:
        house.repos.places.allow("acme/secret", "user:bob", role)
        assert most(house, SECRET, BOB) == role

    def test_a_team_has_roles_as_long_as_one_is_in_it(self, house: HostingHouse) -> None:
        house.repos.places.join("research", "bob")
        house.repos.places.allow("acme/secret", "team:research", "write")
        assert most(house, SECRET, BOB) == "write"
        house.repos.places.leave("research", "bob")
        assert most(house, SECRET, BOB) is None

    def test_a_namespace_with_roles_belongs_to_those_who_have_one(self, house: HostingHouse) -> None:
        house.repos.places.allow("acme", "user:carol", "write")
        carol = Caller("token", user="carol", scope="write")
        assert (most(house, REPO, carol), most(house, SECRET, carol)) == ("write", "write")
        assert (most(house, REPO, BOB), most(house, SECRET, BOB)) == ("read", None)
        house.repos.places.may_create(RepoId("model", "acme/new"), carol)
        with pytest.raises(NotAllowed):
            house.repos.places.may_create(RepoId("model", "acme/new"), BOB)

    def test_a_token_that_reads_bounds_every_role(self, house: HostingHouse) -> None:
        house.repos.places.allow("acme", "user:bob", "admin")
        assert most(house, SECRET, Caller("token", user="bob", scope="read")) == "read"

    def test_a_role_that_is_taken_back(self, house: HostingHouse) -> None:
        house.repos.places.allow("acme/secret", "user:bob", "read")
        assert house.repos.places.disallow("acme/secret", "user:bob")
        assert not house.repos.places.disallow("acme/secret", "user:bob")
        assert most(house, SECRET, BOB) is None

    def test_a_role_outlives_a_move_and_not_a_deletion(self, house: HostingHouse) -> None:
        house.repos.places.allow("acme/secret", "user:bob", "read")
        row = house.repos.repo_for(SECRET, ALICE)
        house.repos.repositories.move(row, RepoId("model", "acme/moved"), ALICE)
        assert house.repos.places.access() == [("acme/moved", "user:bob", "read")]
        house.repos.repositories.delete(house.repos.repo_for(RepoId("model", "acme/moved"), ALICE))
        assert house.repos.places.access() == []

    @pytest.mark.parametrize("place", ["nowhere", "acme/nothing"])
    def test_a_place_that_is_not_here(self, house: HostingHouse, place: str) -> None:
        with pytest.raises(Absent):
            house.repos.places.allow(place, "user:bob", "read")


class TestRefusals:
    def test_they_say_what_is_missing(self, house: HostingHouse) -> None:
        with pytest.raises(ScopeMissing):
            house.repos.repo_for(REPO, READER, "write")
        with pytest.raises(AuthRequired):
            house.repos.repo_for(REPO, ANONYMOUS, "write")
        with pytest.raises(NotAllowed):
            house.repos.repo_for(REPO, BOB, "admin")

    def test_nobody_creates_where_nothing_is_hosted(self, house: HostingHouse) -> None:
        with pytest.raises(NotAllowed, match="namespace add"):
            house.repos.places.may_create(RepoId("model", "meta/new"), ADMIN)

    def test_ones_own_namespace_needs_no_role(self, house: HostingHouse) -> None:
        house.repos.places.add_namespace("Bob")
        house.repos.places.allow("bob", "user:alice", "read")
        house.repos.places.may_create(RepoId("model", "bob/new"), BOB)
        with pytest.raises(NotAllowed):
            house.repos.places.may_create(RepoId("model", "bob/new"), ALICE)


class TestNames:
    def test_a_repository_that_moved_is_found_by_its_old_name(self, house: HostingHouse) -> None:
        new = RepoId("model", "acme/new")
        house.repos.repositories.move(house.row, new, ALICE)
        with pytest.raises(RepoMoved) as moved:
            house.repos.repo_for(REPO, BOB)
        assert moved.value.to == "acme/new"
        assert house.repos.repo_for(new, BOB).number == house.row.number

    def test_a_move_tells_nothing_of_what_is_private(self, house: HostingHouse) -> None:
        row = house.repos.repo_for(SECRET, ALICE)
        house.repos.repositories.move(row, RepoId("model", "acme/moved"), ALICE)
        with pytest.raises(RepoAbsent):
            house.repos.repo_for(SECRET, BOB)

    def test_an_old_name_can_be_taken_again(self, house: HostingHouse) -> None:
        house.repos.repositories.move(house.row, RepoId("model", "acme/new"), ALICE)
        again = house.repos.repositories.create(NewRepo(REPO), BOB)
        assert house.repos.repo_for(REPO, BOB).number == again.number

    def test_names_that_differ_by_case_are_one(self, house: HostingHouse) -> None:
        with pytest.raises(Conflict):
            house.repos.repositories.create(NewRepo(RepoId("model", "acme/Tiny")), ALICE)
        with pytest.raises(RepoMoved):
            house.repos.repo_for(RepoId("model", "ACME/tiny"), BOB)
        assert house.repos.hosts(RepoId("model", "ACME/other"))

    def test_types_have_names_of_their_own(self, house: HostingHouse) -> None:
        dataset = house.repos.repositories.create(NewRepo(RepoId("dataset", "acme/tiny")), ALICE)
        assert dataset.number != house.row.number


class TestNamespaces:
    def test_one_is_added_once_and_removed_when_empty(self, house: HostingHouse) -> None:
        places = house.repos.places
        assert places.add_namespace("Beta")
        assert not places.add_namespace("beta")
        house.repos.repositories.create(NewRepo(RepoId("model", "beta/x")), ALICE)
        with pytest.raises(Conflict):
            places.remove_namespace("beta")
        house.repos.repositories.delete(house.repos.repo_for(RepoId("model", "beta/x"), ADMIN, "admin"))
        assert places.remove_namespace("beta")
        assert not places.remove_namespace("beta")

    def test_one_that_the_settings_declare_stays(self, house: HostingHouse) -> None:
        with pytest.raises(Conflict):
            house.repos.places.remove_namespace("acme")

    def test_a_name_that_hides_repositories_of_upstream_is_refused(self, house: HostingHouse) -> None:
        theirs = RepoId("dataset", "Meta/squad")
        house.index.put_ref(theirs, Revision("main"), CommitHash("1" * 40), 1.0)
        with pytest.raises(Conflict, match="datasets/Meta/squad"):
            house.repos.places.add_namespace("meta")
        house.repos.places.refuse_clashes()
        clashing = Places(house.index, HostedRules(namespaces=("meta",)), house.clock)
        with pytest.raises(Conflict, match="datasets/Meta/squad"):
            clashing.refuse_clashes()

    @pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a--b", "x" * 97])
    def test_a_name_that_cannot_be(self, house: HostingHouse, name: str) -> None:
        with pytest.raises(BadName):
            house.repos.places.add_namespace(name)

    def test_who_sees_which(self, house: HostingHouse) -> None:
        house.repos.places.add_namespace("beta")
        house.repos.places.allow("beta", "user:alice", "read")
        assert house.repos.places.namespaces_of(ALICE) == [("acme", "write"), ("beta", "read")]
        assert house.repos.places.namespaces_of(BOB) == [("acme", "write")]
        assert house.repos.places.namespaces_of(ANONYMOUS) == []


def test_a_repository_needs_a_namespace(house: HostingHouse) -> None:
    assert not house.repos.hosts(RepoId("model", "gpt2"))
    with pytest.raises(MoongateError):
        house.repos.repo_for(RepoId("model", "gpt2"), ADMIN)
