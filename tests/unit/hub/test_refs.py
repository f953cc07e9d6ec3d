from __future__ import annotations

import asyncio

import pytest

from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.errors import RepoAbsent, RevisionAbsent, UpstreamError, UpstreamUnreachable
from moongate.core.names import RepoId, Revision, parse_repo
from moongate.double import HubDouble, Latency, Match, Status
from support.yard import ALICE, BOB, CAROL, MAIN, Gate, Yard


def head_of(hub: HubDouble, repo: RepoId, branch: str = "main") -> str:
    commit = hub.repo(repo.repo_id, repo.repo_type).resolve(branch)
    assert commit is not None
    return commit.hash


async def test_fifty_askers_of_a_branch_cost_one_question(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    callers = [ANONYMOUS, CAROL]
    asking = [gate.proxied.commit_of(tiny, MAIN, callers[n % 2]) for n in range(50)]
    found = await asyncio.gather(*asking)
    assert {resolved.commit_hash for resolved in found} == {head_of(yard.double, tiny)}
    assert len(yard.asked()) == 1


async def test_two_processes_share_one_question(yard: Yard, tiny: RepoId) -> None:
    first, second = yard.gate(), yard.gate()
    with yard.double.failing(Latency(0.3, match=Match(path="/api/*"))):
        asking = [g.proxied.commit_of(tiny, MAIN, ANONYMOUS) for g in (first, second) for _ in range(10)]
        found = await asyncio.gather(*asking)
    assert len({resolved.commit_hash for resolved in found}) == 1
    assert len(yard.asked()) == 1


async def test_another_process_takes_over_when_the_asker_dies(yard: Yard, tiny: RepoId) -> None:
    dead, alive = yard.gate(), yard.gate(turn_seconds=5.0)
    assert dead.index.try_lease("ref:anonymous:model:acme/tiny@main", "the dead", 5.0, yard.clock())
    asking = asyncio.create_task(alive.proxied.commit_of(tiny, MAIN, ANONYMOUS))
    await asyncio.sleep(0)
    yard.clock.advance(6.0)
    assert (await asking).commit_hash == head_of(yard.double, tiny)


async def test_a_branch_is_asked_again_after_its_ttl_and_not_before(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    old = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    new = yard.double.repo("acme/tiny").commit({"more.txt": b"more"})
    yard.clock.advance(59)
    assert (await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)).commit_hash == old.commit_hash
    yard.clock.advance(2)
    assert (await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)).commit_hash == new
    assert len(yard.asked()) == 2


