"""ollama, llama.cpp and the Rust clients by the requests they send, in their order and their ways."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support import raw
from support.gateway import Gateway
from support.hub import ADA, FurnishedHub

pytestmark = pytest.mark.clients

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
PART_BYTES = 1_000_000


def pulled_by_ollama(url: str, name: str, tag: str) -> dict[str, bytes]:
    """The layers of a model by media type: manifest, then for each layer a HEAD and parallel ranges."""
    manifest = raw.ask(url, f"/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST})
    assert manifest.status == 200, manifest.body
    told = manifest.json()
    assert told["schemaVersion"] == 2
    digest = f"sha256:{hashlib.sha256(manifest.body).hexdigest()}"
    assert manifest.headers.get("docker-content-digest", digest) == digest
    layers = {}
    for layer in [told["config"], *told["layers"]]:
        target = f"/v2/{name}/blobs/{layer['digest']}"
        head = raw.ask(url, target, "HEAD")
        assert head.status == 200
        assert int(head.headers["content-length"]) == layer["size"]
        with ThreadPoolExecutor(8) as pool:
            starts = range(0, layer["size"], PART_BYTES)
            parts = pool.map(lambda start, at=target: raw.ask(url, at, headers=span(start)), starts)
            data = b"".join(part.body for part in parts)
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer["digest"]
        layers[layer["mediaType"].rpartition(".")[2]] = data
    return layers


def span(start: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-{start + PART_BYTES - 1}"}


@pytest.mark.parametrize(("tag", "path"), [("Q8_0", "tiny-Q8_0.gguf"), ("latest", "tiny-Q4_K_M.gguf")])
def test_ollama_pull(tag: str, path: str, hub: FurnishedHub, gateway: Gateway) -> None:
    layers = pulled_by_ollama(gateway.url, "acme/tiny-GGUF", tag)
    assert layers["model"] == hub.content(hub["acme/tiny-GGUF"], path)
    assert layers["template"]
    before = hub.double.meters.bytes_sent(origin="cdn")
    assert pulled_by_ollama(gateway.url, "acme/tiny-GGUF", tag) == layers
    assert hub.double.meters.bytes_sent(origin="cdn") == before


def test_ollama_refusals(gateway: Gateway) -> None:
    for name, tag in (("acme/tiny-GGUF", "Q2_K"), ("acme/tiny", "latest"), ("acme/sharded-GGUF", "latest")):
        answer = raw.ask(gateway.url, f"/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST})
        assert answer.status == 400
        assert answer.json()["error"]


def test_layers_are_the_files_of_the_repository(hub: FurnishedHub, fresh_gateway: Gateway) -> None:
    """What `hf` fetched is a hit for ollama: the same content is kept once."""
    data = raw.ask(fresh_gateway.url, "/acme/tiny-GGUF/resolve/main/tiny-Q8_0.gguf").body
    before = hub.double.meters.bytes_sent(origin="cdn")
    layers = pulled_by_ollama(fresh_gateway.url, "acme/tiny-GGUF", "Q8_0")
    assert layers["model"] == data
    assert hub.double.meters.bytes_sent(origin="cdn") == before


def test_llama_cpp(hub: FurnishedHub, gateway: Gateway) -> None:
    """`-hf acme/tiny-GGUF:Q4_K_M`: refs, the commit's tree, HEAD, GET, and the second half resumed."""
    url, headers = gateway.url, {"User-Agent": "llama-cpp/b9000", "Authorization": f"Bearer {ADA}"}
    refs = raw.ask(url, "/api/models/acme/tiny-GGUF/refs", headers=headers).json()
    commit = next(branch["targetCommit"] for branch in refs["branches"] if branch["name"] == "main")
    assert len(commit) == 40
    tree = raw.ask(url, f"/api/models/acme/tiny-GGUF/tree/{commit}?recursive=true", headers=headers).json()
    entry: dict[str, Any] = next(one for one in tree if one["path"].endswith("Q4_K_M.gguf"))
    assert len(entry["lfs"]["oid"]) == 64
    target = f"/acme/tiny-GGUF/resolve/{commit}/{entry['path']}"
    head = raw.ask(url, target, "HEAD", headers)
    assert head.status == 200
    assert int(head.headers["content-length"]) == entry["size"]
    assert head.headers["accept-ranges"] == "bytes"
    assert entry["lfs"]["oid"] in head.headers["etag"]
    whole = raw.ask(url, target, headers=headers).body
    half = entry["size"] // 2
    rest = raw.ask(url, target, headers={**headers, "Range": f"bytes={half}-"})
    assert rest.status == 206
    assert whole[half:] == rest.body
    assert hashlib.sha256(whole).hexdigest() == entry["lfs"]["oid"]


