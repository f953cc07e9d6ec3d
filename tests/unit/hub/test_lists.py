"""Lists over everything: hosted first, upstream behind, each repository once, and alone when it must be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import pytest

from moongate.core.callers import Caller
from moongate.core.errors import BadRequest, UpstreamUnreachable
from moongate.core.names import CommitHash, RepoId, Revision
from moongate.hub import keys
from moongate.hub.answers import Answer
from moongate.hub.hosted.cards import CardFacts
from moongate.hub.hosted.lists import HostedLists
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.hosted.views import RepoState
from moongate.hub.lists import Lists
from moongate.hub.proxied import ProxiedRepos
from moongate.store.index import HostedRow, Index, StoredAnswer
from moongate.wire.routes import Listing

ALICE = Caller("token", "alice", "write")
MODELS = Listing("model")


class States:
    def state_of(self, row: HostedRow, *, siblings: bool) -> RepoState:
        return RepoState(row, CommitHash("c" * 40), row.created_at, CardFacts((), (), None, {}))


class Upstream:
    """Upstream's list: `up/0` to `up/9`, in pages of at most the limit, with a link to the next."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_down = False
        self.ids = [f"up/{number}" for number in range(10)]
        self.access = self
        self.unseen: set[str] = set()

    def sees(self, caller: Caller, repo: RepoId) -> bool:
        return repo.repo_id not in self.unseen

    async def answer(self, route: Listing, query: str, caller: Caller) -> Answer:
        self.asked.append(query)
        if self.is_down:
            raise UpstreamUnreachable("it is down")
        said = dict(parse_qsl(query))
        start, limit = int(said.get("cursor", "0")), int(said.get("limit", "1000"))
        items = [{"id": repo_id} for repo_id in self.ids[start : start + limit]]
        headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
        if start + limit < len(self.ids):
            headers += (("Link", f'</api/models?limit={limit}&cursor={start + limit}>; rel="next"'),)
        return Answer(200, headers, json.dumps(items).encode(), "miss")


class House:
    def __init__(self, index: Index, namespaces: tuple[str, ...] = ("acme",)) -> None:
        self.index = index
        self.upstream = Upstream()
        places = Places(index, HostedRules(namespaces=namespaces), lambda: 1.0)
        hosted = HostedLists(index, places, States())
        self.lists = Lists(index, places, hosted, cast(ProxiedRepos, self.upstream))

    def add(self, *names: str) -> None:
        for number, name in enumerate(names):
            assert self.index.add_hosted(RepoId("model", name), False, "alice", {}, float(-number))

    async def page(self, query: str = "") -> tuple[list[str], str | None, Answer]:
        answer = await self.lists.answer(MODELS, query, ALICE)
        link = dict(answer.headers).get("Link")
        following = link.partition("?")[2].partition(">")[0] if link else None
        said: list[dict[str, Any]] = json.loads(answer.body)
        return [item["id"] for item in said], following, answer

    async def all(self, query: str) -> tuple[list[str], list[int]]:
        """Every item, and how many were on each page."""
        found, sizes, following = [], [], query
        while following is not None:
            ids, following, _ = await self.page(following)  # type: ignore[assignment]
            found += ids
            sizes.append(len(ids))
        return found, sizes


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Index(tmp_path / "index.sqlite3") as index:
        yield House(index)


async def test_hosted_first_and_every_one_once(house: House) -> None:
    house.add("acme/a", "acme/b", "acme/c")
    everything = ["acme/a", "acme/b", "acme/c", *house.upstream.ids]
    for limit in range(1, 15):
        found, sizes = await house.all(f"limit={limit}")
        assert found == everything, limit
        assert max(sizes) <= limit
    assert (await house.all(""))[0] == everything


async def test_a_question_about_what_lives_here_stays_here(house: House) -> None:
    house.add("acme/a", "acme/b")
    for query in ("author=acme", "search=acme/", "filter=base_model:acme/a", "author=acme&limit=1"):
        await house.all(query)
    assert house.upstream.asked == []
    assert (await house.page("author=acme&limit=2"))[:2] == (["acme/a", "acme/b"], None)


async def test_where_nothing_is_hosted_upstream_answers_as_ever(tmp_path: Path) -> None:
    with Index(tmp_path / "index.sqlite3") as index:
        house = House(index, namespaces=())
        await house.page("limit=3&expand=whatever")
        assert house.upstream.asked == ["limit=3&expand=whatever"]
        house.upstream.is_down = True
        with pytest.raises(UpstreamUnreachable):
            await house.page()


async def test_a_question_that_cannot_be_is_refused_before_upstream_hears_it(house: House) -> None:
    with pytest.raises(BadRequest):
        await house.page("expand=foo")
    assert house.upstream.asked == []


async def test_upstream_is_down_and_what_is_known_is_listed(house: House) -> None:
    house.add("acme/a")
    house.upstream.is_down = True
    commit = CommitHash("d" * 40)
    for name in ("up/kept", "up/secret", "acme/shadow"):
        repo = RepoId("model", name)
        house.index.put_ref(repo, Revision("main"), commit, 1.0)
        info = json.dumps({"id": name, "tags": ["en"], "lastModified": "2024-01-01T00:00:00.000Z"})
        house.index.put_answer(keys.info(repo, commit), repo, StoredAnswer(200, {}, info.encode(), 1.0))
    house.upstream.unseen = {"up/secret"}
    ids, following, answer = await house.page("")
    assert (ids, following, answer.status) == (["acme/a", "up/kept"], None, 200)
    assert "upstream cannot be asked" in dict(answer.headers)["X-HF-Warning"]
    assert (await house.page("filter=en"))[0] == ["up/kept"]


async def test_what_a_hosted_namespace_hides_is_not_listed(house: House) -> None:
    house.upstream.ids = ["up/0", "ACME/theirs", "gpt2"]
    assert (await house.page())[0] == ["up/0", "gpt2"]
