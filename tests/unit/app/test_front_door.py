"""What every route shares: errors, methods, limits, Host, headers, the log and the counters."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from moongate.app.door import DoorRules
from moongate.core.errors import GatedRepo, RepoAbsent, UpstreamBusy, UpstreamUnreachable
from moongate.hub.answers import Answer
from support.house import House, open_house

INFO = "/api/models/acme/tiny"
TOKEN = "hf_" + "S3cret" * 6


async def raw(house: House, request: bytes) -> bytes:
    """What the server says to these very bytes, until it closes (as they must make it do)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


async def test_answers_carry_a_request_id_and_no_version(house: House) -> None:
    async with house.session.get(house.url + INFO) as answer:
        assert answer.status == 200
        assert answer.headers["Server"] == "moongate"
        assert answer.headers["X-Request-Id"]
        assert answer.headers["X-Moongate-Cache"] == "hit"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_head_tells_the_length_and_sends_nothing(house: House) -> None:
    async with house.session.get(house.url + INFO) as answer:
        body = await answer.read()
    async with house.session.head(house.url + INFO) as answer:
        assert answer.headers["Content-Length"] == str(len(body))
        assert await answer.read() == b""


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RepoAbsent("Repository not found"), 404, "RepoNotFound"),
        (GatedRepo("ask first", authenticated=False), 401, "GatedRepo"),
        (GatedRepo("not for you", authenticated=True), 403, "GatedRepo"),
        (UpstreamBusy("slowly", 7.2), 429, "UpstreamBusy"),
        (UpstreamUnreachable("silent"), 503, "UpstreamUnreachable"),
    ],
)
async def test_errors_are_coded(house: House, error: Exception, status: int, code: str) -> None:
    house.hub.error = error  # type: ignore[assignment]
    async with house.session.get(house.url + INFO) as answer:
        assert (answer.status, answer.headers["X-Error-Code"]) == (status, code)
        assert (await answer.json())["error"]
    assert f'moongate_refusals_total{{error="{type(error).__name__}"}} 1.0' in house.metrics.page().decode()


async def test_a_crash_is_a_500_with_an_id_and_no_trace(house: House) -> None:
    house.hub.crash = ZeroDivisionError("secret detail")
    async with house.session.get(house.url + INFO) as answer:
        text = await answer.text()
        assert answer.status == 500
        assert answer.headers["X-Request-Id"] in text
        assert "secret detail" not in text
        assert "Traceback" not in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/models/acme%2Ftiny", 400),
        ("/acme/tiny/resolve/main/..%2f..%2fetc/passwd", 400),
        ("/acme/tiny/resolve/main/a%0d%0aX-Evil:1", 400),
        ("/acme/tiny/resolve/main/%ff", 400),
        ("/nowhere/at/all", 404),
        ("/api/moongate/v2", 200),
    ],
)
async def test_odd_paths_are_the_clients_mistake(house: House, path: str, status: int) -> None:
    answer = await raw(house, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0].replace(b"X-Error-Message", b"")


