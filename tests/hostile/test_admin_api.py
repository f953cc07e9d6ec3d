"""The admin API under fire: generated requests against its own OpenAPI document, and pages of other sites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.front import Front, is_coded
from support.gateway import Gateway
from support.raw import ask
from support.wire_talk import WireTalk

BASE = "/api/moongate/v1"


@pytest.fixture(scope="module")
def victim(front: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose home may be changed at will; pulls of made-up repositories fail, and may."""
    home: Path = tmp_path_factory.mktemp("admin") / "home"
    with Gateway(home, front.double.url, cdn=front.double.cdn_netloc) as gateway:
        yield gateway
        assert ask(gateway.url, "/readyz").status == 200
        log = gateway.log_path.read_text(errors="replace")
        assert "Traceback" not in log
        assert "request failed" not in log


def operations(gateway: Gateway) -> Any:
    document = ask(gateway.url, f"{BASE}/openapi.json").json()
    return schemathesis.openapi.from_dict(document)


@pytest.mark.timeout(600)
def test_generated_requests_find_no_5xx(victim: Gateway) -> None:
    """Of every operation: right ones, wrong ones, and what its document does not promise."""
    schema = operations(victim)
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        seen.add(operation.label)

        @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(
            case=st.one_of(
                operation.as_strategy(),
                operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
            )
        )
        def attack(case: Any) -> None:
            response = case.call(base_url=victim.url, timeout=60)
            assert response.status_code < 500, (case, response.content)
            if response.status_code >= 400:
                assert response.headers["x-error-code"], case
                assert response.json()["error"]

        attack()
    assert len(seen) >= 20


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
values = st.one_of(
    anything,
    st.sampled_from(
        ["acme/tiny", "../..", "a/b/c", "\0", "datasets/acme/rows", "main", "read", "admin", "x" * 5000]
    ),
)
POSTS = {
    "/pins": ("repo", "revision"), "/tokens": ("user", "scope", "expires_seconds", "note"),
    "/grants": ("user", "pattern"), "/pulls": ("repo", "revision", "include", "exclude"),
    "/verifications": ("verified_before",),
}  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_posted_is_taken_or_refused(victim: Gateway, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(POSTS)))
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(POSTS[path], values)) | anything)
    answer = ask(
        victim.url, BASE + path, "POST", {"Content-Type": "application/json"}, json.dumps(body).encode()
    )
    if answer.status >= 300:
        is_coded(answer, 400, 404, 409)


QUERIES = [
    "", "repo=", "repo=..", "repo=a/b&revision=..", "repo=a/b&x=1", "repo=%00", "repo=%ff", "repo=a%0d%0ab/c",
    "repo=" + "a" * 5000, "&" * 5000, "repo=a/b&repo=c/d&" + "x=1&" * 100,
]  # fmt: skip


def test_queries_are_checked(victim: Gateway) -> None:
    for query in QUERIES:
        is_coded(ask(victim.url, f"{BASE}/repos?{query}", "DELETE"), 400, 404)
    for limit in ("-1", "1e9", "9" * 5000, "%D9%A3", "0x10", "NaN"):
        is_coded(ask(victim.url, f"{BASE}/failures?limit={limit}"), 400)


FOREIGN = [
    "http://evil.example", "null", "http://localhost:1", "https://localhost", "http://127.0.0.1.evil.example",
    "file://",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_sites_are_turned_away(victim: Gateway, origin: str) -> None:
    """What a browser says of itself when a page of another site makes it ask."""
    tokens = len(ask(victim.url, f"{BASE}/tokens").json()["tokens"])
    body = b'{"user": "mallory", "scope": "admin"}'
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        headers = {"Origin": origin, "Content-Type": kind}
        is_coded(ask(victim.url, f"{BASE}/tokens", "POST", headers, body), 403)
        is_coded(ask(victim.url, f"{BASE}/tokens", "GET", headers), 403)
        is_coded(ask(victim.url, f"{BASE}/gc", "POST", headers), 403)
    assert len(ask(victim.url, f"{BASE}/tokens").json()["tokens"]) == tokens


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_without_an_origin_is_turned_away_too(victim: Gateway, site: str) -> None:
    """Some requests of pages carry no Origin (an image, a link): browsers mark them all the same."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    for method, path in (
        ("GET", "/tokens"),
        ("POST", "/gc"),
        ("DELETE", "/repos?repo=acme/tiny"),
        ("POST", "/evict"),
    ):
        is_coded(ask(victim.url, BASE + path, method, headers), 403)


def test_a_simple_form_can_make_nothing(victim: Gateway) -> None:
    """A form that any page may send without being asked first has another content type than ours."""
    body = b'{"user": "mallory", "scope": "admin"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        is_coded(ask(victim.url, f"{BASE}/tokens", "POST", {"Content-Type": kind}, body), 400, 415)


def test_no_other_site_may_read_its_answers(victim: Gateway) -> None:
    for path in ("/tokens", "/status", "/openapi.json", "/nothing"):
        answer = ask(victim.url, BASE + path)
        assert "access-control-allow-origin" not in answer.headers, path
    answer = ask(victim.url, BASE + "/tokens", "OPTIONS", {"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in ask(victim.url, "/metrics").headers
    assert "access-control-allow-origin" not in ask(victim.url, "/").headers


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1", "Via: 1.1 proxy"],
)
def test_somebody_behind_a_proxy_is_not_local(victim: Gateway, header: str) -> None:
    name, _, value = header.partition(": ")
    for path in ("/tokens", "/status", "/repos"):
        is_coded(ask(victim.url, BASE + path, "GET", {name: value}), 401)
    is_coded(ask(victim.url, "/metrics", "GET", {name: value}), 401)


@pytest.mark.parametrize(
    "target",
    ["/api/moongate/v1/tokens/", "/api/moongate/v1//tokens", "/api/./moongate/v1/tokens",
     "/api/%6doongate/v1/tokens", "/api/moongate%2fv1/tokens", "/API/moongate/v1/tokens",
     "//api/moongate/v1/tokens", "/x/../api/moongate/v1/tokens", "/api/moongate/v1/tokens;x",
     "/api/moongate/v1/tokens%00", "http://localhost/api/moongate/v1/tokens"],
)  # fmt: skip
def test_no_other_spelling_gets_around_the_door(victim: Gateway, target: str) -> None:
    """With a token that may only read, no address of the admin API answers, however it is written."""
    made = ask(victim.url, f"{BASE}/tokens", "POST", {"Content-Type": "application/json"}, b'{"user": "bob"}')
    token = made.json()["token"]
    with WireTalk(victim.port) as talk:
        head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        answer = talk.say(head.encode()).hear()
    is_coded(answer, 400, 403, 404)
    assert b"tokens" not in answer.body.replace(b"takes its own tokens", b"") or b'"id"' not in answer.body
