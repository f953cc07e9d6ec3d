"""What clients see of proxied repositories, and what it costs upstream."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from moongate.core.callers import ANONYMOUS, Caller, Secret
from moongate.core.errors import (
    AnswerTooLong,
    AuthRequired,
    BadRequest,
    BadToken,
    EntryAbsent,
    StoreFull,
    UpstreamBroken,
    UpstreamUnreachable,
)
from moongate.core.names import RepoId, RepoPath, Revision, parse_repo
from moongate.double import LfsFile, LieAboutSize, MalformedJson, Match, SetHeaders, Status
from support.yard import ALICE, BOB, CAROL, MAIN, Gate, Yard

REPO_ROUTES = (
    "/api/models/acme/tiny",
    "/api/models/acme/tiny/revision/main",
    "/api/models/acme/tiny?blobs=true",
    "/api/models/acme/tiny?expand=sha&expand=tags",
    "/api/models/acme/tiny?securityStatus=true",
    "/api/models/acme/tiny/tree/main",
    "/api/models/acme/tiny/tree/main?recursive=true&expand=false",
    "/api/models/acme/tiny/tree/main/sub%2Fdeep",
    "/api/models/acme/tiny/tree/main?recursive=true&expand=true",
    "/api/models/acme/tiny/commits/main",
    "/api/models/acme/tiny/treesize/main/",
    "/api/models/acme/tiny/refs?include_prs=1",
)


@pytest.mark.parametrize("path", REPO_ROUTES)
async def test_a_second_asker_costs_upstream_nothing(yard: Yard, gate: Gate, tiny: RepoId, path: str) -> None:
    first = await gate.get(path)
    assert (first.status, first.outcome) == (200, "miss")
    yard.double.meters.reset()
    for each in (gate, yard.gate()):  # from memory, and from the index
        again = await each.get(path, BOB)
        assert (again.body, again.headers, again.outcome) == (first.body, first.headers, "hit")
    assert yard.asked() == []


@pytest.mark.parametrize("path", [path for path in REPO_ROUTES if "refs" not in path])
async def test_a_pinned_commit_is_answered_for_good(yard: Yard, gate: Gate, tiny: RepoId, path: str) -> None:
    head = yard.double.repo("acme/tiny").head
    assert head is not None
    plain, _, query = path.partition("?")
    pinned = plain.replace("main", head.hash)
    if head.hash not in pinned:
        pinned += f"/revision/{head.hash}"
    pinned += f"?{query}" if query else ""
    first = await gate.get(pinned)
    yard.double.repo("acme/tiny").commit({"new.txt": b"new"})
    yard.clock.advance(1e5)
    yard.double.meters.reset()
    assert (await gate.get(pinned)).body == first.body
    with yard.double.failing(Status(500)):
        restarted = await yard.gate().get(pinned)
    assert (restarted.body, restarted.outcome) == (first.body, "hit")
    assert yard.asked() == []


async def test_the_answers_are_upstreams(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    yard.double.repo("acme/tiny").tag("v1")
    for path in (*REPO_ROUTES, "/api/models?search=tiny", "/api/daily_papers"):
        found = await asyncio.to_thread(yard.fetch, path)
        assert orjson.loads((await gate.get(path)).body) == orjson.loads(found), path


async def test_twenty_askers_of_one_tree_cost_one_question(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    path = "/api/models/acme/tiny/tree/main?recursive=true"
    answers = await asyncio.gather(*(gate.get(path) for _ in range(20)))
    assert len({answer.body for answer in answers}) == 1
    assert len(yard.asked("*/tree/*")) == 1
    assert len(yard.asked()) == 2


async def test_a_moved_branch_is_seen_after_its_ttl(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    path = "/api/models/acme/tiny/tree/main?recursive=true"
    await gate.get(path)
    yard.double.repo("acme/tiny").commit({"new.txt": b"new"})
    assert b"new.txt" not in (await gate.get(path)).body
    yard.clock.advance(61)
    assert b"new.txt" in (await gate.get(path)).body


async def test_downloads_of_a_branch_grow_old_and_are_asked_again(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    path = "/api/models/acme/tiny?expand=downloads"
    await gate.get(path)
    yard.double.repo("acme/tiny").downloads = 7
    yard.clock.advance(301)
    assert orjson.loads((await gate.get(path)).body)["downloads"] == 7


async def test_stale_answers_show_their_age(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    paths = ("/api/models/acme/tiny", "/api/models/acme/tiny/tree/main", "/api/models/acme/tiny/refs")
    paths += ("/api/models?search=tiny", "/api/daily_papers")
    fresh = {path: (await gate.get(path)).body for path in paths}
    yard.clock.advance(100)
    with yard.double.failing(Status(503)):
        for each in (gate, yard.gate()):
            for path in paths:
                for _ in range(2):
                    answer = await each.get(path)
                    assert (answer.outcome, answer.body) == ("stale", fresh[path]), path
                    assert answer.age_seconds == pytest.approx(100, abs=1)


async def test_pages_lead_through_us_and_make_the_listing_whole(yard: Yard, gate: Gate) -> None:
    files: dict[str, bytes | str | LfsFile] = {f"d{n % 3}/f{n:02}.txt": b"%d" % n for n in range(25)}
    yard.double.settings.tree_page_size = 10
    head = yard.double.add_repo("acme/tiny").commit(files)
    path, seen = "/api/models/acme/tiny/tree/main?recursive=true&expand=false", []
    pages = 0
    while path:
        answer = await gate.get(path)
        seen += [item["path"] for item in orjson.loads(answer.body)]
        link = dict(answer.headers_for("http://gate/hub")).get("Link", "")
        assert not link or link.startswith("<http://gate/hub/api/models/acme/tiny/tree/")
        assert not link or link.endswith('>; rel="next"')
        path = link.partition("<http://gate/hub")[2].partition(">")[0]
        pages += 1
    assert pages == 3
    assert len(seen) == len(set(seen)) == len(files) + 3  # and three folders
    repo = parse_repo("acme/tiny")
    assert gate.index.listing_complete(repo, head)  # type: ignore[arg-type]
    yard.double.meters.reset()
    await gate.proxied.file_at(repo, MAIN, RepoPath("d1/f01.txt"), ANONYMOUS)
    with pytest.raises(EntryAbsent):
        await gate.proxied.file_at(repo, MAIN, RepoPath("nope"), ANONYMOUS)
    assert yard.asked() == []


async def test_every_shape_of_tree_comes_from_one_whole_listing(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    shapes = ("", "/sub", "/sub%2Fdeep", "?recursive=true", "/sub?recursive=true", "/sub?recursive=True")
    paths = [f"/api/models/acme/tiny/tree/main{shape}" for shape in shapes]
    truth = [orjson.loads(await asyncio.to_thread(yard.fetch, path)) for path in paths]
    await gate.get("/api/models/acme/tiny/tree/main?recursive=true")
    yard.double.meters.reset()
    for path, true in zip(paths, truth, strict=True):
        told = orjson.loads((await gate.get(path)).body)
        assert sorted(told, key=lambda item: item["path"]) == sorted(true, key=lambda item: item["path"])
    with pytest.raises(EntryAbsent) as absent:
        await gate.get("/api/models/acme/tiny/tree/main/nope")
    assert absent.value.commit_hash is not None
    body = orjson.dumps({"paths": ["sub/a.txt", "sub", "nope"], "expand": False})
    told = orjson.loads((await gate.get("/api/models/acme/tiny/paths-info/main", body=body)).body)
    assert {item["path"] for item in told} == {"sub/a.txt", "sub"}
    assert yard.asked() == []


@pytest.mark.parametrize(
    "body", [b"paths=config.json&paths=none&expand=False", b'{"paths":["none","config.json"]}']
)
async def test_paths_info_as_form_or_json_in_any_order(
    yard: Yard, gate: Gate, tiny: RepoId, body: bytes
) -> None:
    path = "/api/models/acme/tiny/paths-info/main"
    told = orjson.loads((await gate.get(path, body=body)).body)
    assert [item["path"] for item in told] == ["config.json"]
    yard.double.meters.reset()
    again = await gate.get(path, body=b"paths=none&paths=config.json")
    assert orjson.loads(again.body) == told
    await gate.proxied.file_at(tiny, MAIN, RepoPath("config.json"), ANONYMOUS)
    assert yard.asked() == []


async def test_an_absent_folder_is_a_coded_404_that_is_remembered(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    path = "/api/models/acme/tiny/tree/main/additional_chat_templates?recursive=false"
    answer = await gate.get(path)
    headers = dict(answer.headers)
    assert (answer.status, headers["X-Error-Code"]) == (404, "EntryNotFound")
    head = yard.double.repo("acme/tiny").head
    assert head is not None
    assert headers["X-Repo-Commit"] == head.hash
    yard.double.meters.reset()
    for each in (gate, yard.gate()):
        assert (await each.get(path)).status == 404
    assert yard.asked() == []


async def test_an_absent_file_is_remembered_with_its_commit(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    for each in (gate, yard.gate()):
        for _ in range(2):
            with pytest.raises(EntryAbsent) as absent:
                await each.proxied.file_at(tiny, MAIN, RepoPath("adapter_config.json"), ANONYMOUS)
            head = yard.double.repo("acme/tiny").head
            assert head is not None
            assert absent.value.commit_hash == head.hash
    assert len(yard.asked("*/resolve/*")) == 1


async def test_a_file_is_asked_about_once_and_then_known(yard: Yard, gate: Gate) -> None:
    content = LfsFile(b"weights" * 1000)
    yard.double.add_repo("acme/tiny", xet=True).commit({"model.safetensors": content})
    repo, path = parse_repo("acme/tiny"), RepoPath("model.safetensors")
    asking = (gate.proxied.file_at(repo, MAIN, path, ANONYMOUS) for _ in range(20))
    for file, _ in await asyncio.gather(*asking):
        assert (file.entry.etag, file.entry.size_bytes) == (content.sha256, 7000)
    assert len(yard.asked("*/resolve/*")) == 1
    yard.double.down()
    try:
        restarted = yard.gate()
        file, resolved = await restarted.proxied.file_at(repo, MAIN, path, ANONYMOUS)
        assert (file.entry.etag, resolved.outcome) == (content.sha256, "hit")
    finally:
        yard.double.up()


async def test_no_word_of_xet_reaches_a_client(yard: Yard, gate: Gate) -> None:
    yard.double.add_repo("acme/tiny", xet=True).commit({"model.safetensors": LfsFile(b"weights")})
    tree = "/api/models/acme/tiny/tree/main?recursive=true"
    assert b"xetHash" in await asyncio.to_thread(yard.fetch, tree)  # the double does speak of it
    for path in (*REPO_ROUTES[:5], tree, tree + "&expand=true", "/api/models?full=true"):
        assert b"xet" not in (await gate.get(path)).body.lower(), path
    body = orjson.dumps({"paths": ["model.safetensors"], "expand": True})
    assert b"xet" not in (await gate.get("/api/models/acme/tiny/paths-info/main", body=body)).body.lower()
    with pytest.raises(EntryAbsent):
        await gate.get("/api/models/acme/tiny/xet-read-token/main", ALICE)
    assert yard.asked("*xet*") == []


async def test_lists_are_kept_and_their_pages_lead_through_us(yard: Yard, gate: Gate) -> None:
    for number in range(5):
        yard.double.add_repo(f"acme/m{number}").commit({"a": b"a"})
    yard.double.settings.list_page_size = 2
    path, seen = "/api/models?search=m&limit=2", []
    while path:
        answer = await gate.get(path)
        seen += [item["id"] for item in orjson.loads(answer.body)]
        link = dict(answer.headers_for("https://gate.example")).get("Link", "")
        path = link.partition("<https://gate.example")[2].partition(">")[0]
    assert len(seen) == len(set(seen)) == 5
    yard.double.meters.reset()
    assert (await gate.get("/api/models?search=m&limit=2")).outcome == "hit"
    assert yard.asked() == []


async def test_commits_say_how_many_there_are(gate: Gate, tiny: RepoId) -> None:
    answer = await gate.get("/api/models/acme/tiny/commits/main")
    assert dict(answer.headers)["X-Total-Count"] == "1"


async def test_unknown_routes_pass_through(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    yard.double.route("/api/collections", [{"slug": "acme/c-1"}])
    assert (await gate.get("/api/collections")).outcome == "miss"
    assert (await gate.get("/api/collections")).outcome == "hit"
    with yard.double.failing(SetHeaders({"Set-Cookie": "token=1"}, match=Match(path="/api/trending"))):
        for _ in range(2):
            answer = await gate.get("/api/trending")
            assert answer.outcome == "pass"
            assert "Set-Cookie" not in dict(answer.headers)


async def test_answers_that_hold_tokens_are_kept_nowhere(yard: Yard, gate: Gate) -> None:
    yard.double.route("/api/settings/tokens", {"tokens": ["hf_secret"]})
    for _ in range(2):
        assert (await gate.get("/api/settings/tokens", ALICE)).outcome == "pass"
    assert len(yard.asked("*/tokens")) == 2


async def test_who_am_i(yard: Yard, gate: Gate) -> None:
    assert orjson.loads((await gate.get("/api/whoami-v2", ALICE)).body)["name"] == "alice"
    assert orjson.loads((await gate.get("/api/whoami-v2", BOB)).body)["name"] == "bob"
    assert len(yard.asked("/api/whoami-v2")) == 2
    assert orjson.loads((await gate.get("/api/whoami-v2", CAROL)).body)["name"] == "carol"
    await gate.get("/api/whoami-v2", ALICE)
    assert len(yard.asked("/api/whoami-v2")) == 2
    with pytest.raises(AuthRequired):
        await gate.get("/api/whoami-v2", ANONYMOUS)
    with pytest.raises(BadToken):
        await gate.get("/api/whoami-v2", Caller("upstream", user="x", credential=Secret("hf_bad")))
    yard.double.world.users.revoke("hf_alice")
    yard.clock.advance(301)
    with pytest.raises(BadToken):
        await gate.get("/api/whoami-v2", ALICE)


async def test_a_renamed_repository_shows_its_new_id_under_the_old_name(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    yard.double.rename("acme/tiny", "acme/small")
    for path in ("/api/models/acme/tiny", "/api/models/acme/tiny/revision/main"):
        assert orjson.loads((await gate.get(path)).body)["id"] == "acme/small"
    file, _ = await gate.proxied.file_at(tiny, MAIN, RepoPath("config.json"), ANONYMOUS)
    assert file.repo == parse_repo("acme/small")


async def test_malformed_answers_are_not_kept(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    for path in REPO_ROUTES:
        with yard.double.failing(MalformedJson(match=Match(path="/api/*"))), pytest.raises(UpstreamBroken):
            await gate.get(path)
        assert (await gate.get(path)).status == 200
        gate.index.drop_answers(tiny)
        gate.index.drop_refs(tiny)
        yard.clock.advance(61)


async def test_offline_everything_known_is_served_and_nothing_asked(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    kept = {path: (await gate.get(path)).body for path in REPO_ROUTES}
    yard.clock.advance(1e6)
    yard.double.meters.reset()
    offline = yard.gate(offline=True)
    for path, body in kept.items():
        answer = await offline.get(path)
        assert (answer.body, answer.outcome) == (body, "hit"), path
    for unknown in ("/api/models?search=x", "/api/models/acme/none", "/api/whatever"):
        with pytest.raises(UpstreamUnreachable, match="offline"):
            await offline.get(unknown)
    with pytest.raises(EntryAbsent):  # the listing is whole: we are sure
        await offline.proxied.file_at(tiny, MAIN, RepoPath("nope"), ANONYMOUS)
    assert yard.asked() == []


async def test_offline_a_file_that_may_exist_is_not_called_absent(
    yard: Yard, gate: Gate, tiny: RepoId
) -> None:
    await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    with pytest.raises(UpstreamUnreachable):
        await yard.gate(offline=True).proxied.file_at(tiny, MAIN, RepoPath("nope"), ANONYMOUS)


async def test_ten_thousand_siblings(yard: Yard, gate: Gate) -> None:
    files: dict[str, bytes | str | LfsFile] = {f"data/part-{n:05}.txt": b"x" for n in range(10_000)}
    yard.double.add_repo("acme/tiny").commit(files)
    told = orjson.loads((await gate.get("/api/models/acme/tiny")).body)
    assert len(told["siblings"]) >= 10_000
    assert (await gate.get("/api/models/acme/tiny")).outcome == "hit"


async def test_revisions_of_every_kind(yard: Yard, gate: Gate, tiny: RepoId) -> None:
    repo = yard.double.repo("acme/tiny")
    repo.branch("feat/x")
    repo.tag("v1.0")
    number = repo.pull_request()
    for revision in ("feat%2Fx", "v1.0", f"refs%2Fpr%2F{number}", f"refs/pr/{number}"):
        answer = await gate.get(f"/api/models/acme/tiny/tree/{revision}")
        assert answer.status == 200, revision
    assert (await gate.proxied.commit_of(tiny, Revision("feat/x"), ANONYMOUS)).outcome == "hit"


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
async def test_other_types_of_repository(yard: Yard, gate: Gate, repo_type: str) -> None:
    yard.double.add_repo("acme/tiny", repo_type).commit({"README.md": b"# hi"})
    assert (await gate.get(f"/api/{repo_type}s/acme/tiny")).status == 200
    repo = parse_repo(f"{repo_type}s/acme/tiny")
    file, _ = await gate.proxied.file_at(repo, MAIN, RepoPath("README.md"), ANONYMOUS)
    assert file.entry.size_bytes == 4


async def test_nonsense_is_the_callers_mistake(gate: Gate, tiny: RepoId) -> None:
    with pytest.raises(BadRequest):
        await gate.get("/api/models/acme/tiny/paths-info/main", body=b'{"paths": 7}')
    with pytest.raises(BadRequest):
        await gate.get("/api/models/acme/tiny?" + "x" * 10_000)


async def test_an_answer_of_absurd_length_can_still_be_passed_through(
    yard: Yard, gate: Gate, tiny: RepoId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moongate.upstream.client.MAX_BODY_BYTES", 300)
    resolved = await gate.proxied.commit_of(tiny, MAIN, ANONYMOUS)
    assert resolved.commit_hash == yard.double.repo("acme/tiny").resolve("main").hash  # type: ignore[union-attr]
    with pytest.raises(AnswerTooLong):
        await gate.get("/api/models/acme/tiny")
    await gate.proxied.file_at(tiny, MAIN, RepoPath("config.json"), ANONYMOUS)


async def test_a_full_disk_makes_forgetful_and_not_silent(
    yard: Yard, gate: Gate, tiny: RepoId, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise StoreFull("no room")

    writes = "put_answer put_files put_ref put_facts put_access put_rename try_lease release_lease"
    for name in writes.split():
        monkeypatch.setattr(gate.index, name, full)
    for _ in range(2):
        for path in (*REPO_ROUTES, "/api/models"):
            assert (await gate.get(path)).status == 200, path
        await gate.proxied.file_at(tiny, MAIN, RepoPath("config.json"), ANONYMOUS)
        with pytest.raises(EntryAbsent):
            await gate.proxied.file_at(tiny, MAIN, RepoPath("nope"), ANONYMOUS)
        yard.clock.advance(100)


@pytest.mark.parametrize("path", [path for path in REPO_ROUTES if "/tree/" in path or "blobs" in path])
async def test_listings_with_impossible_sizes_are_not_kept(
    yard: Yard, gate: Gate, tiny: RepoId, path: str
) -> None:
    await gate.get("/api/models/acme/tiny")
    with yard.double.failing(LieAboutSize(-1_000_000)):
        for _ in range(2):
            with pytest.raises(UpstreamBroken):
                await gate.get(path)
    assert (await gate.get(path)).outcome == "miss"


async def test_a_file_that_cannot_be_named_does_not_spoil_a_listing(yard: Yard, gate: Gate) -> None:
    yard.double.add_repo("acme/tiny").commit({"odd\\name.txt": b"odd", "config.json": b"{}"})
    answer = await gate.get("/api/models/acme/tiny/tree/main?recursive=true")
    assert {item["path"] for item in orjson.loads(answer.body)} == {"odd\\name.txt", "config.json"}
    assert (await gate.get("/api/models/acme/tiny?blobs=true")).status == 200
    file, _ = await gate.proxied.file_at(parse_repo("acme/tiny"), MAIN, RepoPath("config.json"), ANONYMOUS)
    assert file.entry.size_bytes == 2
