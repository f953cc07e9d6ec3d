"""curl, wget and aria2 through the gateway: whole files, parts, interrupted downloads, many connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import run_client
from support.gateway import Gateway
from support.hub import ADA, FurnishedHub

pytestmark = pytest.mark.clients

LARGE = "acme/tiny-GGUF/resolve/main/tiny-Q8_0.gguf"


@pytest.fixture
def large(hub: FurnishedHub) -> bytes:
    return hub.content(hub["acme/tiny-GGUF"], "tiny-Q8_0.gguf")


@pytest.fixture
def curl(program: Callable[[str], Path], gateway: Gateway, tmp_path: Path) -> Callable[..., bytes]:
    def run(path: str, *options: str, check: bool = True) -> bytes:
        command = [program("curl"), "-sS", "--fail", "-L", *options, "-o", "out", f"{gateway.url}/{path}"]
        run_client(command, home=tmp_path, endpoint=gateway.url, check=check)
        return (tmp_path / "out").read_bytes()

    return run


def test_curl_whole_and_parts(curl: Callable[..., bytes], large: bytes) -> None:
    assert curl(LARGE, "-r", "100-199") == large[100:200]
    assert curl(LARGE, "-r", "-777") == large[-777:]
    assert curl(LARGE, "-r", "5000000-") == large[5_000_000:]
    assert curl(LARGE) == large
    assert curl(LARGE, "-r", "3000000-3000999") == large[3_000_000:3_001_000]
    assert curl(LARGE, "--compressed") == large
    assert curl("acme/tiny/resolve/main/config.json", "--compressed").startswith(b'{"version": 2}')


def test_curl_several_parts_in_one_answer(curl: Callable[..., bytes], large: bytes) -> None:
    body = curl(LARGE, "-r", "0-99,2000000-2000099,-50")
    for part in (large[:100], large[2_000_000:2_000_100], large[-50:]):
        assert part in body
    assert body.count(b"Content-Range: bytes ") == 3


def test_curl_resumes(curl: Callable[..., bytes], large: bytes, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(large[:1_234_567])
    assert curl(LARGE, "-C", "-") == large


def test_curl_with_names_and_tokens(curl: Callable[..., bytes], hub: FurnishedHub) -> None:
    name = "sub dir/größe + 100%.bin"
    told = curl("acme/Odd_Names.v1-2/resolve/main/sub%20dir/gr%C3%B6%C3%9Fe%20%2B%20100%25.bin")
    assert told == hub.content(hub["acme/Odd_Names.v1-2"], name)
    secret = hub.content(hub["acme/private"], "model.safetensors")
    private = "acme/private/resolve/main/model.safetensors"
    assert curl(private, "-H", f"Authorization: Bearer {ADA}") == secret
    assert curl(private, "-u", f"ada:{ADA}") == secret


def test_wget_resumes(program: Callable[[str], Path], gateway: Gateway, large: bytes, tmp_path: Path) -> None:
    (tmp_path / "tiny-Q8_0.gguf").write_bytes(large[:4_000_000])
    run_client([program("wget"), "-q", "-c", f"{gateway.url}/{LARGE}"], home=tmp_path, endpoint=gateway.url)
    assert (tmp_path / "tiny-Q8_0.gguf").read_bytes() == large


def test_aria2_with_eight_connections(
    program: Callable[[str], Path], hub: FurnishedHub, fresh_gateway: Gateway, minilm: Path, tmp_path: Path
) -> None:
    """Eight ranges of a cold file at once cost upstream one copy of it."""
    url = f"{fresh_gateway.url}/acme/minilm/resolve/main/model.safetensors"
    weights = minilm / "model.safetensors"
    before = hub.double.meters.bytes_sent(origin="cdn")
    run_client(
        [program("aria2c"), "-q", "-x8", "-s8", "-k1M", "--file-allocation=none", "-o", "w", url],
        home=tmp_path / "client",
        endpoint=fresh_gateway.url,
    )
    assert (tmp_path / "client" / "w").read_bytes() == weights.read_bytes()
    fetched = hub.double.meters.bytes_sent(origin="cdn") - before
    assert 0.5 < fetched / weights.stat().st_size <= 1.01, "its xorbs once, compressed, or the file once"
