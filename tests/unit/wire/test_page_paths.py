"""Which page an address in a browser is, and back."""

from __future__ import annotations

import pytest

from moongate.core.names import RepoId, RepoPath, Revision
from moongate.wire.page_paths import (
    BlobPage,
    CommitsPage,
    ListPage,
    NamespacePage,
    PagePath,
    RepoPage,
    TreePage,
    page_href,
    parse_page_path,
)

TINY, ROWS, GPT = RepoId("model", "acme/tiny"), RepoId("dataset", "acme/rows"), RepoId("model", "gpt2")


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/models", ListPage("model")),
        ("/datasets/", ListPage("dataset")),
        ("/acme", NamespacePage("acme")),
        ("/acme/tiny", RepoPage(TINY)),
        ("/models/acme/tiny", RepoPage(TINY)),
        ("/datasets/acme/rows", RepoPage(ROWS)),
        ("/datasets/rows", RepoPage(RepoId("dataset", "rows"))),
        ("/acme/tiny/tree/main", TreePage(TINY, Revision("main"), None)),
        ("/acme/tiny/tree/main/a/b", TreePage(TINY, Revision("main"), RepoPath("a/b"))),
        ("/gpt2/tree/main", TreePage(GPT, Revision("main"), None)),
        ("/acme/tiny/blob/refs%2Fpr%2F1/a%20b.md", BlobPage(TINY, Revision("refs/pr/1"), RepoPath("a b.md"))),
        ("/acme/tiny/commits/v1?p=2", CommitsPage(TINY, Revision("v1"))),
    ],
)
def test_pages(path: str, page: PagePath) -> None:
    assert parse_page_path(path) == page


@pytest.mark.parametrize(
    "path",
    ["/", "/api/models", "/v2/", "/acme/tiny/resolve/main/x", "/a/b/c", "/acme/tiny/blob/main", "/-/tokens",
     "/acme/tiny/blob/main/../x", "/acme/..", "/%ff/x", "/acme/tiny/tree/a..b", "/acme/tiny/discussions",
     "/acme%2Ftiny/x/y", "/.git/config", "/favicon.ico/x/y"],
)  # fmt: skip
def test_what_is_no_page(path: str) -> None:
    assert parse_page_path(path) is None


@pytest.mark.parametrize("repo", [TINY, ROWS, GPT])
def test_there_and_back(repo: RepoId) -> None:
    for page in (
        TreePage(repo, Revision("refs/pr/1"), RepoPath("ü/a b")),
        BlobPage(repo, Revision("main"), RepoPath("a#b?c%.txt")),
    ):
        word = "tree" if isinstance(page, TreePage) else "blob"
        assert parse_page_path(page_href(repo, word, page.revision, page.path or "")) == page
