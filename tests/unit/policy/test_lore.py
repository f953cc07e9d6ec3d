"""What a repository's info answer tells the rules, and what it leaves unknown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from moongate.core.names import CommitHash, RepoId
from moongate.core.records import RepoFacts
from moongate.hub import keys
from moongate.policy.facts import Repository
from moongate.policy.lore import HELD_SECONDS, Lore, with_info
from moongate.store.index import StoredAnswer

REPO, COMMIT = RepoId("model", "acme/tiny"), CommitHash("a" * 40)
PLAIN = Repository("model", "acme/tiny")
INFO = {
    "createdAt": "2026-01-02T03:04:05.000Z", "lastModified": "2026-02-02T03:04:05.000Z", "downloads": 12,
    "likes": 0, "usedStorage": 1000, "tags": ["safetensors", "license:mit", "base_model:meta/base"],
    "cardData": {"license": ["apache-2.0", "mit"], "base_model": "acme/base"},
}  # fmt: skip


class Shelf:
    def __init__(self, info: object) -> None:
        self.body = orjson.dumps(info)
        self.reads = 0

    def get_answer(self, key: str) -> StoredAnswer | None:
        self.reads += 1
        return StoredAnswer(200, (), self.body, 0.0) if key == keys.info(REPO, COMMIT) else None

    def get_facts(self, repo: RepoId) -> RepoFacts | None:
        return RepoFacts(repo, private=False, gated=True, checked_at=0.0)


def test_an_info_answer_tells_the_rules_what_it_says() -> None:
    now = [0.0]
    shelf = Shelf(INFO)
    lore = Lore(shelf, lambda repo: False, lambda: now[0])
    told = lore.of(REPO, COMMIT)

    assert (told.licence, told.licence_group, told.base_models) == (
        "apache-2.0",
        "permissive",
        ("acme/base",),
    )
    assert (told.created_at, told.modified_at) == (1767323045.0, 1770001445.0)
    assert (told.downloads, told.likes, told.size_bytes) == (12, 0, 1000)
    assert (told.private, told.gated, told.hosted) == (False, True, False)
    assert lore.of(REPO, COMMIT) is told
    now[0] += HELD_SECONDS
    lore.of(REPO, COMMIT)
    assert shelf.reads == 2


def test_tags_stand_in_for_a_card() -> None:
    told = with_info(PLAIN, {**INFO, "cardData": None})

    assert (told.licence, told.base_models) == ("mit", ("meta/base",))


def test_no_licence_is_not_the_same_as_not_known() -> None:
    assert with_info(PLAIN, {"tags": []}).licence == ""
    assert with_info(PLAIN, {}).licence is None


@pytest.mark.parametrize(
    "said",
    [
        {"createdAt": "yesterday", "lastModified": 7, "downloads": -1, "likes": True, "tags": "x"},
        {
            "createdAt": "9" * 400,
            "cardData": {"license": {"a": 1}, "base_model": [1, None]},
            "tags": [1, None],
        },
    ],
)
def test_nonsense_is_not_known(said: dict[str, Any]) -> None:
    told = with_info(PLAIN, said)

    assert (told.created_at, told.modified_at, told.downloads, told.likes) == (None, None, None, None)


def test_what_is_hosted_or_not_kept_is_not_asked_for() -> None:
    shelf = Shelf(INFO)
    assert Lore(shelf, lambda repo: True, lambda: 0.0).of(REPO, COMMIT).licence is None
    assert shelf.reads == 0
    assert Lore(shelf, lambda repo: False, lambda: 0.0).of(REPO, "b" * 40).licence is None
    assert Lore(Shelf([1]), lambda repo: False, lambda: 0.0).of(REPO, COMMIT).tags is None
