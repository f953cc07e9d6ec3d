"""Who sees and reads what: nothing learned with one caller's credential is shown to another."""

from __future__ import annotations

import orjson
import pytest

from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.errors import GatedRepo, RepoAbsent, UpstreamError
from moongate.core.names import RepoId, RepoPath, Revision, parse_repo
from moongate.double import Status
from moongate.hub.infos import shareable
from support.yard import ALICE, BOB, CAROL, MAIN, Gate, Yard

PRIVATE, GATED = parse_repo("acme/private"), parse_repo("acme/gated")
FILE = RepoPath("a.bin")
ROUTES = (
    "/api/models/acme/private",
    "/api/models/acme/private?blobs=true",
    "/api/models/acme/private/revision/main",
    "/api/models/acme/private/tree/main?recursive=true",
    "/api/models/acme/private/refs",
    "/api/models/acme/private/commits/main",
    "/api/models/acme/private/treesize/main/",
    "/api/models/acme/private/auth-check",
    "/api/models/acme/private/likers",
)


@pytest.fixture(autouse=True)
def repos(yard: Yard) -> None:
    yard.double.add_repo("acme/private", private=True).commit({"a.bin": b"secret"})
    yard.double.add_repo("acme/gated", gated=True).commit({"a.bin": b"gated"})
    yard.double.add_user("owner", "hf_owner", orgs=["acme"])


async def test_nothing_of_a_private_repository_is_shown_to_others(yard: Yard, gate: Gate) -> None:
    for path in ROUTES[:-1]:
        assert (await gate.get(path, ALICE)).status == 200
    body = orjson.dumps({"paths": ["a.bin"]})
    assert (await gate.get("/api/models/acme/private/paths-info/main", ALICE, body)).status == 200
    file, resolved = await gate.proxied.file_at(PRIVATE, MAIN, FILE, ALICE)
    for stranger in (ANONYMOUS, BOB, CAROL):
        for path in ROUTES:
            for revision in ("main", resolved.commit_hash):
                with pytest.raises(RepoAbsent):
                    await gate.get(path.replace("main", revision), stranger)
        with pytest.raises(RepoAbsent):
            await gate.get("/api/models/acme/private/paths-info/main", stranger, body)
        for revision in (MAIN, Revision(file.commit_hash)):
            with pytest.raises(RepoAbsent):
                await gate.proxied.file_at(PRIVATE, revision, FILE, stranger)


async def test_gated_metadata_is_for_all_and_gated_files_are_not(yard: Yard, gate: Gate) -> None:
    await gate.proxied.file_at(GATED, MAIN, FILE, ALICE)
    for stranger, authenticated in ((ANONYMOUS, False), (BOB, True), (CAROL, True)):
        assert (await gate.get("/api/models/acme/gated/tree/main", stranger)).status == 200
        with pytest.raises(GatedRepo) as refusal:
            await gate.proxied.file_at(GATED, MAIN, FILE, stranger)
        assert refusal.value.authenticated is authenticated
        with pytest.raises(GatedRepo):
            await gate.get("/api/models/acme/gated/auth-check", stranger)
    assert (await gate.get("/api/models/acme/gated/auth-check", ALICE)).status == 200


async def test_gated_files_are_refused_before_they_are_known_too(gate: Gate) -> None:
    with pytest.raises(GatedRepo):
        await gate.proxied.file_at(GATED, MAIN, FILE, BOB)
    with pytest.raises(GatedRepo):
        await gate.proxied.file_at(GATED, MAIN, FILE, ANONYMOUS)


async def test_access_is_confirmed_with_the_callers_own_credential(yard: Yard, gate: Gate) -> None:
    await gate.proxied.file_at(GATED, MAIN, FILE, ALICE)
    yard.double.world.users.by_name("bob").grants.add("acme/gated")  # type: ignore[union-attr]
    yard.double.meters.reset()
    for _ in range(3):
        await gate.proxied.file_at(GATED, MAIN, FILE, BOB)
    asked = yard.double.meters.requests(origin="hub")
    assert {record.authorization for record in asked} == {"Bearer hf_bob"}
    assert len({record.path for record in asked}) <= 2  # the file, and where a small one really lies


async def test_access_is_asked_again_after_its_time(yard: Yard, gate: Gate) -> None:
    await gate.proxied.file_at(GATED, MAIN, FILE, ALICE)
    yard.double.world.users.by_name("alice").grants.clear()  # type: ignore[union-attr]
    yard.clock.advance(200)
    await gate.proxied.file_at(GATED, MAIN, FILE, ALICE)
    yard.clock.advance(200)
    with pytest.raises(GatedRepo):
        await gate.proxied.file_at(GATED, MAIN, FILE, ALICE)


async def test_a_refusal_is_remembered_briefly(yard: Yard, gate: Gate) -> None:
    await gate.proxied.file_at(GATED, MAIN, FILE, ALICE)
    with pytest.raises(GatedRepo):
        await gate.proxied.file_at(GATED, MAIN, FILE, BOB)
    yard.double.world.users.by_name("bob").grants.add("acme/gated")  # type: ignore[union-attr]
    with pytest.raises(GatedRepo):
        await gate.proxied.file_at(GATED, MAIN, FILE, BOB)
    yard.clock.advance(31)
    await gate.proxied.file_at(GATED, MAIN, FILE, BOB)


