"""Uploads through Xet by whoever means no good: each gets a coded refusal, and nothing of it is kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from moongate.xet.hashes import XetHash, hash_hex, parse_hash
from moongate.xet.shard import ShardTerm
from moongate.xet.xorb import encode_chunk
from support.gateway import Gateway
from support.raw import RawAnswer, ask
from support.uploading import otherwise, shard_of, told_file
from support.xet_writing import XetWriter, make_hosted, make_token
from support.xorbs import make_xorb

MINE, THEIRS = "acme/mine", "acme/theirs"
XORBS = [make_xorb(seed, chunks=8) for seed in (11, 12, 13)]
HEX = hash_hex(XORBS[0].hash)
FILE = told_file(XORBS, [(0, 0, 8), (1, 2, 6)])
SHARD = shard_of([FILE], XORBS[:2])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """No upstream is there at all: whatever is asked of it fails."""
    home = tmp_path_factory.mktemp("hosted") / "home"
    with Gateway(home, "http://127.0.0.1:9") as running:
        make_hosted(home, MINE)
        make_hosted(home, THEIRS, private=True, creator="bob")
        yield running


@pytest.fixture(scope="module")
def tokens(gateway: Gateway) -> dict[str, str]:
    users = {name: make_token(gateway.home, name) for name in ("alice", "bob", "mallory")}
    return users | {"reader": make_token(gateway.home, "alice", "read")}


@pytest.fixture
def alice(gateway: Gateway, tokens: dict[str, str]) -> XetWriter:
    return XetWriter(gateway.url, MINE, tokens["alice"]).log_in()


def kept(gateway: Gateway) -> list[str]:
    """All files of the store but locks."""
    store = gateway.home / "store" / "v1"
    return sorted(
        str(path.relative_to(store)) for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


@pytest.fixture(autouse=True)
def nothing_stays(gateway: Gateway) -> Iterator[None]:
    before = kept(gateway)
    yield
    assert kept(gateway) == before
    assert ask(gateway.url, "/healthz").status == 200


def refused(answer: RawAnswer, *statuses: int) -> None:
    assert answer.status in (statuses or (400,)), (answer, answer.body)
    assert answer.headers["x-error-code"] not in ("InternalError", "StoreError")
    assert "Traceback" not in answer.body.decode()


class TestTokens:
    @pytest.mark.parametrize(
        ("repo", "user", "status", "code"),
        [
            (MINE, "reader", 403, "ScopeMissing"),
            (THEIRS, "alice", 404, "RepoNotFound"),
            (THEIRS, "mallory", 404, "RepoNotFound"),
            ("acme/none", "alice", 404, "RepoNotFound"),
            ("datasets/acme/mine", "alice", 404, "RepoNotFound"),
        ],
    )
    @pytest.mark.parametrize(("revision", "query"), [("main", ""), ("None", "?create_pr=1")])
    def test_are_given_to_those_who_may_commit(
        self,
        gateway: Gateway,
        tokens: dict[str, str],
        repo: str,
        user: str,
        status: int,
        code: str,
        revision: str,
        query: str,
    ) -> None:
        answer = XetWriter(gateway.url, repo, tokens[user], revision, query).ask_token()
        assert (answer.status, answer.headers["x-error-code"]) == (status, code)
        assert "x-xet-access-token" not in answer.headers

    def test_of_nobody(self, gateway: Gateway) -> None:
        refused(XetWriter(gateway.url, MINE, "hf_" + "x" * 48).ask_token(), 401)
        refused(XetWriter(gateway.url, MINE, None, "main", "").ask_token("DELETE"), 405)

    @pytest.mark.parametrize(
        "path", [f"/v1/xorbs/default/{HEX}", f"/v1/xorb-grants/default/{HEX}", "/v2/shards"]
    )
    def test_that_are_none(self, gateway: Gateway, alice: XetWriter, path: str) -> None:
        changed = alice.xet_token[:50] + ("B" if alice.xet_token[50] == "A" else "A") + alice.xet_token[51:]
        for text in ("", "xet_", "xet_AAAA", changed, alice.xet_token[:-3], alice.token):
            refused(replace(alice, xet_token=text or "").cas("POST", path, b"x"), 401)

    def test_of_a_user_who_was_sent_away(self, gateway: Gateway) -> None:
        from moongate.store.index import Index
        from moongate.store.layout import Layout

        writer = XetWriter(gateway.url, MINE, make_token(gateway.home, "carol")).log_in()
        with Index(Layout(gateway.home).index_path) as index:
            row = next(row for row in index.tokens() if row.user == "carol")
            index.revoke_token(row.id, 1.0)
        refused(writer.send(XORBS[0]), 401)
        refused(writer.register(SHARD), 401)


class TestXorbs:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"x",
            XORBS[1].data,
            XORBS[0].data[:-1],
            XORBS[0].data + b"more",
            bytes(100_000),
            b"\xff" * 100_000,
            encode_chunk(b"a") * 9000,
            b"\0" + (9).to_bytes(3, "little") + b"\2" + (131072).to_bytes(3, "little") + bytes(9),
            encode_chunk(bytes(131072)) * 600,
        ],
        ids=range(10),
    )
    @pytest.mark.parametrize("spelling", ["/v1/xorbs/default", "/xorb/default-merkledb"])
    def test_that_are_none(self, alice: XetWriter, data: bytes, spelling: str) -> None:
        refused(alice.send(XORBS[0], data, spelling))

    @pytest.mark.parametrize(
        "name", ["a", "a" * 63, "A" * 64, "g" * 64, "a" * 65, "%2e%2e", "..", "a" * 64 + "%00"]
    )
    def test_of_no_name(self, alice: XetWriter, name: str) -> None:
        for method, path in (
            ("POST", "xorbs"),
            ("HEAD", "xorbs"),
            ("GET", "chunks"),
            ("POST", "xorb-grants"),
        ):
            refused(alice.cas(method, f"/v1/{path}/default/{name}", b"x" * (method == "POST")), 400, 404, 405)

    def test_longer_than_any(self, gateway: Gateway, alice: XetWriter) -> None:
        """Said by the length alone; the bytes are not waited for."""
        place = urlsplit(alice.cas_url)
        head = (
            f"POST {place.path}/v1/xorbs/default/{HEX} HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Authorization: Bearer {alice.xet_token}\r\nContent-Length: {1 << 40}\r\n\r\n"
        )
        with socket.create_connection((place.hostname or "", place.port or 0), 20) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")

    def test_that_break_off(self, gateway: Gateway, alice: XetWriter) -> None:
        place = urlsplit(alice.cas_url)
        head = (
            f"POST {place.path}/v1/xorbs/default/{HEX} HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Authorization: Bearer {alice.xet_token}\r\nContent-Length: 100000\r\n\r\n"
        )
        with socket.create_connection((place.hostname or "", place.port or 0), 20) as connection:
            connection.sendall(head.encode() + bytes(50_000))
            while not any("incoming" in path for path in kept(gateway)):
                ask(gateway.url, "/healthz")
        while any("incoming" in path for path in kept(gateway)):
            ask(gateway.url, "/healthz")

    def test_that_come_compressed(self, alice: XetWriter) -> None:
        refused(alice.cas("POST", f"/v1/xorbs/default/{HEX}", b"x", {"Content-Encoding": "gzip"}))


class TestGrants:
    @pytest.mark.parametrize(
        "other",
        [
            {"length": 0},
            {"length": 1 << 40},
            {"length": "5"},
            {"checksum": None},
            {"checksum": {"algo": "crc64nvme", "value": "x"}},
            {"checksum": {"algo": "crc64nvme"}},
        ],
        ids=str,
    )
    def test_that_make_no_sense(self, alice: XetWriter, other: dict[str, object]) -> None:
        refused(alice.grant(XORBS[0].hash, XORBS[0].data, **other))

    def test_for_an_unknown_checksum_there_are_none(self, alice: XetWriter) -> None:
        answer = alice.grant(XORBS[0].hash, XORBS[0].data, checksum={"algo": "md5", "value": "x"})
        refused(answer, 404)

    def test_other_bytes_than_were_spoken_of(self, alice: XetWriter) -> None:
        granted = alice.grant(XORBS[0].hash, XORBS[0].data)
        assert granted.status == 201
        data = XORBS[0].data
        for sent in (b"", data[:-1], data + b"x", data[:-1] + b"x", XORBS[1].data):
            refused(alice.put(granted, sent))
        refused(alice.put(granted, data, "POST"), 405)
        refused(alice.commit(XORBS[0].hash, granted), 404)

    def test_the_right_checksum_of_another_xorb(self, alice: XetWriter) -> None:
        granted = alice.grant(XORBS[0].hash, XORBS[1].data)
        refused(alice.put(granted, XORBS[1].data))
        refused(alice.commit(XORBS[0].hash, granted), 404)

    def test_addresses_that_were_changed(self, gateway: Gateway, alice: XetWriter) -> None:
        url = urlsplit(alice.grant(XORBS[0].hash, XORBS[0].data).json()["url"])
        origin, data = f"{url.scheme}://{url.netloc}", XORBS[0].data
        for target in (
            f"{url.path}?{url.query[:-1]}",
            f"{url.path}?{url.query.replace('n=', 'n=1')}",
            f"{url.path.replace(HEX, hash_hex(XORBS[1].hash))}?{url.query}",
            f"{url.path}x?{url.query}",
            url.path,
        ):
            refused(ask(origin, target, "PUT", {}, data), 403)


class TestShards:
    @pytest.mark.parametrize("spelling", ["/v2/shards", "/v1/shards", "/shards", f"/shard/default/{HEX}"])
    @pytest.mark.parametrize(
        "shard",
        [
            b"",
            b"x",
            bytes(48),
            SHARD[:47],
            SHARD[:48],
            SHARD[:100],
            SHARD[:-48],
            SHARD[:40] + b"\xff" * 8 + SHARD[48:200],
            SHARD[:32] + b"\3" + SHARD[33:],
            SHARD[: 48 + 36] + b"\xff\xff\xff\xff" + SHARD[48 + 40 :],
            b"\xff" * 500,
        ],
        ids=range(11),
    )
    def test_that_are_none(self, alice: XetWriter, shard: bytes, spelling: str) -> None:
        refused(alice.register(shard, spelling))

    @pytest.mark.parametrize("spelling", ["/v2/shards", "/v1/shards"])
    @pytest.mark.parametrize(
        "file",
        [
            FILE,
            otherwise(FILE, terms=(), verification=()),
            otherwise(FILE, terms=(ShardTerm(XetHash(bytes(32)), 0, 0, 1),), verification=()),
            otherwise(FILE, terms=(ShardTerm(XORBS[0].hash, 1 << 31, 0, 1 << 31),) * 2000, verification=()),
            otherwise(FILE, sha256="00" * 32),
        ],
        ids=range(5),
    )
    def test_of_xorbs_that_nobody_sent(self, alice: XetWriter, file: object, spelling: str) -> None:
        refused(alice.register(shard_of([file]), spelling))  # type: ignore[list-item]

    def test_longer_than_any(self, alice: XetWriter) -> None:
        refused(alice.register(bytes((128 << 20) + 1)))


class TestOthers:
    """What one writer brought, another one neither names nor hears of."""

    def test_nothing_is_had_by_knowing_its_name(
        self, gateway: Gateway, tokens: dict[str, str], alice: XetWriter
    ) -> None:
        bob = XetWriter(gateway.url, THEIRS, tokens["bob"]).log_in()
        for xorb in XORBS[:2]:
            assert bob.send(xorb).json() == {"was_inserted": True}
        assert bob.register(SHARD).json() == {"result": 1}
        before = kept(gateway)
        refused(alice.register(SHARD))
        refused(alice.register(SHARD, "/v2/shards"))
        assert alice.grant(XORBS[0].hash, XORBS[0].data).status == 201, "it is not told that it is here"
        refused(alice.cas("HEAD", f"/v1/xorbs/default/{HEX}"), 404)
        refused(alice.cas("GET", f"/v1/chunks/default/{hash_hex(XORBS[0].leaves[0][0])}"), 404)
        refused(alice.cas("GET", f"/v1/reconstructions/{hash_hex(FILE.file_hash)}"), 404)
        refused(alice.cas("HEAD", f"/v1/files/{hash_hex(FILE.file_hash)}"), 404)
        refused(alice.cas("GET", f"/data/{HEX}/{hash_hex(FILE.file_hash)}", b"", {"Range": "bytes=0-9"}), 403)
        granted = bob.grant(XORBS[2].hash, XORBS[2].data)
        assert alice.put(granted, XORBS[2].data).status == 200, "the address is the permission"
        refused(alice.commit(XORBS[2].hash, granted), 404)
        assert bob.commit(XORBS[2].hash, granted).status == 200
        assert kept(gateway) != before
        for path in set(kept(gateway)):
            if path.startswith("xorbs/"):
                (gateway.home / "store" / "v1" / path).unlink()

    def test_two_writers_have_two_addresses(
        self, gateway: Gateway, tokens: dict[str, str], alice: XetWriter
    ) -> None:
        """So that what one of them told a shared client is not taken for the other's."""
        mallory = XetWriter(gateway.url, MINE, tokens["mallory"]).log_in()
        assert mallory.cas_url != alice.cas_url
        assert XetWriter(gateway.url, MINE, tokens["alice"]).log_in().cas_url == alice.cas_url


def test_a_token_says_the_same_in_headers_and_json(alice: XetWriter) -> None:
    for revision, query in (("main", ""), ("refs%2Fpr%2F3", ""), ("None", "?create_pr=1")):
        answer = replace(alice, revision=revision, query=query).ask_token()
        told = json.loads(answer.body)
        assert answer.headers["x-xet-cas-url"] == told["casUrl"] == alice.cas_url
        assert answer.headers["x-xet-access-token"] == told["accessToken"]
        assert answer.headers["x-xet-token-expiration"] == str(told["exp"])
        assert answer.headers["cache-control"] == "no-store"


def test_addresses_know_no_secret(gateway: Gateway, alice: XetWriter, tokens: dict[str, str]) -> None:
    log = Path(gateway.log_path).read_text()
    assert alice.xet_token not in log
    assert tokens["alice"] not in log
    assert parse_hash(HEX) == XORBS[0].hash
