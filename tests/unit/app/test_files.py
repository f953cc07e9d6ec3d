"""Files as clients read them: whole, in ranges, conditionally, and when the fill fails under them."""

from __future__ import annotations

import hashlib

import aiohttp
import pytest

from moongate.core.errors import UpstreamUnreachable, VerificationFailed
from support.house import COMMIT, House

SMALL = b"0123456789abcdef"
LARGE = bytes(range(256)) * 2048  # 512 KiB
FILE = "/acme/tiny/resolve/main/"


@pytest.fixture(autouse=True)
def _contents(house: House) -> None:
    house.hub.contents = {"config.json": SMALL, "model.safetensors": LARGE, "empty": b""}
    house.hub.lfs = {"model.safetensors"}


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", SMALL), ("model.safetensors", LARGE), ("empty", b"")]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_carries_all_its_headers(house: House, name: str, content: bytes, method: str) -> None:
    async with house.session.request(method, house.url + FILE + name) as answer:
        assert answer.status == 200
        assert answer.headers["X-Repo-Commit"] == COMMIT
        assert answer.headers["ETag"] == answer.headers["X-Linked-ETag"] == f'"{house.hub.etag(name)}"'
        assert answer.headers["X-Linked-Size"] == answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert "Content-Encoding" not in answer.headers
        assert answer.headers.getall("Access-Control-Expose-Headers").__len__() == 1
        assert await answer.read() == (content if method == "GET" else b"")
    if method == "HEAD":
        assert house.hub.opened == 0


@pytest.mark.parametrize(
    ("asked", "span"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=100-199", slice(100, 200)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=524000-", slice(524000, None)),
        ("bytes=1000-400000", slice(1000, 400001)),
        ("bytes=10-99999999", slice(10, None)),
    ],
)
async def test_a_range_is_a_206(house: House, asked: str, span: slice) -> None:
    headers = {"Range": asked, "Accept-Encoding": "gzip"}
    async with house.session.get(house.url + FILE + "model.safetensors", headers=headers) as answer:
        body = await answer.read()
        start, end, _ = span.indices(len(LARGE))
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(LARGE)}"
        assert answer.headers["X-Repo-Commit"] == COMMIT
        assert body == LARGE[span]


async def test_several_ranges_are_multipart(house: House) -> None:
    headers = {"Range": "bytes=0-9,300000-300099,-7"}
    async with house.session.get(house.url + FILE + "model.safetensors", headers=headers) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
        reader = aiohttp.MultipartReader.from_response(answer)
        parts = [bytes(await part.read()) async for part in reader.stream if part is not None]
    assert parts == [LARGE[:10], LARGE[300000:300100], LARGE[-7:]]


