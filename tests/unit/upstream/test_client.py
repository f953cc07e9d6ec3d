"""The client against a Hub double, and against small upstreams for what a Hub does not do."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from moongate.core import errors
from moongate.core.callers import Secret
from moongate.core.names import RepoId, RepoType
from moongate.double import HangUp, HubDouble, LfsFile, Match, Status, TooMany
from moongate.upstream.client import UpstreamClient
from support.upstreams import client_of, upstream

TINY = RepoId("model", "acme/tiny")
WEIGHTS = b"weights" * 1000
ADA = "hf_" + "Ada0" * 12


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubDouble]:
    double = HubDouble(Path(tmp_path_factory.mktemp("hub")))
    double.add_user("ada", ADA, grants=["acme/gated", "acme/secret"])
    files = {"config.json": b"{}", "sub dir/a+b%.txt": b"text", "model.bin": LfsFile(WEIGHTS)}
    for name, more in (("tiny", {}), ("gated", {"gated": True}), ("secret", {"private": True})):
        double.add_repo(f"acme/{name}", **more).commit(files)
    double.add_repo("acme/before").commit(files)
    double.rename("acme/before", "acme/after")
    with double.running():
        yield double


@pytest.fixture
async def client(hub: HubDouble) -> AsyncIterator[UpstreamClient]:
    async with client_of(hub.url, hub.cdn_netloc) as client:
        yield client


def requests_to(hub: HubDouble, mark: int) -> list[tuple[str, str, str | None]]:
    return [(r.origin, r.method, r.authorization) for r in hub.meters.requests() if r.number > mark]


def mark(hub: HubDouble) -> int:
    return max((record.number for record in hub.meters.requests()), default=0)


async def test_a_question_and_its_json(client: UpstreamClient) -> None:
    answer = await client.get("/api/models/acme/tiny", None)
    assert answer.status == 200
    assert answer.final_path == "/api/models/acme/tiny"
    told = answer.json()
    assert isinstance(told, dict)
    assert told["id"] == "acme/tiny"


async def test_a_renamed_repository_is_followed_and_said_so(client: UpstreamClient) -> None:
    answer = await client.get("/api/models/acme/before?blobs=true", None)
    assert answer.status == 200
    assert answer.final_path.startswith("/api/models/acme/after")
    posted = await client.post(
        "/api/models/acme/before/paths-info/main", b'{"paths":["config.json"]}', "application/json", None
    )
    assert posted.status == 200
    assert posted.final_path.startswith("/api/models/acme/after")


async def test_a_coded_refusal_is_an_answer(client: UpstreamClient) -> None:
    answer = await client.get("/api/models/acme/tiny/revision/nope", None)
    assert (answer.status, answer.headers["x-error-code"]) == (404, "RevisionNotFound")


async def test_a_small_file_is_at_the_origin(client: UpstreamClient) -> None:
    told = await client.head_file(TINY, "main", "sub dir/a+b%.txt", None)
    assert (told.size_bytes, len(told.etag), told.location) == (4, 40, None)


async def test_a_large_file_is_at_the_cdn_which_is_not_asked(hub: HubDouble, client: UpstreamClient) -> None:
    before = mark(hub)
    told = await client.head_file(RepoId("model", "acme/secret"), "main", "model.bin", Secret(ADA))
    assert (told.size_bytes, len(told.etag)) == (len(WEIGHTS), 64)
    assert told.location is not None
    assert told.location.startswith(hub.cdn_url)
    assert requests_to(hub, before) == [("hub", "HEAD", f"Bearer {ADA}")]


@pytest.mark.parametrize(
    ("repo_id", "revision", "path", "token", "kind"),
    [
        ("acme/tiny", "main", "nope", None, errors.EntryAbsent),
        ("acme/tiny", "nope", "config.json", None, errors.RevisionAbsent),
        ("acme/nope", "main", "config.json", None, errors.RepoAbsent),
        ("acme/nope", "main", "config.json", ADA, errors.RepoAbsent),
        ("acme/gated", "main", "model.bin", None, errors.GatedRepo),
        ("acme/secret", "main", "model.bin", None, errors.RepoAbsent),
        ("acme/tiny", "main", "config.json", "hf_" + "x" * 48, errors.BadToken),
    ],
)
async def test_why_a_file_is_not_there(
    client: UpstreamClient, repo_id: str, revision: str, path: str, token: str | None, kind: type[Exception]
) -> None:
    repo_type: RepoType = "model"
    with pytest.raises(kind) as caught:
        await client.head_file(RepoId(repo_type, repo_id), revision, path, Secret(token) if token else None)
    assert token is None or token not in str(caught.value)


async def test_a_credential_does_not_follow_to_the_cdn(hub: HubDouble, client: UpstreamClient) -> None:
    before = mark(hub)
    answer = await client.get("/acme/secret/resolve/main/model.bin", Secret(ADA))
    assert answer.body == WEIGHTS
    assert requests_to(hub, before) == [("hub", "GET", f"Bearer {ADA}"), ("cdn", "GET", None)]


async def test_a_stream_passes_ranges_and_follows_to_the_cdn(hub: HubDouble, client: UpstreamClient) -> None:
    asked = [("Range", "bytes=7-13"), ("Authorization", "Bearer stolen"), ("Cookie", "a=b"), ("Host", "evil")]
    before = mark(hub)
    async with client.stream("GET", "/acme/tiny/resolve/main/model.bin", asked, None, None) as stream:
        assert stream.status == 206
        assert stream.headers["content-range"] == f"bytes 7-13/{len(WEIGHTS)}"
        assert b"".join([piece async for piece in stream.chunks()]) == b"weights"
    assert [authorization for _, _, authorization in requests_to(hub, before)] == [None, None]


@pytest.mark.parametrize("fault", [Status(503, times=1), Status(502, times=1), HangUp(times=1)])
async def test_a_passing_trouble_is_tried_again(
    hub: HubDouble, client: UpstreamClient, fault: Status | HangUp
) -> None:
    with hub.failing(fault):
        assert (await client.get("/api/models/acme/tiny", None)).status == 200


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(503), errors.UpstreamUnreachable),
        (Status(500), errors.UpstreamUnreachable),
        (Status(504), errors.UpstreamTimeout),
        (HangUp(), errors.UpstreamUnreachable),
    ],
)
async def test_a_lasting_trouble_is_told(
    hub: HubDouble, client: UpstreamClient, fault: Status | HangUp, kind: type[Exception]
) -> None:
    before = mark(hub)
    with hub.failing(fault), pytest.raises(kind):
        await client.get("/api/models/acme/tiny", None)
    # Two tries; aiohttp repeats a GET of its own accord when a connection closes without an answer.
    assert len(requests_to(hub, before)) <= (4 if isinstance(fault, HangUp) else 2)


async def test_upstream_is_away(hub: HubDouble, client: UpstreamClient) -> None:
    with hub.away(), pytest.raises(errors.UpstreamUnreachable, match="cannot connect to upstream"):
        await client.get("/api/models/acme/tiny", None)


async def test_a_limit_holds_for_all_who_share_it(hub: HubDouble, client: UpstreamClient) -> None:
    before = mark(hub)
    with hub.failing(TooMany(Match("/api/*"), reset_seconds=3000, bucket="api")):
        for _ in range(3):
            with pytest.raises(errors.UpstreamBusy) as caught:
                await client.get("/api/models/acme/tiny", None)
            assert 2900 < caught.value.retry_after_seconds <= 3000
    assert len(requests_to(hub, before)) == 1, "the others were not even sent"
    assert (await client.head_file(TINY, "main", "config.json", None)).size_bytes == 2
    assert (await client.get("/api/models/acme/tiny", Secret(ADA))).status == 200


async def test_a_short_limit_is_waited_for(hub: HubDouble, client: UpstreamClient) -> None:
    with hub.failing(TooMany(retry_after_seconds=0, times=1)):
        assert (await client.get("/api/models/acme/tiny", None)).status == 200


async def test_a_429_of_a_stream_is_passed_on(hub: HubDouble, client: UpstreamClient) -> None:
    with hub.failing(TooMany(reset_seconds=60)):
        async with client.stream("GET", "/api/x", [], None, None) as stream:
            assert stream.status == 429
            assert "t=60" in stream.headers["RateLimit"]
        with pytest.raises(errors.UpstreamBusy):
            async with client.stream("GET", "/api/x", [], None, None):
                pass


async def test_offline_asks_nobody(hub: HubDouble) -> None:
    before = mark(hub)
    async with client_of(hub.url, offline=True) as client:
        with pytest.raises(errors.UpstreamUnreachable, match="offline"):
            await client.get("/api/models/acme/tiny", None)
        with pytest.raises(errors.UpstreamUnreachable, match="offline"):
            async with client.stream("GET", "/api/x", [], None, None):
                pass
    assert requests_to(hub, before) == []


async def test_an_upstream_below_a_path() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/hub/api/old":
            return web.Response(status=307, headers={"Location": "/hub/api/new?a=%2F"})
        return web.Response(text=request.raw_path)

    async with upstream(answer) as told, client_of(told.url + "/hub/") as client:
        got = await client.get("/api/old", None)
        assert (got.body, got.final_path) == (b"/hub/api/new?a=%2F", "/api/new?a=%2F")


async def test_a_public_upstream_is_reached_through_the_environments_proxy() -> None:
    async def proxy(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=f"{request.raw_path} {request.headers['Proxy-Authorization']}")

    async with upstream(proxy) as told:
        named = told.url.replace("http://", "http://me:secret@")
        async with client_of("http://hub.example", HTTP_PROXY=named) as client:
            got = await client.get("/api/x?a=%2F", None)
            assert got.body == b"http://hub.example/api/x?a=%2F Basic bWU6c2VjcmV0"


async def test_a_proxy_that_is_away_is_told() -> None:
    async with client_of("https://hub.example", HTTPS_PROXY="http://me:secret@127.0.0.1:9") as client:
        with pytest.raises(errors.UpstreamUnreachable) as caught:
            await client.get("/api/x", None)
        assert "secret" not in str(caught.value)


async def test_a_path_goes_out_as_it_came_in() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.raw_path)

    async with upstream(answer) as told, client_of(told.url) as client:
        path = "/a/b/resolve/refs%2Fpr%2F1/x%20y+%25z~'(1)?b=%2B+&a&a"
        assert (await client.get(path, None)).body.decode() == path
        assert (await client.get("/é x\\y", None)).body.decode() == "/%C3%A9%20x%5Cy"
        with pytest.raises(errors.BadRequest):
            await client.get("no-slash", None)


async def test_a_question_is_decoded_and_a_stream_is_not() -> None:
    packed = gzip.compress(b"text" * 100)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(
            body=packed,
            headers={"Content-Encoding": "gzip", "X-Accepted": request.headers["Accept-Encoding"]},
        )

    async with upstream(answer) as told, client_of(told.url) as client:
        got = await client.get("/x", None)
        assert got.body == b"text" * 100
        assert "content-encoding" not in got.headers
        assert "content-length" not in got.headers
        async with client.stream("GET", "/x", [("Accept-Encoding", "gzip")], None, None) as stream:
            assert stream.headers["Content-Encoding"] == "gzip"
            assert b"".join([piece async for piece in stream.chunks()]) == packed
        async with client.stream("GET", "/x", [], None, None) as stream:
            assert stream.headers["X-Accepted"] == "identity"


async def test_a_written_body_is_streamed_with_its_length() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        return web.Response(
            status=201, text=f"{request.method} {request.headers.get('Content-Length')} {body!r}"
        )

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with upstream(answer) as told, client_of(told.url) as client:
        headers = [("Content-Length", "6"), ("Content-Type", "application/x-ndjson")]
        async with client.stream("PUT", "/x", headers, pieces(), None) as stream:
            assert stream.status == 201
            assert b"".join([piece async for piece in stream.chunks()]) == b"PUT 6 b'onetwo'"
        async with client.stream("PUT", "/x", [], pieces(), None) as stream:
            assert b"".join([piece async for piece in stream.chunks()]) == b"PUT None b'onetwo'"


@pytest.mark.parametrize(
    ("location", "handed_back"),
    [
        ("/api/new?x=1", "/api/new?x=1"),
        ("{url}/api/new", "/api/new"),
        ("http://{netloc}:1/x", None),
        ("http://127.0.0.2:1/x", None),
    ],
)
async def test_a_redirected_write_comes_back_through_us_or_is_refused(
    location: str, handed_back: str | None
) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        where = location.format(url=f"http://{request.host}", netloc="127.0.0.1")
        return web.Response(status=307, headers={"Location": where})

    async def body() -> AsyncIterator[bytes]:
        yield b"x"

    async with upstream(answer) as told, client_of(told.url, "127.0.0.2:1") as client:
        if handed_back is None:
            with pytest.raises(errors.UpstreamRefused):
                async with client.stream("POST", "/api/old", [], body(), Secret(ADA)):
                    pass
        else:
            async with client.stream("POST", "/api/old", [], body(), Secret(ADA)) as stream:
                assert (stream.status, stream.headers["Location"]) == (307, handed_back)
        assert len(told.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_question_is_not_turned_into_another(status: int) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with upstream(answer) as told, client_of(told.url) as client:
        with pytest.raises(errors.UpstreamRefused):
            await client.post("/api/x", b"{}", "application/json", None)
        assert len(told.requests) == 1


async def test_git_gets_the_token_as_a_password() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.headers["Authorization"].partition(" ")[0])

    async with upstream(answer) as told, client_of(told.url) as client:
        for path, scheme in (("/a/b.git/info/refs?service=git-upload-pack", b"Basic"), ("/api/x", b"Bearer")):
            async with client.stream("GET", path, [], None, Secret(ADA)) as stream:
                assert b"".join([piece async for piece in stream.chunks()]) == scheme


async def test_a_header_with_a_line_break_is_the_callers_mistake() -> None:
    async with client_of("http://127.0.0.1:9") as client:
        with pytest.raises(errors.BadRequest):
            await client.get("/x", None, [("Accept", "a\r\nX-Evil: 1")])


async def test_closing_twice_is_once(client: UpstreamClient) -> None:
    await client.get("/api/models/acme/tiny", None)
    await client.close()
    await client.close()
    assert (await client.get("/api/models/acme/tiny", None)).status == 200, "and it opens again when asked"
