"""Questions for lists, and how hosted repositories are shown and counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.core.callers import Caller
from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, QuotaExceeded
from moongate.core.names import CommitHash, RepoId, RepoType, Revision
from moongate.hub.hosted.cards import CardFacts
from moongate.hub.hosted.lineage import Lineage
from moongate.hub.hosted.lists import HostedLists
from moongate.hub.hosted.objects import GitObjects
from moongate.hub.hosted.places import Places
from moongate.hub.hosted.quotas import Quotas, limits_of, with_limits
from moongate.hub.hosted.retention import Released, Retention
from moongate.hub.hosted.rules import HostedRules
from moongate.hub.hosted.search import CURSOR, read_question
from moongate.hub.hosted.views import RepoState, whole_view
from moongate.store.index import (
    BaseModel,
    GitObjectRow,
    HostedBlob,
    HostedRow,
    Index,
    Landing,
    RefUpdate,
)
from moongate.wire.git_objects import (
    CommitObject,
    Signature,
    TreeItem,
    encode_commit,
    encode_tree,
    object_oid,
)

ALICE, BOB = Caller("token", "alice", "write"), Caller("token", "bob", "write")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "index.sqlite3") as opened:
        yield opened


def _repo(index: Index, name: str, *, private: bool = False, repo_type: RepoType = "model") -> HostedRow:
    row = index.add_hosted(RepoId(repo_type, name), private, "alice", {}, float(len(name)))
    assert row is not None
    return row


class States:
    """Facts by name, as if every repository had a commit."""

    def __init__(self) -> None:
        self.tags: dict[str, tuple[str, ...]] = {}
        self.told: dict[str, dict[str, object]] = {}

    def state_of(self, row: HostedRow, *, siblings: bool) -> RepoState:
        name = row.repo.repo_id
        facts = CardFacts(self.tags.get(name, ()), (), None, self.told.get(name, {}))
        files = [{"rfilename": "README.md"}] if siblings else []
        return RepoState(row, CommitHash("c" * 40), row.created_at, facts, files, 5)


class TestLists:
    @pytest.fixture
    def states(self) -> States:
        return States()

    @pytest.fixture
    def lists(self, index: Index, states: States) -> HostedLists:
        places = Places(index, HostedRules(namespaces=("acme", "else")), lambda: 1.0)
        return HostedLists(index, places, states)

    def _ids(
        self, lists: HostedLists, query: str, caller: Caller = ALICE, kind: RepoType = "model"
    ) -> list[str]:
        page = lists.page(kind, read_question(query, kind), caller)
        return [str(item["id"]) for item in page.items]

    def test_what_fits(self, index: Index, states: States, lists: HostedLists) -> None:
        for name in ("acme/a", "acme/tuned-bert", "else/Bert"):
            _repo(index, name)
        _repo(index, "acme/a", repo_type="dataset")
        states.tags["acme/a"] = ("license:mit", "en", "base_model:x/Y")
        states.tags["else/Bert"] = ("en",)
        states.told["acme/a"] = {"pipeline_tag": "fill-mask", "safetensors": {"total": 7_000_000_000}}
        states.told["else/Bert"] = {"gguf": {"total": 5_000_000}}
        ask = lists
        assert self._ids(ask, "") == ["acme/tuned-bert", "else/Bert", "acme/a"]
        assert self._ids(ask, "sort=createdAt&direction=1") == ["acme/a", "else/Bert", "acme/tuned-bert"]
        assert self._ids(ask, "search=bert") == ["acme/tuned-bert", "else/Bert"]
        assert self._ids(ask, "search=tuned%20ac") == ["acme/tuned-bert"]
        assert self._ids(ask, "author=ACME&limit=10") == ["acme/tuned-bert", "acme/a"]
        assert self._ids(ask, "filter=en") == ["else/Bert", "acme/a"]
        assert self._ids(ask, "filter=en&filter=license%3Amit") == ["acme/a"]
        assert self._ids(ask, "filter=en,license:mit") == ["acme/a"]
        assert self._ids(ask, "filter=base_model:x/y") == ["acme/a"]
        assert self._ids(ask, "pipeline_tag=fill-mask") == ["acme/a"]
        assert self._ids(ask, "num_parameters=min:6B,max:128B") == ["acme/a"]
        assert self._ids(ask, "num_parameters=max:6M") == ["else/Bert"]
        assert self._ids(ask, "gated=true") == []
        assert len(self._ids(ask, "gated=False")) == 3
        assert self._ids(ask, "apps=ollama") == []
        assert self._ids(ask, "", kind="dataset") == ["acme/a"]

    def test_private_ones_are_for_their_own(self, index: Index, lists: HostedLists) -> None:
        _repo(index, "acme/open")
        _repo(index, "acme/secret", private=True)
        assert self._ids(lists, "") == ["acme/secret", "acme/open"]
        assert self._ids(lists, "", BOB) == ["acme/open"]
        assert self._ids(lists, "search=secret", BOB) == []

    def test_pages(self, index: Index, lists: HostedLists) -> None:
        for number in range(7):
            _repo(index, f"acme/{'x' * (number + 1)}")
        found, start = [], 0
        while True:
            question = read_question(f"limit=3&{CURSOR}={start}&sort=createdAt", "model")
            page = lists.page("model", question, ALICE)
            found += [str(item["id"]) for item in page.items]
            if page.next_start is None:
                break
            start = page.next_start
        assert found == [f"acme/{'x' * number}" for number in range(7, 0, -1)]

    def test_what_is_told_of_each(self, index: Index, states: States, lists: HostedLists) -> None:
        _repo(index, "acme/a")
        states.told["acme/a"] = {"config": {"model_type": "bert"}, "cardData": {"license": "mit"}}

        def item(query: str) -> dict[str, object]:
            return dict(lists.page("model", read_question(query, "model"), ALICE).items[0])

        assert not item("").keys() & {"siblings", "config", "cardData"}
        assert item("full=True&config=True&cardData=true").keys() >= {"siblings", "config", "cardData", "sha"}
        assert item("expand=author&expand%5B%5D=likes") == {
            "_id": f"{1:024x}",
            "id": "acme/a",
            "modelId": "acme/a",
            "author": "acme",
            "likes": 0,
        }


@pytest.mark.parametrize("query", ["expand=foo", "limit=x", "limit=-1", "num_parameters=7", f"{CURSOR}=1e9"])
def test_questions_that_cannot_be(query: str) -> None:
    with pytest.raises(BadRequest):
        read_question(query, "model")


@pytest.mark.parametrize(
    ("query", "stays"),
    [
        ("author=acme", True),
        ("author=google", False),
        ("search=acme/secret", True),
        ("search=acme", False),
        ("search=bert", False),
        ("filter=base_model%3Aacme%2Fsecret", True),
        ("filter=base_model:finetune:ACME/x", True),
        ("filter=license:mit", False),
        ("filter=dataset:google/acme", False),
    ],
)
def test_what_names_a_namespace_of_ours_stays_in_the_house(query: str, stays: bool) -> None:
    assert read_question(query, "model").names(lambda name: name.lower() == "acme") is stays


def test_times_are_as_clients_parse_them(index: Index) -> None:
    view = whole_view(RepoState(_repo(index, "acme/a"), None, 1_700_000_000.25, None))
    assert view["lastModified"] == "2023-11-14T22:13:20.250Z"
    assert view["sha"] is None
    assert view["tags"] == []


class TestQuotas:
    def test_bytes_that_are_there_cost_nothing(self, index: Index) -> None:
        index.add_namespace("acme", 1.0)
        index.set_namespace("acme", {"quota_bytes": 100})
        row = _repo(index, "acme/one")
        held = HostedBlob("a" * 40, Etag("a" * 64), 60)
        index.land(row.number, Landing((), blobs=[held]), 1.0)
        quotas = Quotas(index)
        quotas.admit("acme", {held.etag: 60, Etag("b" * 64): 40})
        with pytest.raises(QuotaExceeded, match=r"holds 60 B of the 100 B .*41 B more"):
            quotas.admit("Acme", {held.etag: 60, Etag("b" * 64): 41})
        quotas.admit("else", {Etag("b" * 64): 1 << 50})
        quotas.admit_lengths("acme", [60, 40, 0])  # the 60 may be what is there already
        with pytest.raises(QuotaExceeded):
            quotas.admit_lengths("acme", [61])

    def test_what_costs_nothing_is_admitted_beyond_the_quota(self, index: Index) -> None:
        index.add_namespace("acme", 1.0)
        row = _repo(index, "acme/one")
        held = HostedBlob("a" * 40, Etag("a" * 64), 60)
        index.land(row.number, Landing((), blobs=[held]), 1.0)
        index.set_namespace("acme", {"quota_bytes": 10})
        Quotas(index).admit("acme", {held.etag: 60})

    def test_repositories(self, index: Index) -> None:
        index.add_namespace("acme", 1.0)
        index.set_namespace("acme", {"quota_repos": 1})
        quotas = Quotas(index)
        quotas.admit_repo("acme")
        _repo(index, "acme/one")
        with pytest.raises(QuotaExceeded, match="has 1 repositories"):
            quotas.admit_repo("acme")
        quotas.admit_repo("else")

    def test_limits_are_changed_one_by_one(self, index: Index) -> None:
        settings = with_limits({"note": "x"}, {"quota_bytes": 5, "keep_revisions": 2, "quota_repos": None})
        assert settings == {"note": "x", "quota_bytes": 5, "keep_revisions": 2}
        assert with_limits(settings, {"quota_bytes": 0}) == {"note": "x", "keep_revisions": 2}
        with pytest.raises(BadRequest):
            with_limits({}, {"quota_bytes": -1})
        index.add_namespace("acme", 1.0)
        index.set_namespace("acme", {"quota_bytes": True, "quota_repos": "many", "keep_revisions": 0})
        assert limits_of(index.get_namespace("acme")) == limits_of(None)


class History:
    """A repository whose every commit has one large file of its own, and one that all share."""

    def __init__(self, index: Index, name: str = "acme/one") -> None:
        self.index = index
        self.row = _repo(index, name)
        self.tip: str | None = None
        self.count = 0

    def commit(self, branch: str = "main", parent: str | None = None) -> CommitHash:
        number, self.count = self.count, self.count + 1
        own = HostedBlob(f"{number:040x}", Etag(f"{number:064x}"), 10)
        shared = HostedBlob("f" * 40, Etag("f" * 64), 1000)
        small = HostedBlob("e" * 40, Etag("e" * 40), 3)
        folder = encode_tree([TreeItem(0o100644, "own.bin", own.oid)])
        items = [
            TreeItem(0o40000, "folder", object_oid("tree", folder)),
            TreeItem(0o100644, "shared.bin", shared.oid),
            TreeItem(0o100644, "small.txt", small.oid),
        ]
        tree = encode_tree(items)
        by = Signature("alice", "alice@acme.test", number, "+0000")
        parents = tuple(one for one in [parent or self.tip] if one)
        body = encode_commit(CommitObject(object_oid("tree", tree), parents, by, by, f"commit {number}\n"))
        oid = CommitHash(object_oid("commit", body))
        objects = [
            GitObjectRow(object_oid("tree", folder), "tree", folder),
            GitObjectRow(object_oid("tree", tree), "tree", tree),
            GitObjectRow(oid, "commit", body),
        ]
        name = f"refs/heads/{branch}"
        before = self.index.hosted_ref(self.row.number, name)
        update = RefUpdate(name, before.target if before else None, oid)
        self.index.land(self.row.number, Landing([update], objects, [own, shared, small]), 1.0)
        self.tip = oid
        return oid

    def held(self) -> list[int]:
        """The numbers of the commits whose own large file is here."""
        blobs = self.index.hosted_blobs_after(self.row.number, "", 1000)
        return [int(blob.oid, 16) for blob in blobs if blob.size_bytes == 10]


class TestRetention:
    def test_the_newest_and_the_tagged_stay(self, index: Index) -> None:
        index.add_namespace("acme", 1.0)
        history = History(index)
        commits = [history.commit() for _ in range(6)]
        history.commit("dev", commits[3])
        tag = RefUpdate("refs/tags/v1", None, commits[0], commits[0])
        index.land(history.row.number, Landing([tag]), 1.0)
        for commit in commits:
            index.put_files(history.row.repo, commit, [], complete=True)
        retention = Retention(index, GitObjects(index), lambda: 5.0)
        assert retention.run() == Released()  # there is no rule
        index.set_namespace("acme", {"keep_revisions": 2})
        assert retention.run() == Released(repos=1, files=2, size_bytes=20)
        assert history.held() == [0, 3, 4, 5, 6]
        assert set(index.commits_of(history.row.repo)) == {commits[0], *commits[3:]}
        assert index.get_ref(history.row.repo, Revision("main")) is not None
        assert retention.run() == Released()
        assert index.hosted_blob(history.row.number, "f" * 40) is not None
        assert index.hosted_blob(history.row.number, "e" * 40) is not None
        assert index.released_blob(history.row.number, f"{1:040x}") is not None

    def test_other_namespaces_are_left_alone(self, index: Index) -> None:
        index.add_namespace("acme", 1.0)
        index.set_namespace("acme", {"keep_revisions": 1})
        history = History(index, "else/one")
        history.commit()
        history.commit()
        assert Retention(index, GitObjects(index), lambda: 5.0).run() == Released()
        assert history.held() == [0, 1]


class TestLineage:
    def test_the_commit_that_was_here_counts(self, index: Index) -> None:
        base, row = RepoId("model", "upstream/base"), _repo(index, "acme/one")
        lineage = Lineage(index, lambda: 1.0)
        facts = CardFacts((), ("upstream/base",), "adapter", {})
        old, new = CommitHash("1" * 40), CommitHash("2" * 40)
        first, second, third = (CommitHash(digit * 40) for digit in "abc")
        lineage.note(row, first, None, facts)  # nothing of it is here yet
        index.put_ref(base, Revision("main"), old, 1.0)
        lineage.note(row, second, first, facts)
        index.put_ref(base, Revision("main"), new, 2.0)
        lineage.note(row, third, second, facts)  # the README was edited: the base did not move
        assert index.base_models(row.number, first) == [BaseModel(base, None, "adapter")]
        assert index.base_models(row.number, second) == [BaseModel(base, old, "adapter")]
        assert index.base_models(row.number, third) == [BaseModel(base, old, "adapter")]

    def test_a_chain_is_followed_to_its_end(self, index: Index) -> None:
        history = History(index, "acme/middle")
        middle = history.commit()
        top = _repo(index, "acme/top")
        index.put_ref(RepoId("model", "gpt2"), Revision("main"), CommitHash("9" * 40), 1.0)
        lineage = Lineage(index, lambda: 1.0)
        lineage.note(history.row, middle, None, CardFacts((), ("gpt2",), "finetune", {}))
        at = CommitHash("a" * 40)
        lineage.note(top, at, None, CardFacts((), ("acme/middle", "no/where"), "merge", {}))
        chain = [one.as_json() for one in lineage.of(top.repo, at)]
        assert chain == [
            {
                "repo": "acme/middle",
                "commit_hash": middle,
                "relation": "merge",
                "hosted": True,
                "base_models": [
                    {
                        "repo": "gpt2",
                        "commit_hash": "9" * 40,
                        "relation": "finetune",
                        "hosted": False,
                        "base_models": [],
                    }
                ],
            },
            {
                "repo": "no/where",
                "commit_hash": None,
                "relation": "merge",
                "hosted": False,
                "base_models": [],
            },
        ]

    def test_a_model_that_says_it_comes_from_itself(self, index: Index) -> None:
        history = History(index)
        commit = history.commit()
        lineage = Lineage(index, lambda: 1.0)
        lineage.note(history.row, commit, None, CardFacts((), ("acme/one",), "finetune", {}))
        (base,) = lineage.of(history.row.repo, commit)
        assert (base.commit_hash, base.bases) == (commit, [])

    def test_an_adapter_that_names_a_commit_is_believed(self, index: Index) -> None:
        row = _repo(index, "acme/one")
        told = {"config": {"peft": {"revision": "7" * 40}}}
        at = CommitHash("a" * 40)
        Lineage(index, lambda: 1.0).note(row, at, None, CardFacts((), ("gpt2",), "adapter", told))
        assert index.base_models(row.number, at)[0].commit_hash == "7" * 40
