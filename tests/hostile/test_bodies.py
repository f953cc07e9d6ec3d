"""Bodies that are too long, too deep, too many, not what they say they are, or never come.

Questions that clients post: paths-info, the LFS batch, the admin API. Whatever is in them is refused with a
code and costs upstream nothing.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.front import Front, is_coded, until
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.wire_talk import WireTalk

pytestmark = pytest.mark.usefixtures("left_well")

PATHS_INFO = "/api/models/acme/tiny/paths-info/main"
BATCH = "/acme/tiny.git/info/lfs/objects/batch"
PINS = "/api/moongate/v1/pins"
JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


def post(front: Front, target: str, body: bytes, **headers: str) -> RawAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(front.url, target, "POST", {**JSON, **named}, body)


NO_JSON = {
    "nothing": b"",
    "half of it": b'{"paths": ["config.json"',
    "no UTF-8": b'{"paths": ["\xff\xfe"]}',
    "UTF-16": '{"paths": ["config.json"]}'.encode("utf-16-be")[:-1],
    "depth of lists": b"[" * 100_000 + b"]" * 100_000,
    "depth of objects": b'{"paths":' * 100_000 + b"1" + b"}" * 100_000,
    "a number as long as a book": b'{"paths": ' + b"9" * 100_000 + b"}",
    "NaN": b'{"paths": NaN}',
    "another shape": b'{"paths": {"a": "b"}}',
    "numbers": b'{"paths": [1, 2, 3]}',
    "null": b"null",
    "a list": b'["config.json"]',
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a page": b"<html></html>",
    "bytes": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("target", [PATHS_INFO, BATCH, PINS])
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_question_is_refused(front: Front, target: str, body: bytes) -> None:
    front.double.meters.reset()
    is_coded(post(front, target, body), 400)
    assert not front.double.meters.requests(method="POST")


def test_a_form_that_is_none_is_refused(front: Front) -> None:
    for body in (b"", b"x=1", b"paths", b"\xff=\xff", b"&" * 100_000, b"paths=%ff", b"a=b&" * 50_000):
        kind = "application/x-www-form-urlencoded"
        is_coded(ask(front.url, PATHS_INFO, "POST", {"Content-Type": kind}, body), 400)


@pytest.mark.parametrize("count", [2_001, 200_000])
def test_too_many_paths_are_refused(front: Front, count: int) -> None:
    paths = [f"f{number}" for number in range(count)]
    front.double.meters.reset()
    is_coded(post(front, PATHS_INFO, json.dumps({"paths": paths}).encode()), 400)
    form = "&".join(f"paths={path}" for path in paths).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    is_coded(ask(front.url, PATHS_INFO, "POST", kind, form), 400)
    assert not front.double.meters.requests(method="POST")


def test_paths_that_cannot_be_are_not_there(front: Front) -> None:
    evil = [
        "../../etc/passwd",
        "/etc/passwd",
        "a\u0000b",
        "..",
        "a\\b",
        "\ud800",
        "dir/../config.json",
        "x\r\ny",
    ]
    answer = post(front, PATHS_INFO, json.dumps({"paths": [*evil, "config.json"]}).encode())
    assert [entry["path"] for entry in answer.json()] == ["config.json"]


def batch(objects: object, operation: object = "download") -> bytes:
    return json.dumps({"operation": operation, "transfers": ["basic"], "objects": objects}).encode()


BATCHES = {
    "no objects": batch([]),
    "objects that are none": batch("all"),
    "an oid that climbs": batch([{"oid": "../../../etc/passwd", "size": 1}]),
    "a short oid": batch([{"oid": "ab", "size": 1}]),
    "an oid in capitals": batch([{"oid": "AB" * 32, "size": 1}]),
    "a negative size": batch([{"oid": "ab" * 32, "size": -1}]),
    "a size beyond all disks": batch([{"oid": "ab" * 32, "size": 1 << 70}]),
    "a fraction": batch([{"oid": "ab" * 32, "size": 1.5}]),
    "a truth": batch([{"oid": "ab" * 32, "size": True}]),
    "too many": batch([{"oid": "ab" * 32, "size": 1}] * 10_000),
    "no such operation": batch([{"oid": "ab" * 32, "size": 1}], "delete"),
    "an operation that is none": batch([{"oid": "ab" * 32, "size": 1}], {"a": 1}),
    "another way to carry": json.dumps(
        {"operation": "download", "transfers": ["evil"], "objects": [{"oid": "ab" * 32, "size": 1}]}
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("body", BATCHES.values(), ids=BATCHES)
def test_absurd_lfs_batches_are_refused(front: Front, body: bytes) -> None:
    front.double.meters.reset()
    answer = post(front, BATCH, body)
    if answer.status == 200:
        assert all("error" in item or item["oid"] == "ab" * 32 for item in answer.json()["objects"])
    else:
        is_coded(answer, 400, 422)
    assert not front.double.meters.requests(method="POST")


@pytest.mark.parametrize(
    ("target", "limit"),
    [(PATHS_INFO, 8 * MIB), (BATCH, MIB), (PINS, MIB)],
    ids=["paths-info", "lfs", "admin"],
)
def test_a_body_that_is_too_long_is_not_read(front: Front, target: str, limit: int) -> None:
    """Neither when it says so, nor when it comes in chunks, nor when it grows as it is unpacked."""
    is_coded(post(front, target, b" " * (limit + 1)), 400, 413)
    bomb = gzip.compress(bytes(64 * MIB), compresslevel=9)
    is_coded(post(front, target, bomb, Content_Encoding="gzip"), 400, 413)
    is_coded(post(front, target, zlib.compress(bytes(64 * MIB)), Content_Encoding="deflate"), 400, 413)
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    with WireTalk(front.port) as talk:
        talk.say(f"{head}Content-Type: application/json\r\n\r\n".encode())
        for _ in range(limit // 65536 + 2):
            talk.say(b"10000\r\n" + b" " * 65536 + b"\r\n")
        is_coded(talk.hear(), 400, 413)
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n"
    with WireTalk(front.port) as talk:
        talk.say(f"{head}Content-Type: application/json\r\n\r\n".encode())
        is_coded(talk.hear(), 400, 413)


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x" * 200, "identity, gzip", ""]
)
def test_a_coding_that_is_a_lie_is_refused(front: Front, coding: str) -> None:
    answer = post(front, PATHS_INFO, b'{"paths": ["config.json"]', Content_Encoding=coding)
    is_coded(answer, 400, 415)


def test_a_packed_question_is_understood(front: Front) -> None:
    body = gzip.compress(b'{"paths": ["config.json"]}')
    answer = post(front, PATHS_INFO, body, Content_Encoding="gzip")
    assert [entry["path"] for entry in answer.json()] == ["config.json"]


@pytest.fixture(scope="module")
def impatient(front: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that waits for nobody longer than a moment."""
    home: Path = tmp_path_factory.mktemp("impatient") / "home"
    quick = {"MOONGATE_CLIENT_TIMEOUT_SECONDS": "0.3"}
    with Gateway(home, front.double.url, cdn=front.double.cdn_netloc, env=quick) as gateway:
        yield gateway


HALF = {
    "nothing": b"",
    "half a line": b"GET /acme/tiny/res",
    "half a head": b"GET /acme/tiny/resolve/main/config.json HTTP/1.1\r\nHost: local",
    "half a question": b"POST /api/models/acme/tiny/paths-info/main HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    "half a chunk": b"POST /acme/tiny.git/info/lfs/objects/batch HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "half a push": b"POST /acme/tiny.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 100\r\n\r\n00",
    "half a body for nobody": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Length: 100\r\n\r\nx",
    "an answer, and no further question": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("words", HALF.values(), ids=HALF)
def test_a_client_that_falls_silent_is_let_go(impatient: Gateway, words: bytes) -> None:
    with WireTalk(impatient.port) as talk:
        talk.say(words)
        while not talk.is_over():
            pass


def test_a_head_that_drips_is_let_go(impatient: Gateway) -> None:
    """Every piece comes in time, the whole never does."""
    with WireTalk(impatient.port) as talk:
        talk.say(b"GET / HTTP/1.1\r\n")
        until(lambda: talk.say(b"X-A: b\r\n").was_closed())