async def test_a_known_commit_is_never_asked_about_again(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    pinned = Revision(head_of(yard.double, tiny))
    await gate.proxied.commit_of(tiny, pinned, ANONYMOUS)
    yard.clock.advance(1e6)
    restarted = yard.gate()
    for each in (gate, restarted):
        resolved = await each.proxied.commit_of(tiny, pinned, ANONYMOUS)
        assert (resolved.commit_hash, resolved.outcome) == (pinned, "hit")
    assert len(yard.asked()) == 1


async def test_the_commit_of_a_branch_is_known_as_a_commit(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    resolved = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    await gate.proxied.commit_of(tiny, Revision(resolved.commit_hash), ANONYMOUS)
    assert len(yard.asked()) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_while_upstream_fails_the_old_commit_is_shown_with_its_age(
    yard: Yard, gate: Gate, tiny: RepoId, status: int
) -> None:
    known = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    yard.clock.advance(100)
    with yard.double.failing(Status(status)):
        resolved = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    assert (resolved.commit_hash, resolved.outcome) == (known.commit_hash, "stale")
    assert resolved.age_seconds == pytest.approx(100, abs=1)


async def test_upstream_that_is_down_is_not_asked_at_every_request(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    yard.clock.advance(100)
    yard.double.meters.reset()
    with yard.double.failing(Status(500)):
        for _ in range(20):
            await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    assert len(yard.asked()) == 1


async def test_slow_upstream_is_not_waited_for_when_something_older_can_be_shown(
    yard: Yard, tiny: RepoId
) -> None:
    gate = yard.gate(stale_wait_seconds=0.05)
    await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    new = yard.double.repo("acme/tiny").commit({"more.txt": b"more"})
    yard.clock.advance(100)
    with yard.double.failing(Latency(0.5)):
        shown = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
        assert shown.outcome == "stale"
        async with asyncio.timeout(60):  # the question goes on and its answer is used as soon as it is there
            while (shown := await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)).outcome != "hit":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert (shown.commit_hash, shown.outcome) == (new, "hit")


async def test_down_and_unknown_is_an_error(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    with yard.double.away(), pytest.raises(UpstreamError):
        await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)


async def test_absences_are_remembered_briefly(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    for _ in range(3):
        with pytest.raises(RevisionAbsent):
            await gate.proxied.commit_of(tiny, Revision("nope"), ANONYMOUS)
        with pytest.raises(RepoAbsent):
            await gate.proxied.commit_of(parse_repo("acme/none"), MAIN, ANONYMOUS)
    asked = len(yard.asked())
    assert asked <= 3  # the absent revision may be asked once more: its repository was not known before
    yard.double.repo("acme/tiny").branch("nope")
    yard.clock.advance(31)
    await gate.proxied.commit_of(tiny, Revision("nope"), ANONYMOUS)


async def test_one_callers_absence_is_not_anothers(yard: Yard, gate: Gate) -> None:
    private = parse_repo("acme/private")
    yard.double.add_repo("acme/private", private=True).commit({"a": b"a"})
    for stranger in (ANONYMOUS, BOB, CAROL):
        with pytest.raises(RepoAbsent):
            await gate.proxied.commit_of(private, MAIN, stranger)
    await gate.proxied.commit_of(private, MAIN, ALICE)


async def test_a_renamed_repository_answers_under_its_old_name(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    yard.double.rename("acme/tiny", "acme/small")
    resolved = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    assert resolved.repo == parse_repo("acme/small")
    again = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    under_new = await gate.proxied.commit_of(parse_repo("acme/small"), MAIN, ANONYMOUS)
    assert again.commit_hash == under_new.commit_hash == resolved.commit_hash
    with yard.double.away():
        restarted = yard.gate()
        assert (await restarted.proxied.commit_of(tiny, MAIN, ANONYMOUS)).repo == resolved.repo


async def test_a_bare_legacy_id_is_followed_and_remembered(yard: Yard, gate: Gate) -> None:
    yard.double.add_repo("openai/gpt2", legacy_id="gpt2").commit({"a": b"a"})
    bare = parse_repo("gpt2")
    for _ in range(2):
        assert (await gate.proxied.commit_of(bare, MAIN, ANONYMOUS)).repo == parse_repo("openai/gpt2")
    assert len([one for one in yard.asked() if "openai" in one]) == 1


async def test_offline_asks_nothing_and_shows_what_is_kept(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    known = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    yard.clock.advance(1e6)
    yard.double.meters.reset()
    offline = yard.gate(offline=True)
    assert (await offline.proxied.commit_of(tiny, MAIN, ANONYMOUS)).commit_hash == known.commit_hash
    for repo, revision in ((parse_repo("acme/none"), MAIN), (tiny, Revision("nope"))):
        with pytest.raises(UpstreamUnreachable, match="offline"):
            await offline.proxied.commit_of(repo, revision, ANONYMOUS)
    assert yard.asked() == []


async def test_a_bad_token_of_one_caller_does_not_spoil_a_public_question(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    yard.clock.advance(100)
    bad = Caller("upstream", user="x", credential=Secret("hf_bad"))
    assert (await gate.proxied.commit_of(tiny, MAIN, bad)).outcome != "stale"


async def test_a_question_goes_on_when_its_asker_leaves(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    with yard.double.failing(Latency(0.2)):
        first = asyncio.create_task(gate.proxied.commit_of(tiny, MAIN, ANONYMOUS))
        second = asyncio.create_task(gate.proxied.commit_of(tiny, MAIN, ANONYMOUS))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).commit_hash == head_of(yard.double, tiny)
    assert len(yard.asked()) == 1
