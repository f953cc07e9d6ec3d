from __future__ import annotations

import pytest

from moongate.cli.repos import RepoAt, RepoPattern, parse_repo_at, parse_wanted, select
from moongate.core.errors import BadName
from moongate.core.names import RepoId


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("acme/tiny", RepoId("model", "acme/tiny"), None),
        ("models/acme/tiny", RepoId("model", "acme/tiny"), None),
        ("datasets/acme/squad", RepoId("dataset", "acme/squad"), None),
        ("spaces/acme/app@v1.0", RepoId("space", "acme/app"), "v1.0"),
        ("acme/tiny@refs/pr/3", RepoId("model", "acme/tiny"), "refs/pr/3"),
        ("gpt2", RepoId("model", "gpt2"), None),
    ],
)
def test_a_repository_is_read_as_people_type_it(text: str, repo: RepoId, revision: str | None) -> None:
    read = parse_repo_at(text)
    assert (read.repo, read.revision) == (repo, revision)


def test_the_default_type_is_for_names_without_a_prefix() -> None:
    assert parse_repo_at("acme/squad", "dataset").repo == RepoId("dataset", "acme/squad")
    assert parse_repo_at("spaces/acme/app", "dataset").repo == RepoId("space", "acme/app")


@pytest.mark.parametrize("text", ["", "a/b/c", "acme/../tiny", "acme/tiny@", "acme/tiny@-x", "acme/ti ny"])
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_repo_at(text)


def test_what_was_read_prints_as_it_was_typed() -> None:
    for text in ("acme/tiny", "datasets/acme/squad@v1", "acme/*", "datasets/acme/*@main", "spaces/*"):
        assert str(parse_wanted(text)) == text


@pytest.mark.parametrize(
    ("glob", "namespace", "fits", "does_not_fit"),
    [
        ("acme/*", "acme", RepoId("model", "acme/tiny"), RepoId("model", "other/tiny")),
        ("*/tiny", None, RepoId("model", "acme/tiny"), RepoId("model", "acme/huge")),
        ("*", None, RepoId("model", "acme/tiny"), RepoId("dataset", "acme/squad")),
        ("datasets/acme/s*", "acme", RepoId("dataset", "acme/squad"), RepoId("model", "acme/squad")),
        ("acme/t?ny", "acme", RepoId("model", "acme/tiny"), RepoId("model", "acme/Tiny2")),
    ],
)
def test_a_glob_matches_ids_of_its_type(
    glob: str, namespace: str | None, fits: RepoId, does_not_fit: RepoId
) -> None:
    pattern = parse_wanted(glob)
    assert isinstance(pattern, RepoPattern)
    assert pattern.namespace == namespace
    assert pattern.matches(fits)
    assert not pattern.matches(does_not_fit)


@pytest.mark.parametrize("text", ["a/b/*", "acme/*\n", "acme/ *", "acme/*@-x"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_wanted(text)


def test_a_name_without_glob_characters_is_one_repository() -> None:
    assert isinstance(parse_wanted("acme/tiny"), RepoAt)


def test_select_takes_all_when_nothing_is_named_and_else_only_what_fits() -> None:
    known = [RepoId("model", "acme/tiny"), RepoId("dataset", "acme/squad"), RepoId("model", "other/x")]
    assert select(known, []) == sorted(known)
    assert select(known, ["acme/*"]) == [RepoId("model", "acme/tiny")]
    assert select(known, ["datasets/*", "other/x"]) == [
        RepoId("dataset", "acme/squad"),
        RepoId("model", "other/x"),
    ]
    assert select(known, ["nobody/*"]) == []
