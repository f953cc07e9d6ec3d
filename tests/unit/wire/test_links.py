from __future__ import annotations

import json

import pytest

from moongate.wire.links import next_header, next_link, relative_next, rewrite_next, with_own_addresses

HUB = "https://huggingface.co"


@pytest.mark.parametrize(
    ("header", "url"),
    [
        (f'<{HUB}/api/models?cursor=x%3D>; rel="next"', f"{HUB}/api/models?cursor=x%3D"),
        (f'<{HUB}/a?b=1,2>; rel="prev", <{HUB}/a?b=3,4>; rel="next"', f"{HUB}/a?b=3,4"),
        (f"<{HUB}/a>;rel=next", f"{HUB}/a"),
        (f'<{HUB}/a>; title="x"; rel="last next"', f"{HUB}/a"),
        (f'<{HUB}/a>; rel="nextish"', None),
        (f'<{HUB}/a b>; rel="next"', None),
        ('<>; rel="next"', None),
        ("garbage", None),
        ("<" * 40_000, None),
    ],
)
def test_the_next_page_in_a_header(header: str, url: str | None) -> None:
    assert next_link({"link": header}) == url


def test_no_header_is_the_last_page() -> None:
    assert next_link({}) is None


@pytest.mark.parametrize(
    ("url", "base", "relative"),
    [
        (f"{HUB}/api/models?a=%2F&b=1", HUB, "/api/models?a=%2F&b=1"),
        ("https://HuggingFace.co:443/api/x", HUB, "/api/x"),
        ("/api/x?y", HUB, "/api/x?y"),
        ("http://h:1/hub/api/x", "http://h:1/hub/", "/api/x"),
        ("http://h:1/api/x", "http://h:1/hub", None),
        ("http://huggingface.co/api/x", HUB, None),
        ("https://evil.example/api/x", HUB, None),
        ("//evil.example/api/x", HUB, None),
        (f"{HUB}//evil.example/x", HUB, None),
        ("https://huggingface.co:x/api", HUB, None),
    ],
)
def test_only_what_is_below_upstream_is_kept(url: str, base: str, relative: str | None) -> None:
    assert relative_next(url, base) == relative


def test_the_next_page_is_ours_and_absolute() -> None:
    url = rewrite_next(f"{HUB}/api/models?cursor=abc", HUB, "http://gate:8080/hub/")
    assert url == "http://gate:8080/hub/api/models?cursor=abc"
    assert next_link({"Link": next_header(url)}) == url


def test_what_was_made_is_at_our_address() -> None:
    told = {
        "url": f"{HUB}/ada/new",
        "commitUrl": f"{HUB}/ada/new/commit/1",
        "pullRequestUrl": "https://else/1",
        "n": 1,
    }
    ours = json.loads(with_own_addresses(json.dumps(told).encode(), HUB, "http://gate:8080"))
    assert ours == told | {
        "url": "http://gate:8080/ada/new",
        "commitUrl": "http://gate:8080/ada/new/commit/1",
    }


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'{"url": 5}', b'{ "other": "x" }', b"\xff"])
def test_other_answers_stay_as_they_are(body: bytes) -> None:
    assert with_own_addresses(body, HUB, "http://gate:8080") == body
