"""What goes through to upstream, and what stays on its side."""

from __future__ import annotations

import gzip
from pathlib import Path

import aiohttp
import pytest

from moongate.app.door import DoorRules
from moongate.app.tokens import mint
from moongate.core.errors import UpstreamUnreachable
from support.house import House, open_house

TOKEN = "hf_" + "Ada" * 12
PACK = "/acme/tiny.git/git-upload-pack"


async def test_a_write_goes_with_the_users_own_token(house: House) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson", "Cookie": "a=1"}
    url = house.url + "/api/models/acme/tiny/commit/main?create_pr=1"
    async with house.session.post(url, data=b"{}\n", headers=headers) as answer:
        assert (answer.status, await answer.read()) == (200, b"passed")
        assert answer.headers["X-Moongate-Cache"] == "pass"
    ((method, path, sent, body, credential),) = house.upstream.seen
    assert (method, path, body) == ("POST", "/api/models/acme/tiny/commit/main?create_pr=1", b"{}\n")
    assert credential is not None
    assert credential.reveal() == TOKEN
    assert "Cookie" not in sent
    assert "Authorization" not in sent
    assert "Host" not in sent


async def test_our_own_tokens_never_write(house: House) -> None:
    secret, _ = mint(house.tokens, "ada", "admin", None, "", 0.0)
    headers = {"Authorization": f"Bearer {secret.reveal()}"}
    async with house.session.post(house.url + "/api/repos/create", json={}, headers=headers) as answer:
        assert (answer.status, answer.headers["X-Error-Code"]) == (403, "Forbidden")
    assert house.upstream.seen == []


async def test_git_bodies_stay_as_they_came(house: House) -> None:
    body = gzip.compress(b"0032want " + b"a" * 5000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-git-upload-pack-request"}
    house.upstream.headers = {"Content-Type": "application/x-git-upload-pack-result", "Set-Cookie": "t=1"}
    async with house.session.post(house.url + PACK, data=body, headers=headers) as answer:
        assert answer.content_type == "application/x-git-upload-pack-result"
        assert "Set-Cookie" not in answer.headers
    assert house.upstream.seen[0][3] == body
    assert house.upstream.seen[0][2]["Content-Encoding"] == "gzip"


async def test_git_sends_its_password_as_the_token(house: House) -> None:
    headers = {"Authorization": aiohttp.encode_basic_auth("ada", TOKEN)}
    url = house.url + "/acme/tiny/info/refs?service=git-upload-pack"
    async with house.session.get(url, headers=headers):
        pass
    credential = house.upstream.seen[0][4]
    assert credential is not None
    assert credential.reveal() == TOKEN


async def test_a_client_that_waits_for_permission_is_told_to_go_on(house: House) -> None:
    async with house.session.post(house.url + PACK, data=b"x" * 100_000, expect100=True) as answer:
        assert answer.status == 200
    assert house.upstream.seen[0][3] == b"x" * 100_000


async def test_upload_batches_keep_upstreams_addresses(house: House) -> None:
    house.upstream.pieces = [b'{"objects":[{"actions":{"upload":{"href":"https://cdn.example/x"}}}]}']
    wanted = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 3}]}
    url = house.url + "/datasets/acme/rows.git/info/lfs/objects/batch"
    async with house.session.post(url, json=wanted) as answer:
        assert b"https://cdn.example/x" in await answer.read()
    assert b'"upload"' in house.upstream.seen[0][3]


async def test_redirects_and_pages_within_upstream_lead_through_us(house: House) -> None:
    house.upstream.status = 307
    house.upstream.headers = {
        "Location": "https://hub.example/api/models/acme/new",
        "Link": '<https://hub.example/api/x?p=2>; rel="next"',
        "X-Xet-Hash": "a" * 64,
    }
    url = house.url + "/api/models/acme/tiny/commit/main"
    async with house.session.post(url, data=b"", allow_redirects=False) as answer:
        assert answer.headers["Location"] == house.url + "/api/models/acme/new"
        assert answer.headers["Link"] == f'<{house.url}/api/x?p=2>; rel="next"'
        assert "X-Xet-Hash" not in answer.headers


async def test_upstream_breaking_off_breaks_the_connection(house: House) -> None:
    house.upstream.pieces = [b"half", UpstreamUnreachable("gone")]
    with pytest.raises(aiohttp.ClientError):
        async with house.session.post(house.url + PACK, data=b"") as answer:
            await answer.read()


async def test_offline_passes_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, offline=True) as house:
        async with house.session.post(house.url + PACK, data=b"") as answer:
            assert (answer.status, answer.headers["X-Error-Code"]) == (503, "UpstreamUnreachable")
        assert house.upstream.seen == []


async def test_git_is_asked_for_a_password_in_the_form_it_knows(tmp_path: Path) -> None:
    path = "/acme/tiny/info/refs?service=git-upload-pack"
    async with (
        open_house(tmp_path, rules=DoorRules(loopback=False)) as house,
        house.session.get(house.url + path) as answer,
    ):
        assert answer.status == 401
        assert any(value.startswith("Basic ") for value in answer.headers.getall("WWW-Authenticate"))
