"""Grants: what clients ask, what addresses permit, and to whom a grant belongs."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from moongate.core.errors import BadRequest, NotAllowed
from moongate.wire.grant_urls import (
    AskedGrant,
    GrantedUpload,
    grant_id,
    is_grant_of,
    read_grant_question,
    read_grant_url,
    write_grant,
)

KEY, XORB = b"k" * 32, "a" * 64
UPLOAD = GrantedUpload(XORB, "word", 250_032, 1824959642959182823, 1_800_000_000)


def asked(length: object = 5, algo: object = "crc64nvme", value: object = "7") -> bytes:
    return json.dumps({"length": length, "checksum": {"algo": algo, "value": value}}).encode()


def test_what_a_client_asks() -> None:
    assert read_grant_question(asked()) == AskedGrant(5, 7)
    assert read_grant_question(asked(algo="sha256", value="Zm9v")) == AskedGrant(5, None)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"1", b"null", b"{}", b'{"length":5}', b'{"length":5,"checksum":"x"}', b"\xff"),
        *(asked(length) for length in (0, -1, "5", True, 1.5, None)),
        *(asked(value=value) for value in (7, "", "-7", "x", str(1 << 64), "7" * 21, None)),
    ],
)
def test_what_makes_no_sense(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_grant_question(body)


def test_an_address_permits_what_it_was_written_for() -> None:
    told = json.loads(write_grant("http://gate/hub", KEY, UPLOAD))
    assert (told["id"], told["method"]) == ("word", "PUT")
    url = urlsplit(told["url"])
    assert url.path == f"/hub/cas/granted/{XORB}/word"
    assert read_grant_url(KEY, XORB, "word", url.query, 1_799_999_999.0) == UPLOAD
    changed = (url.query.replace("250032", "250033"), url.query.replace("c=1", "c=2"), url.query[:-1])
    for query in (*changed, "", url.query + "&more=1"):
        with pytest.raises(NotAllowed):
            read_grant_url(KEY, XORB, "word", query, 0.0)
    for xorb, grant, now in (("b" * 64, "word", 0.0), (XORB, "ward", 0.0), (XORB, "word", 1_800_000_000.0)):
        with pytest.raises(NotAllowed):
            read_grant_url(KEY, xorb, grant, url.query, now)


def test_a_grant_is_for_its_holder() -> None:
    grant = grant_id(KEY, "w0rd", XORB, "token:alice models/acme/tiny")
    assert is_grant_of(KEY, grant, XORB, "token:alice models/acme/tiny")
    assert not is_grant_of(KEY, grant, XORB, "token:bob models/acme/tiny")
    assert not is_grant_of(KEY, grant, "b" * 64, "token:alice models/acme/tiny")
    assert not is_grant_of(KEY, "x" + grant, XORB, "token:alice models/acme/tiny")
    assert not is_grant_of(KEY, grant[-24:], XORB, "token:alice models/acme/tiny")