@pytest.mark.parametrize("repo", [PRIVATE, GATED])
async def test_while_upstream_is_down_lately_confirmed_access_counts(
    yard: Yard, gate: Gate, repo: RepoId
) -> None:
    await gate.proxied.file_at(repo, MAIN, FILE, ALICE)
    yard.clock.advance(1000)
    restarted = yard.gate()
    with yard.double.failing(Status(503)):
        for each in (gate, restarted):
            await each.proxied.file_at(repo, MAIN, FILE, ALICE)
            with pytest.raises((GatedRepo, UpstreamError)):
                await each.proxied.file_at(repo, MAIN, FILE, BOB)
        yard.clock.advance(3000)
        with pytest.raises((GatedRepo, UpstreamError)):
            await restarted.proxied.file_at(repo, MAIN, FILE, ALICE)


async def test_a_repository_that_became_private_is_no_longer_shared(yard: Yard, gate: Gate) -> None:
    yard.double.add_repo("acme/open").commit({"a.bin": b"a"})
    repo = parse_repo("acme/open")
    owner = Caller("upstream", user="owner", credential=Secret("hf_owner"))
    await gate.get("/api/models/acme/open", ANONYMOUS)
    yard.double.repo("acme/open").private = True
    yard.double.repo("acme/open").commit({"b.bin": b"b"})
    yard.clock.advance(61)
    assert (await gate.get("/api/models/acme/open", owner)).status == 200
    assert (await gate.get("/api/models/acme/open/tree/main", owner)).status == 200
    for stranger in (ANONYMOUS, BOB):
        for path in ("/api/models/acme/open", "/api/models/acme/open/tree/main"):
            with pytest.raises(RepoAbsent):
                await gate.get(path, stranger)
        with pytest.raises(RepoAbsent):
            await gate.proxied.file_at(repo, MAIN, FILE, stranger)


async def test_an_owner_still_sees_what_an_anonymous_asker_found_private(yard: Yard, gate: Gate) -> None:
    yard.double.add_repo("acme/open").commit({"a.bin": b"a"})
    owner = Caller("upstream", user="owner", credential=Secret("hf_owner"))
    await gate.get("/api/models/acme/open", ANONYMOUS)
    yard.double.repo("acme/open").private = True
    yard.clock.advance(61)
    with pytest.raises(RepoAbsent):
        await gate.get("/api/models/acme/open", ANONYMOUS)
    assert (await gate.get("/api/models/acme/open", owner)).status == 200


async def test_the_gateways_token_is_for_what_is_public_and_for_the_granted(yard: Yard) -> None:
    gate = yard.gate(upstream_token=Secret("hf_alice"))
    gate.index.grant("carol", "acme/*")
    dave = Caller("token", user="dave")
    for repo in (PRIVATE, GATED):
        await gate.proxied.file_at(repo, MAIN, FILE, CAROL)
        for stranger in (ANONYMOUS, dave, BOB):
            with pytest.raises((RepoAbsent, GatedRepo)):
                await gate.proxied.file_at(repo, MAIN, FILE, stranger)
    yard.double.add_repo("acme/open").commit({"a.bin": b"a"})
    await gate.proxied.file_at(parse_repo("acme/open"), MAIN, FILE, ANONYMOUS)
    used = {r.authorization for r in yard.double.meters.requests("*open*", origin="hub")}
    assert used == {None, "Bearer hf_alice"}  # ours only once the repository was known to be public


async def test_a_grant_may_be_taken_back(yard: Yard) -> None:
    gate = yard.gate(upstream_token=Secret("hf_alice"))
    gate.index.grant("carol", "acme/private")
    await gate.get("/api/models/acme/private", CAROL)
    gate.index.revoke_grant("carol", "acme/private")
    yard.clock.advance(6)
    with pytest.raises(RepoAbsent):
        await gate.get("/api/models/acme/private", CAROL)


async def test_offline_a_gated_repository_needs_a_grant(yard: Yard, gate: Gate) -> None:
    await gate.proxied.file_at(GATED, MAIN, FILE, ALICE)
    gate.index.grant("carol", "acme/gated")
    yard.clock.advance(1e6)
    offline = yard.gate(offline=True)
    await offline.proxied.file_at(GATED, MAIN, FILE, CAROL)
    for stranger in (ANONYMOUS, BOB, ALICE):
        with pytest.raises((GatedRepo, UpstreamError)):
            await offline.proxied.file_at(GATED, MAIN, FILE, stranger)


async def test_lists_asked_with_a_credential_are_for_that_caller_only(yard: Yard, gate: Gate) -> None:
    def ids(body: bytes) -> set[str]:
        return {item["id"] for item in orjson.loads(body)}

    owner = Caller("upstream", user="owner", credential=Secret("hf_owner"))
    for _ in range(2):
        assert "acme/private" in ids((await gate.get("/api/models", owner)).body)
        for stranger in (ANONYMOUS, BOB, CAROL):
            assert "acme/private" not in ids((await gate.get("/api/models", stranger)).body)


async def test_what_only_members_are_told_is_not_shared(yard: Yard, gate: Gate) -> None:
    facts: dict[str, object] = {"resourceGroup": {"name": "inner circle"}}
    repo = yard.double.add_repo("acme/open", facts=facts)
    repo.commit({"a.bin": b"a"})
    asked = "/api/models/acme/open?expand=resourceGroup"
    for _ in range(2):
        answer = await gate.get(asked, ALICE)
        assert (answer.outcome, b"inner circle" in answer.body) == ("pass", True)
    repo.facts.clear()  # what upstream shows to those outside
    assert b"inner circle" not in (await gate.get(asked, ANONYMOUS)).body


def test_the_plain_info_holds_nothing_for_members_only() -> None:
    said = {"id": "acme/open", "resourceGroup": {"name": "inner circle"}, "siblings": []}
    assert orjson.loads(shareable(orjson.dumps(said), said)) == {"id": "acme/open", "siblings": []}