async def test_a_long_url_is_414_and_a_long_header_431(house: House) -> None:
    long_url = await raw(house, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert long_url.startswith(b"HTTP/1.1 414 ")
    assert b"X-Error-Code: UriTooLong" in long_url
    long_header = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n"
    assert (await raw(house, long_header)).startswith(b"HTTP/1.1 431 ")
    many = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500))
    assert (await raw(house, many + b"\r\n")).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_coded_400(house: House, request_bytes: bytes) -> None:
    answer = await raw(house, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"X-Error-Code: " in answer
    (line,) = [json.loads(line) for line in house.log_text().splitlines()]
    assert line["status"] == 400


async def test_methods_nobody_knows_are_405(house: House) -> None:
    for method in ("TRACE", "PROPFIND", "POST"):
        path = INFO if method != "POST" else "/acme/tiny/resolve/main/config.json"
        async with house.session.request(method, house.url + path) as answer:
            assert answer.status == 405, method
            assert answer.headers["X-Error-Code"] == "MethodNotAllowed"
            assert "GET" in answer.headers["Allow"]


async def test_options_tells_browsers_what_they_may(house: House) -> None:
    async with house.session.options(house.url + INFO) as answer:
        assert answer.status == 204
        assert "Range" in answer.headers["Access-Control-Allow-Headers"]
        assert "X-Repo-Commit" in answer.headers["Access-Control-Expose-Headers"]


async def test_a_name_pointed_at_loopback_is_turned_away(house: House) -> None:
    async with house.session.get(house.url + INFO, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 400
        assert "evil.example" in (await answer.json())["error"]
    for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "hub.localhost"):
        async with house.session.get(house.url + INFO, headers={"Host": host}) as answer:
            assert answer.status == 200, host


async def test_a_header_from_upstream_cannot_break_a_line(house: House) -> None:
    house.hub.answer_value = Answer(200, (("X-Repo-Commit", "a\r\nX-Evil: 1"),), b"{}", "hit")
    async with house.session.get(house.url + INFO) as answer:
        assert answer.status == 502
        assert "X-Evil" not in answer.headers


async def test_next_pages_are_ours(house: House) -> None:
    link = '</api/models?cursor=a%20b>; rel="next"'
    house.hub.answer_value = Answer(200, (("Link", link),), b"[]", "hit")
    async with house.session.get(house.url + "/api/models") as answer:
        assert answer.headers["Link"] == f'<{house.url}/api/models?cursor=a%20b>; rel="next"'


async def test_a_stale_answer_says_so(house: House) -> None:
    house.hub.answer_value = Answer(200, (), b"{}", "stale", 123.4)
    async with house.session.get(house.url + INFO) as answer:
        assert answer.headers["Age"] == "123"
        assert answer.headers["Warning"].startswith("110 ")
        assert answer.headers["X-Moongate-Cache"] == "stale"


async def test_one_line_per_request_and_never_a_secret(house: House) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Amzn-Trace-Id": "trace-1"}
    async with house.session.get(house.url + INFO + f"?token={TOKEN}", headers=headers) as answer:
        request_id = answer.headers["X-Request-Id"]
    (line,) = [json.loads(line) for line in house.log_text().splitlines()]
    assert line["id"] == request_id
    assert line["method"] == "GET"
    assert (line["route"], line["repo"], line["outcome"]) == ("Info", "acme/tiny", "hit")
    assert (line["status"], line["bytes"], line["trace"]) == (200, 2027, "trace-1")
    assert line["who"].startswith("upstream:")
    assert TOKEN not in house.log_text()
    assert TOKEN not in house.metrics.page().decode()


async def test_an_address_that_is_a_permission_is_not_logged(house: House) -> None:
    await raw(house, b"PUT /_lfs/S3cret/2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    (line,) = [json.loads(line) for line in house.log_text().splitlines()]
    assert line["path"] == "/_lfs/•••"


async def test_text_lines_cannot_be_forged(tmp_path: Path) -> None:
    async with open_house(tmp_path, shape="text") as house:
        await raw(house, b"GET /a%0a%E2%80%A8b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert len(house.log_text().splitlines()) == 1


async def test_requests_are_counted_by_route_and_outcome(house: House) -> None:
    for _ in range(3):
        async with house.session.get(house.url + INFO):
            pass
    async with house.session.get(house.url + "/-/health"):
        pass  # an answer of our own, which is nobody's hit or miss
    page = house.metrics.page().decode()
    assert 'moongate_requests_total{outcome="hit",route="Info",status="200"} 3.0' in page
    assert 'moongate_served_bytes_total{outcome="hit"} 6081.0' in page
    assert house.metrics.totals().requests == 3


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    house.hub.memory = house.hub.answer_value
    one = b"GET " + INFO.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = await raw(house, one * 3 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 200 OK") == 4


async def test_the_fast_lane_gives_the_same_answer(house: House) -> None:
    async with house.session.get(house.url + INFO) as answer:
        slow = {str(name).lower(): value for name, value in answer.headers.items()}
        slow_body = await answer.read()
    house.hub.memory = house.hub.answer_value
    async with house.session.get(house.url + INFO) as answer:
        fast = {str(name).lower(): value for name, value in answer.headers.items()}
        assert await answer.read() == slow_body
    assert house.hub.lane_hits == 1
    for name in ("x-request-id", "date"):
        assert fast.pop(name)
        slow.pop(name)
    assert fast == slow
    async with house.session.head(house.url + INFO) as answer:
        assert answer.headers["Content-Length"] == str(len(slow_body))
        assert await answer.read() == b""
    assert [json.loads(line)["status"] for line in house.log_text().splitlines()] == [200, 200, 200]


async def test_the_fast_lane_leaves_closed_doors_closed(tmp_path: Path) -> None:
    async with open_house(tmp_path, rules=DoorRules(loopback=False)) as house:
        house.hub.memory = house.hub.answer_value
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": "Bearer hf_" + "x" * 48}):
            async with house.session.get(house.url + INFO, headers=headers) as answer:
                assert answer.status in (401, 403)
        assert house.hub.lane_hits == 0


async def test_addresses_come_from_the_public_url(tmp_path: Path) -> None:
    rules = DoorRules(public_url="https://hub.example/moon")
    async with open_house(tmp_path, rules=rules) as house:
        house.hub.answer_value = Answer(200, (("Link", '</api/models?p=2>; rel="next"'),), b"[]", "hit")
        async with house.session.get(house.url + "/api/models", headers={"Host": "hub.example"}) as answer:
            assert answer.headers["Link"] == '<https://hub.example/moon/api/models?p=2>; rel="next"'


async def test_forwarded_names_are_believed_from_trusted_proxies_only(tmp_path: Path) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "hub.example"}
    for trusted, expected in (((), None), (("127.0.0.0/8",), "https://hub.example")):
        async with open_house(tmp_path, rules=DoorRules(trusted_proxies=trusted)) as house:
            house.hub.answer_value = Answer(200, (("Link", '</api/models?p=2>; rel="next"'),), b"[]", "hit")
            async with house.session.get(house.url + "/api/models", headers=headers) as answer:
                assert answer.headers["Link"].startswith(f"<{expected or house.url}/api/models")


async def test_whoami_names_our_own_users(house: House) -> None:
    async with house.session.get(house.url + "/api/whoami-v2") as answer:
        assert (answer.status, answer.headers["X-Error-Code"]) == (401, "AuthRequired")
    from moongate.app.tokens import mint

    secret, _ = mint(house.tokens, "ada", "write", None, "", 0.0)
    headers = {"Authorization": f"Bearer {secret.reveal()}"}
    async with house.session.get(house.url + "/api/whoami-v2", headers=headers) as answer:
        told = await answer.json()
        assert (told["name"], told["auth"]["accessToken"]["role"]) == ("ada", "write")


async def test_health_is_answered_to_everybody(tmp_path: Path) -> None:
    async with open_house(tmp_path, rules=DoorRules(loopback=False)) as house:
        for path in ("/healthz", "/readyz"):
            async with house.session.get(house.url + path, headers={"Host": "probe"}) as answer:
                assert answer.status == 200, path
        async with house.session.get(
            house.url + "/metrics", headers={"X-Forwarded-For": "9.9.9.9"}
        ) as answer:
            assert answer.status == 401
        async with house.session.get(house.url + "/metrics") as answer:
            assert "moongate_requests_total" in await answer.text()
