"""The escape hatch: what expressions see, and that they stay small."""

from __future__ import annotations

import re
from typing import Any

import pytest

from moongate.policy.expressions import FIELDS_OF, compile_expression, values_of
from moongate.policy.logic import Asked
from moongate.policy.short_facts import facts_from

FULL = {
    "repo": "acme/tiny", "actor": "ada", "teams": ["research"], "licence": "mit", "tags": ["a", "b"],
    "age_days": 3, "downloads": 10, "path": "model.bin", "formats": ["pickle"], "verdict": "clean",
    "findings": ["secret:medium"], "revision": "main",
}  # fmt: skip


def answer(source: str, **facts: Any) -> bool | None:
    told = facts_from({**FULL, **facts}, 1e9)
    return compile_expression(source).answer(Asked((), told))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('repo.organisation == "acme" && action == "read"', True),
        ('"research" in actor.teams', True),
        ("repo.tags.exists(tag, tag.startsWith('b'))", True),
        ("repo.age_days < 7 && repo.downloads > 100", False),
        ('file.path.matches("[.]bin$") && !("secret" in file.findings)', False),
        ("size(repo.tags) == 2", True),
        ("!has(repo.gated)", True),
        ("signature.valid", None),
        ("repo.gated == false", None),
        ("repo.gated == false || repo.organisation == 'acme'", True),
        ("repo.downloads", None),
    ],
)
def test_an_expression_sees_the_facts_that_are_known(source: str, expected: bool | None) -> None:
    assert answer(source) is expected


def test_an_expression_about_a_file_is_never_true_of_a_repository() -> None:
    facts = facts_from({"repo": "acme/tiny"}, 1e9)

    assert compile_expression('file.path != "x"').answer(Asked((), facts)) is False


def test_the_names_that_are_checked_are_the_names_that_there_are() -> None:
    facts = facts_from(
        {
            **FULL, "commit_hash": "a" * 40, "private": False, "gated": False, "base_models": [], "likes": 1,
            "modified_days": 1, "repo_size": 1, "file_size": 1, "digest": "0", "complete": True,
            "signed": True, "signature_valid": True, "signer": "ada", "feed_age_days": 1,
        },
        1e9,
    )  # fmt: skip
    values = values_of(facts)

    for root, names in FIELDS_OF.items():
        assert set(values[root]) == set(names)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("repo.licance == 'mit'", "repo has no 'licance'; did you mean 'licence'?"),
        ("repos.id == 'x'", "unknown name 'repos'; did you mean 'repo'?"),
        ("open(repo.id)", "unknown function 'open'"),
        ("repo.id ==", "not CEL: 1:11"),
        ("(" * 40 + "true" + ")" * 40, "brackets"),
        ("true " + "|| true " * 80, "500 characters"),
        ("repo.tags.all(a, repo.tags.all(b, a == b))", "one of all, exists"),
        ("'\u00fc' + ", "not CEL"),
    ],
)
def test_what_is_malformed_or_unbounded_is_refused_when_it_is_loaded(source: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        compile_expression(source)


def test_texts_in_quotes_are_not_taken_for_names_or_calls() -> None:
    assert answer('repo.id != "repo.licance open(" + "repos"') is True
