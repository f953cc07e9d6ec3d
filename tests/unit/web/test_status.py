"""The status page: everything from outside is escaped, nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

from moongate.web.html import SECURITY_HEADERS, ago_words, size_words
from moongate.web.status import FillLine, RepoLine, StatusView, status_page

VIEW = StatusView(
    endpoint="http://localhost:8080",
    upstream="https://huggingface.co",
    offline=False,
    upstream_trouble="",
    served_bytes=3e9,
    fetched_bytes=1e9,
    requests=200,
    hits=150,
    store_bytes=10**9,
    quota_bytes=0,
    free_bytes=10**11,
    repos=[RepoLine("acme/tiny", 3, 5_000_000, 5_000_000, 30.0, pinned=True)],
    filling=[],
)


def test_it_says_how_to_use_it_and_what_is_kept() -> None:
    text = status_page(VIEW).decode()
    assert "export HF_ENDPOINT=http://localhost:8080" in text
    assert "acme/tiny · pinned" in text
    assert "5.0 MB" in text
    assert "75%" in text


def test_nothing_from_outside_becomes_markup() -> None:
    evil = '<script>alert(1)</script>"&'
    view = replace(
        VIEW,
        endpoint=evil,
        upstream=evil,
        upstream_trouble=evil,
        repos=[RepoLine(evil, 1, 1, 1, None, pinned=False)],
        filling=[FillLine(evil, 1, 2)],
    )
    for page in (status_page(view), status_page(replace(view, offline=True))):
        assert b"<script" not in page


def test_the_policy_allows_the_style_and_nothing_else() -> None:
    text = status_page(VIEW).decode()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = dict(SECURITY_HEADERS)["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert 'style="' not in text


def test_who_may_not_see_what_is_kept_sees_the_rest() -> None:
    text = status_page(replace(VIEW, repos=None)).decode()
    assert "acme/tiny" not in text
    assert "export HF_ENDPOINT=" in text
    assert "Nothing yet" in status_page(replace(VIEW, repos=[])).decode()


def test_words_for_sizes_and_times() -> None:
    assert [size_words(n) for n in (0, 999, 1500, 123_456_789, 5e15)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "123 MB",
        "5000 TB",
    ]
    assert [ago_words(n) for n in (None, 5, 600, 7200, 864_000)] == [
        "never", "5 s ago", "10 min ago", "2 h ago", "10 days ago",
    ]  # fmt: skip
