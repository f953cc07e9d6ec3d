"""Files over the wire, as the Hub sends them."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from moongate.double import ExpireUrls, HubDouble, LfsFile, Repo, big_file
from unit.double.plain import BOB, CAROL, WEIGHTS, call

DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


def test_a_regular_file_is_a_relative_redirect_then_bytes(double: HubDouble, tiny: Repo) -> None:
    node = tiny.commits[tiny.refs["refs/heads/main"]].files["config.json"]
    first = call(f"{double.url}/acme/tiny/resolve/main/config.json", "HEAD")
    assert (first.status, first.body) == (307, b"")
    location = first.headers["Location"]
    place = f"/api/resolve-cache/models/acme/tiny/{tiny.refs['refs/heads/main']}/config.json"
    assert location == f"{place}?%2Facme%2Ftiny%2Fresolve%2Fmain%2Fconfig.json=&etag=%22{node.oid}%22"
    assert first.headers["X-Repo-Commit"] == tiny.refs["refs/heads/main"]
    for target in (location, place):
        second = call(double.url + target)
        assert (second.status, len(second.body)) == (200, node.size_bytes)
        assert second.headers["ETag"] == f'"{node.oid}"'
        assert second.headers["X-Repo-Commit"] == tiny.refs["refs/heads/main"]


def test_a_large_file_is_a_redirect_to_another_origin(double: HubDouble, tiny: Repo) -> None:
    first = call(f"{double.url}/acme/tiny/resolve/main/model.safetensors", "HEAD")
    assert first.status == 302
    assert first.headers["X-Linked-ETag"] == f'"{DIGEST}"'
    assert first.headers["X-Linked-Size"] == str(len(WEIGHTS))
    assert "X-Xet-Hash" not in first.headers
    location = first.headers["Location"]
    assert location.startswith(double.cdn_url)
    assert urlsplit(location).netloc != urlsplit(double.url).netloc
    body = call(location)
    assert (body.status, body.body) == (200, WEIGHTS)
    assert len(body.headers["ETag"].strip('"')) == 64
    assert DIGEST not in body.headers["ETag"]
    assert "X-Repo-Commit" not in body.headers
    assert call(location.replace("Signature=", "Signature=0")).status == 403
    assert call(location, token=CAROL).status == 400


def test_a_xet_repository_says_so(double: HubDouble) -> None:
    repo = double.add_repo("acme/xet", xet=True)
    commit = repo.commit({"m.safetensors": LfsFile(b"m" * 100)})
    url = f"{double.url}/acme/xet/resolve/main/m.safetensors"
    first = call(url)
    xet_hash = first.headers["X-Xet-Hash"]
    auth = f"{double.url}/api/models/acme/xet/xet-read-token/{commit}"
    assert f'<{auth}>; rel="xet-auth"' in first.headers["Link"]
    assert f'/v1/reconstructions/{xet_hash}>; rel="xet-reconstruction-info"' in first.headers["Link"]
    token = call(auth)
    assert token.headers["X-Xet-Cas-Url"] == token.json["casUrl"]
    assert call(f"{token.json['casUrl']}/v1/reconstructions/{xet_hash}").status == 401
    info = call(url, headers={"Accept": "application/vnd.xet-fileinfo+json"})
    assert (info.status, info.json["hash"], info.json["size"]) == (200, xet_hash, 100)
    entry = call(f"{double.url}/api/models/acme/xet/tree/main").json[-1]
    assert (entry["xetHash"], entry["lfs"]["size"]) == (xet_hash, 100)
    assert call(first.headers["Location"]).body == b"m" * 100


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "size"),
    [
        ("bytes=0-0", 206, f"bytes 0-0/{len(WEIGHTS)}", 1),
        ("bytes=10-", 206, f"bytes 10-{len(WEIGHTS) - 1}/{len(WEIGHTS)}", len(WEIGHTS) - 10),
        ("bytes=-5", 206, f"bytes {len(WEIGHTS) - 5}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}", 5),
        (f"bytes=7-{10**12}", 206, f"bytes 7-{len(WEIGHTS) - 1}/{len(WEIGHTS)}", len(WEIGHTS) - 7),
        (f"bytes={len(WEIGHTS)}-", 416, f"bytes */{len(WEIGHTS)}", None),
        ("bytes=5-2", 200, None, len(WEIGHTS)),
        ("pages=1-2", 200, None, len(WEIGHTS)),
    ],
)
def test_ranges(
    double: HubDouble, asked: str, status: int, content_range: str | None, size: int | None
) -> None:
    location = call(f"{double.url}/acme/tiny/resolve/main/model.safetensors").headers["Location"]
    got = call(location, headers={"Range": asked})
    assert (got.status, got.headers["Content-Range"]) == (status, content_range)
    if size is not None:
        assert got.headers["Content-Length"] == str(size) == str(len(got.body))
    if status == 206 and content_range:
        start = int(content_range.split()[1].split("-")[0])
        assert got.body == WEIGHTS[start : start + len(got.body)]


def test_conditional_requests(double: HubDouble) -> None:
    url = f"{double.url}/acme/tiny/resolve/main/model.safetensors"
    assert call(url, headers={"If-None-Match": f'"{DIGEST}"'}).status == 304
    assert call(url, headers={"If-None-Match": '"other"'}).status == 302
    info = call(f"{double.url}/api/models/acme/tiny")
    assert (
        call(f"{double.url}/api/models/acme/tiny", headers={"If-None-Match": info.headers["ETag"]}).status
        == 304
    )
    raw = call(f"{double.url}/acme/tiny/raw/main/model.safetensors")
    assert raw.body.startswith(b"version https://git-lfs")
    again = call(
        f"{double.url}/acme/tiny/raw/main/model.safetensors", headers={"If-None-Match": raw.headers["ETag"]}
    )
    assert again.status == 200


def test_text_may_be_compressed_and_ranges_never(double: HubDouble) -> None:
    location = double.url + call(f"{double.url}/acme/tiny/resolve/v1/config.json").headers["Location"]
    packed = call(location, headers={"Accept-Encoding": "gzip, deflate"})
    assert (packed.headers["Content-Encoding"], packed.headers["Transfer-Encoding"]) == ("gzip", "chunked")
    assert packed.headers["ETag"].startswith("W/")
    assert json.loads(gzip.decompress(packed.body))["a"] == "x" * 2000
    ranged = call(location, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-3"})
    assert (ranged.status, ranged.body, ranged.headers["Content-Encoding"]) == (206, b'{"a"', None)
    double.settings.gzip_text = False
    assert "Content-Encoding" not in call(location, headers={"Accept-Encoding": "gzip"}).headers


def test_encoded_and_plain_names_reach_the_same_file(double: HubDouble, tiny: Repo) -> None:
    number = tiny.pull_request()
    for revision in ("main", "feat%2Fx", f"refs%2Fpr%2F{number}", f"refs/pr/{number}"):
        first = call(f"{double.url}/acme/tiny/resolve/{revision}/sub%20dir/a%2Bb.txt")
        assert first.status == 307, revision
        assert call(double.url + first.headers["Location"]).body == b"hi"
    assert call(f"{double.url}/acme%2Ftiny/resolve/main/config.json").status in (400, 401)
    assert call(f"{double.url}/api/models/acme%2Ftiny").status == 400


def test_missing_things_are_coded(double: HubDouble, tiny: Repo) -> None:
    def error(path: str, token: str | None = None) -> tuple[int, str | None]:
        got = call(double.url + path, token=token)
        return got.status, got.headers["X-Error-Code"]

    missing = call(f"{double.url}/acme/tiny/resolve/main/nope")
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert missing.headers["X-Repo-Commit"] == tiny.refs["refs/heads/main"]
    assert error("/acme/tiny/resolve/nope/config.json") == (404, "RevisionNotFound")
    assert error("/acme/tiny/resolve/%0D%0Aodd/config.json") == (404, "RevisionNotFound")
    assert error("/acme/nope/resolve/main/config.json") == (401, None)
    assert error("/acme/nope/resolve/main/config.json", BOB) == (404, "RepoNotFound")
    assert error("/api/models/acme/tiny/tree/main/nope") == (404, "EntryNotFound")
    assert error("/api/models/acme/tiny", "hf_unknown") == (401, None)


def test_gated_and_private(double: HubDouble) -> None:
    double.add_repo("acme/gated", gated="manual").commit({"a.txt": "1"})
    double.add_repo("acme/secret", private=True).commit({"a.txt": "1"})
    gated, secret = (f"{double.url}/acme/{name}/resolve/main/a.txt" for name in ("gated", "secret"))
    seen = [
        (call(gated, token=token).status, call(secret, token=token).status) for token in (None, BOB, CAROL)
    ]
    assert seen == [(401, 401), (403, 404), (307, 307)]
    assert call(gated).headers["X-Error-Code"] == "GatedRepo"
    assert call(f"{double.url}/api/models/acme/gated").json["gated"] == "manual"
    assert call(f"{double.url}/api/models/acme/gated/tree/main").status == 200


def test_names_of_old(double: HubDouble) -> None:
    double.add_repo("gpt2").commit({"a.txt": "1"})
    double.add_repo("google/bert", legacy_id="bert").commit({"a.txt": "1"})
    double.rename("acme/tiny", "new/tiny")
    assert call(f"{double.url}/gpt2/resolve/main/a.txt").status == 307
    assert call(f"{double.url}/api/models/gpt2").json["id"] == "gpt2"
    for old, new in {
        "/bert/resolve/main/a.txt": "/google/bert/resolve/main/a.txt",
        "/api/models/bert?blobs=true": "/api/models/google/bert?blobs=true",
        "/api/models/acme/tiny/refs": "/api/models/new/tiny/refs",
        "/Google/BERT/resolve/main/a.txt": "/google/bert/resolve/main/a.txt",
    }.items():
        got = call(double.url + old)
        assert (got.status, got.headers["Location"]) == (307, new)


def test_signed_urls_expire_by_use_and_by_time(double: HubDouble) -> None:
    def fresh() -> str:
        return call(f"{double.url}/acme/tiny/resolve/main/model.safetensors").headers["Location"]

    with double.failing(ExpireUrls(after_uses=2)):
        location = fresh()
        assert [call(location).status for _ in range(3)] == [200, 200, 403]
        assert call(fresh()).status == 200
    with double.failing(ExpireUrls(after_seconds=0)):
        assert call(fresh()).status == 403
    double.settings.url_ttl_seconds = 0
    assert b"expired" in call(fresh()).body


def test_a_file_on_disk_is_served_in_any_part(double: HubDouble, tmp_path: Path) -> None:
    large = big_file(tmp_path / "large.bin", 5_000_001, seed=7)
    again = big_file(tmp_path / "again.bin", 5_000_001, seed=7)
    data = (tmp_path / "large.bin").read_bytes()
    assert hashlib.sha256(data).hexdigest() == large.sha256 == again.sha256
    double.add_repo("acme/large", "dataset").commit({"large.bin": large})
    location = call(f"{double.url}/datasets/acme/large/resolve/main/large.bin").headers["Location"]
    assert call(location).body == data
    assert call(location, headers={"Range": "bytes=4000000-4999999"}).body == data[4_000_000:5_000_000]
    assert double.meters.bytes_sent(etag=large.sha256) == 6_000_001
