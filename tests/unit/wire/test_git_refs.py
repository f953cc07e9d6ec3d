from __future__ import annotations

import subprocess

import pytest

from moongate.wire.git_refs import in_the_way, is_pull_ref, is_ref_name

NAMES = [
    "refs/heads/main", "refs/heads/feat/x", "refs/tags/v1.0", "refs/heads/ünï☃",
    "refs/heads/a.lock", "refs/heads/a.lock/b", "refs/heads/.a", "refs/heads/a/.b", "refs/heads/a..b",
    "refs/heads/a//b", "refs/heads/a/", "refs/heads/a.", "refs/heads/a@{b", "refs/heads/a b",
    "refs/heads/a~b",
    "refs/heads/a^", "refs/heads/a:b",
    "refs/heads/a?", "refs/heads/a*", "refs/heads/a[", "refs/heads/a\\b",
    "refs/heads/a\x7f", "refs/heads/a\tb", "refs/heads/@{", "refs/heads/a.b", "refs/heads/]", "refs/heads/{",
    "refs/heads/-x", "refs/heads/@",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_good_when_git_says_so(name: str) -> None:
    said = subprocess.run(["git", "check-ref-format", name], check=False).returncode == 0
    assert is_ref_name(name) == said


def test_a_ref_and_one_below_it_exclude_each_other() -> None:
    others = ["refs/heads/a/b", "refs/heads/c"]
    assert in_the_way("refs/heads/a", others) == "refs/heads/a/b"
    assert in_the_way("refs/heads/c/d", others) == "refs/heads/c"
    for free in ("refs/heads/a/b", "refs/heads/a/bc", "refs/heads/cd", "refs/tags/a"):
        assert in_the_way(free, others) is None


def test_refs_of_pull_requests() -> None:
    assert is_pull_ref("refs/pr/12")
    for name in ("refs/pr/0", "refs/pr/01", "refs/pr/x", "refs/pr/1/2", "refs/pr/", "refs/pr/1\n"):
        assert not is_pull_ref(name)
