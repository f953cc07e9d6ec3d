from __future__ import annotations

import json

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, UpstreamBroken
from moongate.wire.lfs import (
    DownloadAction,
    LfsPointed,
    batch_answer,
    batch_request,
    pointer_text,
    read_batch_answer,
    read_batch_request,
    read_pointer,
)

HERE = LfsPointed(Etag("a" * 64), 5)
ABSENT = LfsPointed(Etag("b" * 64), 6)


def test_a_pointer_is_what_git_lfs_writes() -> None:
    text = pointer_text(HERE.oid, HERE.size_bytes)
    assert text == b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 5\n"
    assert read_pointer(text) == HERE
    assert read_pointer(b"{}") is None
    assert read_pointer(text + b"x" * 2000) is None


def test_our_question_reads_back() -> None:
    asked = read_batch_request(batch_request([HERE, ABSENT]))
    assert (asked.operation, asked.objects, asked.transfers) == ("download", (HERE, ABSENT), ("basic",))


def test_our_answer_reads_back_with_what_is_here() -> None:
    body = batch_answer([HERE, ABSENT], {HERE.oid: "http://gate/x"}, header={"Authorization": "Basic eA=="})
    assert read_batch_answer(body) == {
        HERE.oid: DownloadAction("http://gate/x", (("Authorization", "Basic eA=="),))
    }
    assert json.loads(body)["objects"][1]["error"]["code"] == 404


def changed(**change: object) -> bytes:
    return json.dumps({**json.loads(batch_request([HERE])), **change}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        changed(operation="delete"),
        changed(objects=None),
        changed(objects=[1]),
        changed(objects=[{"oid": "x", "size": 1}]),
        changed(objects=[{"oid": "a" * 40, "size": 1}]),
        changed(objects=[{"oid": "a" * 64, "size": -1}]),
        changed(objects=[{"oid": "a" * 64, "size": 1.5}]),
        changed(objects=[{"oid": "a" * 64, "size": 1}] * 1001),
        changed(hash_algo="md5"),
    ],
)
def test_batches_that_make_no_sense(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_batch_request(body)


def test_the_javascript_spelling_of_the_hash_is_taken() -> None:
    assert read_batch_request(changed(hash_algo="sha_256")).objects == (HERE,)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"objects": 1}', b'{"objects": [], "transfer": "xet"}']
)
def test_upstream_answers_that_make_no_sense(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        read_batch_answer(body)


def test_upstream_headers_that_would_break_a_request_are_dropped() -> None:
    action = {"href": "http://cdn/x", "header": {"X-Good": "1", "X-Evil": "a\r\nb", "X-Odd": 3}}
    body = json.dumps({"objects": [{"oid": "a" * 64, "actions": {"download": action}}, 5, {}]}).encode()
    assert read_batch_answer(body) == {HERE.oid: DownloadAction("http://cdn/x", (("X-Good", "1"),))}