async def test_a_range_beyond_the_end_is_416(house: House) -> None:
    async with house.session.get(house.url + FILE + "config.json", headers={"Range": "bytes=16-"}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == "bytes */16"


async def test_the_rest_of_a_file_of_which_wrong_bytes_were_sent(house: House) -> None:
    house.hub.tainted.add("config.json")
    url, rest = house.url + FILE + "config.json", {"Range": "bytes=5-"}
    async with house.session.get(url, headers=rest) as answer:
        assert (answer.status, answer.headers["X-Error-Code"]) == (409, "StartOver")
    async with house.session.get(url, headers={"Range": "bytes=5-9"}) as answer:
        assert (answer.status, await answer.read()) == (206, SMALL[5:10])


async def test_ranges_nobody_understands_are_ignored(house: House) -> None:
    for asked in ("lines=1-2", "bytes=5-2", "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2))):
        async with house.session.get(house.url + FILE + "config.json", headers={"Range": asked}) as answer:
            assert (answer.status, await answer.read()) == (200, SMALL)


async def test_conditional_requests(house: House) -> None:
    etag = house.hub.etag("config.json")
    url = house.url + FILE + "config.json"
    for match in (f'"{etag}"', f'W/"{etag}"', "*", f'"x", "{etag}"'):
        async with house.session.get(url, headers={"If-None-Match": match}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["ETag"] == f'"{etag}"'
            assert "Content-Length" not in answer.headers
    async with house.session.get(url, headers={"Range": "bytes=0-3", "If-Range": '"other"'}) as answer:
        assert answer.status == 200
    async with house.session.get(url, headers={"Range": "bytes=0-3", "If-Range": f'"{etag}"'}) as answer:
        assert (answer.status, await answer.read()) == (206, SMALL[:4])


async def test_an_absent_entry_names_the_commit(house: House) -> None:
    async with house.session.head(house.url + FILE + "nothing.json") as answer:
        assert (answer.status, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
        assert answer.headers["X-Repo-Commit"] == COMMIT


async def test_raw_is_what_git_holds(house: House) -> None:
    async with house.session.get(house.url + "/acme/tiny/raw/main/config.json") as answer:
        assert await answer.read() == SMALL
    async with house.session.get(house.url + "/acme/tiny/raw/main/model.safetensors") as answer:
        digest = hashlib.sha256(LARGE).hexdigest()
        assert await answer.text() == (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(LARGE)}\n"
        )


async def test_resolve_cache_is_the_same_file(house: House) -> None:
    path = f"/api/resolve-cache/models/acme/tiny/{COMMIT}/config.json?etag=x"
    async with house.session.get(house.url + path) as answer:
        assert (await answer.read(), answer.headers["X-Repo-Commit"]) == (SMALL, COMMIT)


async def test_a_fill_that_fails_before_its_first_byte_is_a_coded_error(house: House) -> None:
    house.hub.trouble = UpstreamUnreachable("gone")
    async with house.session.get(house.url + FILE + "model.safetensors") as answer:
        assert (answer.status, answer.headers["X-Error-Code"]) == (503, "UpstreamUnreachable")


async def test_a_fill_that_fails_later_breaks_the_connection(house: House) -> None:
    house.hub.trouble = VerificationFailed("the bytes are not what their etag says")
    house.hub.trouble_after = 300_000
    async with house.session.get(house.url + FILE + "model.safetensors") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    async with house.session.get(house.url + "/healthz") as answer:
        assert answer.status == 200
    assert "VerificationFailed" in house.log_text()


async def test_lfs_batches_name_our_own_addresses(house: House) -> None:
    oid = house.hub.etag("model.safetensors")
    wanted = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(LARGE)}]}
    url = house.url + "/acme/tiny.git/info/lfs/objects/batch"
    async with house.session.post(url, json=wanted) as answer:
        assert answer.content_type == "application/vnd.git-lfs+json"
        told = await answer.json(content_type=None)
    href = told["objects"][0]["actions"]["download"]["href"]
    assert href.startswith(house.url)
    async with house.session.get(href) as answer:
        assert await answer.read() == LARGE


async def test_layers_are_the_same_content(house: House) -> None:
    digest = house.hub.etag("model.safetensors")
    url = f"{house.url}/v2/acme/tiny/blobs/sha256:{digest}"
    async with house.session.head(url) as answer:
        assert answer.headers["Docker-Content-Digest"] == f"sha256:{digest}"
        assert answer.headers["Content-Length"] == str(len(LARGE))
    async with house.session.get(url, headers={"Range": "bytes=4-7"}) as answer:
        assert (answer.status, await answer.read()) == (206, LARGE[4:8])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_fast_lane_gives_the_same_file(house: House, method: str) -> None:
    told = []
    for house.hub.files_in_memory in (False, False, True):
        async with house.session.request(method, house.url + FILE + "config.json") as answer:
            headers = {str(name).lower(): value for name, value in answer.headers.items()}
            del headers["x-request-id"], headers["date"]
            told.append((answer.status, headers, await answer.read()))
    assert told[1] == told[2]
    assert house.hub.lane_hits == 1


async def test_the_fast_lane_leaves_conditions_and_ranges_alone(house: House) -> None:
    house.hub.files_in_memory = True
    url = house.url + FILE + "config.json"
    etag = house.hub.etag("config.json")
    for _ in range(2):
        async with house.session.get(url, headers={"Range": "bytes=0-3"}) as answer:
            assert (answer.status, await answer.read()) == (206, SMALL[:4])
        async with house.session.get(url, headers={"If-None-Match": f'"{etag}"'}) as answer:
            assert answer.status == 304
        async with house.session.get(house.url + FILE + "model.safetensors") as answer:
            assert await answer.read() == LARGE