def test_older_llama_cpp(hub: FurnishedHub, gateway: Gateway) -> None:
    headers = {"User-Agent": "llama-cpp", "Accept": "application/json"}
    manifest = raw.ask(gateway.url, "/v2/acme/tiny-GGUF/manifests/Q8_0", headers=headers).json()
    name = manifest["ggufFile"]["rfilename"]
    data = raw.ask(gateway.url, f"/acme/tiny-GGUF/resolve/main/{name}", headers=headers).body
    assert data == hub.content(hub["acme/tiny-GGUF"], "tiny-Q8_0.gguf")
    ours = {"User-Agent": "ollama/0.34.3", "Accept": MANIFEST}
    plain = raw.ask(gateway.url, "/v2/acme/tiny-GGUF/manifests/Q8_0", headers=ours).json()
    assert "ggufFile" not in plain


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_rust_services(path: str, hub: FurnishedHub, gateway: Gateway) -> None:
    """text-generation-inference and others: one byte with `Accept-Encoding: gzip`, then ranged pieces."""
    target = f"/acme/tiny/resolve/main/{path}"
    headers = {
        "Range": "bytes=0-0",
        "Accept-Encoding": "gzip",
        "User-Agent": "unkown/None; hf-hub/0.5.0; rust/unknown",
    }
    first = raw.ask(gateway.url, target, headers=headers)
    assert first.status == 206
    assert len(first.headers["x-repo-commit"]) == 40
    assert first.headers["etag"]
    size = int(first.headers["content-range"].rpartition("/")[2])
    whole = hub.content(hub["acme/tiny"], path)
    assert size == len(whole)

    def piece(start: int) -> bytes:
        return raw.ask(gateway.url, target, headers=headers | span(start)).body

    with ThreadPoolExecutor(4) as pool:
        assert b"".join(pool.map(piece, range(0, size, PART_BYTES))) == whole


def test_many_readers_of_one_cold_file(hub: FurnishedHub, fresh_gateway: Gateway) -> None:
    """Whole files, ranges and other clients' ways at once: upstream sends one copy."""
    repo = hub["acme/tiny-GGUF"]
    whole = hub.content(repo, "tiny-Q4_K_M.gguf")
    before = hub.double.meters.bytes_sent(origin="cdn")
    commit = repo.refs["refs/heads/main"]
    targets = [f"/acme/tiny-GGUF/resolve/{revision}/tiny-Q4_K_M.gguf" for revision in ("main", commit)]

    def reads(job: tuple[str, int | None]) -> bool:
        target, start = job
        if start is None:
            return raw.ask(fresh_gateway.url, target).body == whole
        part = raw.ask(fresh_gateway.url, target, headers=span(start))
        return part.body == whole[start : start + PART_BYTES]

    jobs = [(target, start) for target in targets * 4 for start in (None, 0, 1_500_000, 3_999_000)]
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(reads, jobs))
    fetched = hub.double.meters.bytes_sent(origin="cdn") - before
    assert 0.5 < fetched / len(whole) <= 1.01, "its xorbs once, compressed, or the file once"
