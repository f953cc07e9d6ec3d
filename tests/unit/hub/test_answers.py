from __future__ import annotations

import pytest

from moongate.core.names import parse_repo
from moongate.hub import keys
from moongate.hub.answers import PUBLIC, Answer, AnswerMemory
from support.yard import TINY


def answer(size_bytes: int = 10, outcome: str = "miss") -> Answer:
    return Answer(200, (), b"x" * size_bytes, outcome)  # type: ignore[arg-type]


def test_an_answer_is_given_as_a_hit_until_its_time() -> None:
    memory = AnswerMemory(1 << 20)
    memory.put(PUBLIC, "q", answer(), fresh_until=10.0)
    found = memory.get(PUBLIC, "q", 9.9)
    assert found is not None
    assert found.outcome == "hit"
    assert memory.get(PUBLIC, "q", 10.0) is None
    assert memory.used_bytes == 0


def test_audiences_do_not_see_each_other() -> None:
    memory = AnswerMemory(1 << 20)
    memory.put("upstream:alice", "q", answer(), fresh_until=10.0)
    assert memory.get(PUBLIC, "q", 1.0) is None
    assert memory.get("upstream:bob", "q", 1.0) is None


def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    memory = AnswerMemory(64 << 10)
    for number in range(100):
        memory.put(PUBLIC, number, answer(4096), fresh_until=10.0)
        memory.get(PUBLIC, 0, 1.0)
        assert memory.used_bytes <= 64 << 10
    assert memory.get(PUBLIC, 0, 1.0) is not None
    assert memory.get(PUBLIC, 1, 1.0) is None
    memory.put(PUBLIC, "large", answer(60 << 10), fresh_until=10.0)  # one answer does not push out all others
    assert memory.get(PUBLIC, "large", 1.0) is None


def test_a_repository_is_forgotten_whole() -> None:
    memory = AnswerMemory(1 << 20)
    memory.put(PUBLIC, "a", answer(), 10.0, TINY)
    memory.put("upstream:alice", "b", answer(), 10.0, TINY)
    memory.put(PUBLIC, "c", answer(), 10.0, parse_repo("acme/other"))
    memory.drop_repo(TINY)
    assert [memory.get(PUBLIC, q, 1.0) is None for q in "ac"] == [True, False]
    assert memory.get("upstream:alice", "b", 1.0) is None


def test_links_become_absolute() -> None:
    told = Answer(200, (("Link", '</api/models?cursor=a>; rel="next"'),), b"", "hit")
    assert told.headers_for("https://gate/hub") == [
        ("Link", '<https://gate/hub/api/models?cursor=a>; rel="next"')
    ]


@pytest.mark.parametrize(
    ("query", "normal"),
    [
        ("", []),
        ("recursive=True&expand=False", [("recursive", "true")]),
        ("expand[]=likes&expand%5B%5D=gated", [("expand", "gated"), ("expand", "likes")]),
        ("expand=likes&expand=gated", [("expand", "gated"), ("expand", "likes")]),
        ("cursor=Zm9v%3D%3D&limit=5", [("cursor", "Zm9v=="), ("limit", "5")]),
    ],
)
def test_queries_have_one_spelling(query: str, normal: list[tuple[str, str]]) -> None:
    assert keys.normal_query(query) == normal


def test_long_keys_stay_apart() -> None:
    pairs = [("x", "y" * 2000)]
    first, second = keys.tree(TINY, "0" * 40, "", pairs), keys.tree(TINY, "0" * 40, "", [*pairs, ("z", "1")])  # type: ignore[arg-type]
    assert first != second
    assert max(len(first), len(second)) < 1100
    assert "0" * 40 in first
