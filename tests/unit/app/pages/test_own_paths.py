"""Where a visitor may be sent after a form: to a page of ours, and nowhere else."""

from __future__ import annotations

import pytest

from moongate.app.pages.account import own_path


@pytest.mark.parametrize("text", ["/", "/models?search=x", "/acme/tiny"])
def test_paths_of_ours(text: str) -> None:
    assert own_path(text) == text


@pytest.mark.parametrize(
    "text", ["", "x", "//x", "/\\x", "https://x", "/a\nb", "/" + "a" * 3000, "/a b", "/é", "/\x7f"]
)
def test_paths_of_others(text: str) -> None:
    assert own_path(text) == "/"
