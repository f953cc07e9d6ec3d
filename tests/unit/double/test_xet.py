"""The double's CAS on the wire: tokens, reconstructions, data URLs, uploads, and what can go wrong there."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.double import (
    FlipByte,
    HubDouble,
    LfsFile,
    LieAboutTerms,
    Match,
    Settings,
    XetFile,
)
from moongate.xet.chunker import chunk_lengths
from moongate.xet.decoding import decode_chunk, verify_xorb
from moongate.xet.hashes import XetHash, chunk_hash, file_hash, hash_hex, term_hash, xorb_hash
from moongate.xet.reconstruction import Reconstruction, read_reconstruction
from moongate.xet.shard import Shard, ShardFile, ShardTerm, ShardXorb, read_shard, write_shard
from moongate.xet.xorb import encode_chunk, footer, layout_of, read_headers
from unit.double.plain import ALICE, BOB, CAROL, Answer, call

MIB = 1 << 20
BASE = random.Random(1).randbytes(3 * MIB)
TUNED = BASE[:MIB] + b"tuned" + BASE[MIB + 5 :]
SPELLINGS = ("v2/reconstructions", "v1/reconstructions", "reconstructions", "reconstruction")


@pytest.fixture
def xet(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble(tmp_path / "state", settings=Settings(new_repos_xet=True))
    double.add_user("alice", ALICE, orgs=["acme"])
    double.add_user("bob", BOB)
    double.add_user("carol", CAROL, grants=["acme/gated"])
    double.add_repo("acme/base", xet=True).commit(
        {"m.bin": LfsFile(BASE), "b.txt": "small", "e.bin": LfsFile(b"")}
    )
    double.add_repo("acme/tuned", xet=True).commit({"m.bin": LfsFile(TUNED)})
    double.add_repo("acme/gated", xet=True, gated=True).commit({"m.bin": LfsFile(b"secret" * 9)})
    with double.running():
        yield double


def token(double: HubDouble, repo: str = "acme/base", kind: str = "read", user: str | None = None) -> str:
    answer = call(f"{double.url}/api/models/{repo}/xet-{kind}-token/main", token=user)
    assert answer.status == 200, answer.body
    return answer.json["accessToken"]


def tuned_file(double: HubDouble) -> XetFile:
    """The tuned file, packed after its base: the order decides who refers to whom."""
    double.xet_file("acme/base", "m.bin")
    return double.xet_file("acme/tuned", "m.bin")


def ask(
    double: HubDouble,
    file: XetFile,
    span: str | None = None,
    spelling: str = SPELLINGS[0],
    repo: str = "acme/base",
) -> Answer:
    headers = {"Range": span} if span else {}
    return call(f"{double.cas_url}/{spelling}/{file.id}", headers=headers, token=token(double, repo))


def rebuilt(answer: Reconstruction) -> bytes:
    """The bytes a client makes of a reconstruction, the first term's offset dropped."""
    pieces = []
    for term in answer.terms:
        fetch = answer.fetch_of(term)
        body = call(fetch.url, headers={"Range": fetch.span.range_header()})
        assert (body.status, len(body.body)) == (206, fetch.span.length)
        data = memoryview(body.body)
        chunks = [decode_chunk(data, one) for one in read_headers(data)]
        piece = b"".join(chunks[term.start - fetch.start : term.end - fetch.start])
        assert len(piece) == term.unpacked_bytes
        pieces.append(piece)
    return b"".join(pieces)[answer.offset_bytes :]


# Tokens


def test_a_token_comes_in_headers_and_json(xet: HubDouble) -> None:
    answer = call(f"{xet.url}/api/models/acme/base/xet-read-token/main")
    told = answer.json
    assert told["casUrl"] == answer.headers["X-Xet-Cas-Url"] == xet.cas_url
    assert told["accessToken"] == answer.headers["X-Xet-Access-Token"]
    assert str(told["exp"]) == answer.headers["X-Xet-Token-Expiration"]


def test_who_may_not_read_gets_no_token(xet: HubDouble) -> None:
    url = f"{xet.url}/api/models/acme/gated/xet-read-token/main"
    assert (call(url).status, call(url, token=BOB).status, call(url, token=CAROL).status) == (401, 403, 200)
    write = f"{xet.url}/api/models/acme/base/xet-write-token/main"
    assert (call(write).status, call(write, token=BOB).status, call(write, token=ALICE).status) == (
        401,
        403,
        200,
    )
    assert call(f"{write}?create_pr=1", token=BOB).status == 200


def test_a_token_opens_its_own_repository_only(xet: HubDouble) -> None:
    base, tuned = xet.xet_file("acme/base", "m.bin"), xet.xet_file("acme/tuned", "m.bin")
    assert ask(xet, base).status == 200
    assert ask(xet, tuned).status == 404
    assert ask(xet, tuned, repo="acme/tuned").status == 200
    assert call(f"{xet.cas_url}/v2/reconstructions/{base.id}").status == 401
    assert call(f"{xet.cas_url}/v2/reconstructions/{base.id}", token="xet_made-up").status == 401


def test_an_expired_token_is_refused(xet: HubDouble) -> None:
    xet.settings.xet_token_seconds = 0
    assert ask(xet, xet.xet_file("acme/base", "m.bin")).status == 401


def test_a_read_token_may_not_upload(xet: HubDouble) -> None:
    assert call(f"{xet.cas_url}/v1/shards", "POST", body=b"x", token=token(xet)).status == 403


# Files and reconstructions


def test_a_file_says_its_true_id(xet: HubDouble) -> None:
    at, leaves = 0, []
    for length in chunk_lengths(BASE):
        leaves.append((chunk_hash(BASE[at : at + length]), length))
        at += length
    expected = hash_hex(file_hash(leaves))
    head = call(f"{xet.url}/acme/base/resolve/main/m.bin", "HEAD")
    entries = call(f"{xet.url}/api/models/acme/base/tree/main").json
    assert head.headers["X-Xet-Hash"] == expected == xet.xet_file("acme/base", "m.bin").id
    assert {e["path"]: e.get("xetHash") for e in entries if e["path"].endswith(".bin")} == {
        "m.bin": expected,
        "e.bin": None,
    }


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("span", "start", "end"),
    [(None, 0, 3 * MIB), ("bytes=0-99", 0, 100), ("bytes=1500000-1999999", 1_500_000, 2_000_000),
     ("bytes=3145000-1073741823", 3_145_000, 3 * MIB)],
    ids=["whole", "head", "middle", "past the end"],
)  # fmt: skip
def test_a_reconstruction_makes_the_range(
    xet: HubDouble, spelling: str, span: str | None, start: int, end: int
) -> None:
    answer = ask(xet, tuned_file(xet), span, spelling, repo="acme/tuned")
    assert answer.status == 200
    assert ("xorbs" in answer.json) == spelling.startswith("v2")
    assert rebuilt(read_reconstruction(answer.json))[: end - start] == TUNED[start:end]


def test_a_range_past_the_end_is_not_satisfiable(xet: HubDouble) -> None:
    answer = ask(xet, xet.xet_file("acme/base", "m.bin"), f"bytes={3 * MIB}-{4 * MIB}")
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{3 * MIB}")


def test_a_tuned_file_refers_to_the_xorb_of_its_base(xet: HubDouble) -> None:
    base, tuned = xet.xet_file("acme/base", "m.bin"), xet.xet_file("acme/tuned", "m.bin")
    assert len({term.xorb for term in base.terms}) == 1
    assert tuned.terms[0].xorb == tuned.terms[-1].xorb == base.terms[0].xorb
    own = sum(term.unpacked_bytes for term in tuned.terms if term.xorb != base.terms[0].xorb)
    assert 0 < own <= 2 * 131072


def test_several_files_at_once(xet: HubDouble) -> None:
    file, held = xet.xet_file("acme/base", "m.bin"), token(xet)
    body = json.dumps([{"prefix": "default", "hash": file.id}]).encode()
    for answer in (
        call(f"{xet.cas_url}/v1/reconstructions", "POST", body=body, token=held),
        call(f"{xet.cas_url}/reconstructions?file_id={file.id}", token=held),
    ):
        told = {"offset_into_first_range": 0, "terms": answer.json["files"][file.id]}
        assert rebuilt(read_reconstruction(told | {"fetch_info": answer.json["fetch_info"]})) == BASE


def test_lengths_by_head(xet: HubDouble) -> None:
    file, held = xet.xet_file("acme/base", "m.bin"), token(xet)
    xorb = xet.world.xet.xorbs.get(file.terms[0].xorb)
    assert xorb is not None
    found = call(f"{xet.cas_url}/v1/xorbs/default/{hash_hex(xorb.hash)}", "HEAD", token=held)
    assert found.headers["Content-Length"] == str(xorb.content.path.stat().st_size)
    assert call(f"{xet.cas_url}/v1/files/{file.id}", "HEAD", token=held).headers["Content-Length"] == str(
        3 * MIB
    )
    assert call(f"{xet.cas_url}/v1/xorbs/default/{'0' * 64}", "HEAD", token=held).status == 404
    assert call(f"{xet.cas_url}/v1/telemetry", "POST", body=b"{}").status == 200


# Data URLs


def fetched(double: HubDouble) -> tuple[Reconstruction, str]:
    answer = read_reconstruction(ask(double, double.xet_file("acme/base", "m.bin")).json)
    return answer, answer.fetch_of(answer.terms[0]).url


def test_a_url_is_good_for_its_ranges_only(xet: HubDouble) -> None:
    file = tuned_file(xet)
    told = read_reconstruction(ask(xet, file, spelling=SPELLINGS[1], repo="acme/tuned").json)
    fetch = told.fetch_of(file.terms[-1])
    span, url = fetch.span, fetch.url
    assert span.start > 0
    assert call(url, headers={"Range": span.range_header()}).status == 206
    assert call(url, headers={"Range": f"bytes={span.start}-{span.start + 9}"}).status == 206
    assert call(url, headers={"Range": f"bytes={span.start - 1}-{span.start + 9}"}).status == 403
    assert call(url).status == 403
    wider = url.replace(f"%3D{span.start}-", "%3D0-")
    assert wider != url
    assert call(wider, headers={"Range": "bytes=0-9"}).status == 403
    assert call(url, headers={"Range": span.range_header()}, token=ALICE).status == 400


def test_urls_expire(xet: HubDouble) -> None:
    xet.settings.url_ttl_seconds = 0
    _, url = fetched(xet)
    assert call(url, headers={"Range": "bytes=0-9"}).status == 403


def test_several_ranges_in_one_request(xet: HubDouble) -> None:
    file = tuned_file(xet)
    answer = read_reconstruction(ask(xet, file, repo="acme/tuned").json)
    spans = [fetch.span for fetch in answer.fetches[file.terms[0].xorb]]
    assert len(spans) == 2
    url = answer.fetches[file.terms[0].xorb][0].url
    header = "bytes=" + ", ".join(f"{span.start}-{span.end - 1}" for span in spans)
    got = call(url, headers={"Range": header})
    assert got.status == 206
    boundary = got.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = got.body.split(b"--" + boundary)[1:-1]
    bodies = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
    assert bodies == [call(url, headers={"Range": span.range_header()}).body for span in spans]


def test_bytes_are_metered_by_xorb(xet: HubDouble) -> None:
    answer, url = fetched(xet)
    span = answer.fetch_of(answer.terms[0]).span
    call(url, headers={"Range": span.range_header()})
    assert xet.meters.bytes_sent(xorb=hash_hex(answer.terms[0].xorb)) == span.length


# Faults


def test_a_flipped_byte_in_a_xorb(xet: HubDouble) -> None:
    answer, url = fetched(xet)
    span, xorb = answer.fetch_of(answer.terms[0]).span, answer.terms[0].xorb
    with xet.failing(FlipByte(5000, match=Match(origin="cdn", path="/xorbs/*"))):
        bad = call(url, headers={"Range": span.range_header()}).body
    good = call(url, headers={"Range": span.range_header()}).body
    assert [at for at, (one, other) in enumerate(zip(bad, good, strict=True)) if one != other] == [5000]
    assert verify_xorb(memoryview(good), xorb)


@pytest.mark.parametrize("how", ["order", "repeat", "drop", "chunks", "length", "spans"])
@pytest.mark.parametrize("spelling", SPELLINGS[:2])
def test_lies_about_terms(xet: HubDouble, how: str, spelling: str) -> None:
    file = tuned_file(xet)
    honest = ask(xet, file, spelling=spelling, repo="acme/tuned").json
    with xet.failing(LieAboutTerms(how, match=Match(origin="cas"))):
        lie = ask(xet, file, spelling=spelling, repo="acme/tuned").json
    said = [one["terms"] if how != "spans" else _spans(one) for one in (honest, lie)]
    assert said[0] != said[1]


def _spans(told: dict) -> list[object]:
    entries = [one for several in (told.get("xorbs") or told["fetch_info"]).values() for one in several]
    return [
        one["bytes"] if "bytes" in one else one["url_range"] for e in entries for one in e.get("ranges", [e])
    ]


def test_the_cas_can_be_away(xet: HubDouble) -> None:
    file, held = xet.xet_file("acme/base", "m.bin"), token(xet)
    with xet.away("cas"):
        assert call(f"{xet.url}/acme/base/resolve/main/m.bin", "HEAD").status == 302
        with pytest.raises(OSError):
            call(f"{xet.cas_url}/v2/reconstructions/{file.id}", token=held)
    assert call(f"{xet.cas_url}/v2/reconstructions/{file.id}", token=held).status == 200


# Uploads


class Upload:
    """A file ready to be uploaded in one xorb."""

    def __init__(self, data: bytes) -> None:
        self.data, at, chunks = data, 0, []
        for length in chunk_lengths(data):
            chunks.append(data[at : at + length])
            at += length
        self.leaves = tuple((chunk_hash(chunk), len(chunk)) for chunk in chunks)
        self.body = b"".join(encode_chunk(chunk) for chunk in chunks)
        self.xorb = xorb_hash(self.leaves)
        self.sha256 = hashlib.sha256(data).hexdigest()

    def shard(self, **changed: object) -> bytes:
        term = ShardTerm(self.xorb, len(self.data), 0, len(self.leaves))
        told = {
            "file_hash": file_hash(self.leaves),
            "terms": (term,),
            "verification": (term_hash(chunk for chunk, _ in self.leaves),),
            "sha256": self.sha256,
        }
        return write_shard(Shard((ShardFile(**(told | changed)),), (ShardXorb(self.xorb, self.leaves),)))

    def with_footer(self) -> bytes:
        return self.body + footer(self.xorb, self.leaves, layout_of(read_headers(memoryview(self.body))))

    def send(self, double: HubDouble, route: str = "v1/xorbs", *, footer: bool = False) -> Answer:
        url = f"{double.cas_url}/{route}/default/{hash_hex(self.xorb)}"
        body = self.with_footer() if footer else self.body
        return call(url, "POST", body=body, token=token(double, kind="write", user=ALICE))


@pytest.fixture
def upload() -> Upload:
    return Upload(random.Random(5).randbytes(400_000))


def commit(double: HubDouble, upload: Upload) -> int:
    lines = [
        {"key": "header", "value": {"summary": "up"}},
        {
            "key": "lfsFile",
            "value": {"path": "up.bin", "algo": "sha256", "oid": upload.sha256, "size": len(upload.data)},
        },
    ]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    return call(f"{double.url}/api/models/acme/base/commit/main", "POST", body=body, token=ALICE).status


@pytest.mark.parametrize(
    ("xorbs", "shards"),
    [("v1/xorbs", "v2/shards"), ("v1/xorbs", "v1/shards"), ("xorbs", "shards"), ("xorb", "shard/default/x")],
)
def test_an_upload_by_every_spelling(xet: HubDouble, upload: Upload, xorbs: str, shards: str) -> None:
    held = token(xet, kind="write", user=ALICE)
    assert commit(xet, upload) == 400
    assert upload.send(xet, xorbs, footer=xorbs == "xorb").json == {"was_inserted": True}
    assert upload.send(xet, xorbs).json == {"was_inserted": False}
    for expected in (1, 0):
        answer = call(f"{xet.cas_url}/{shards}", "POST", body=upload.shard(), token=held)
        assert json.loads(answer.body.splitlines()[-1])["result"] == expected
    assert commit(xet, upload) == 200
    file = xet.xet_file("acme/base", "up.bin")
    assert file.id == hash_hex(file_hash(upload.leaves))
    assert rebuilt(read_reconstruction(ask(xet, file).json)) == upload.data
    location = call(f"{xet.url}/acme/base/resolve/main/up.bin").headers["Location"]
    assert call(location).body == upload.data


def test_a_xorb_that_is_another_is_refused(xet: HubDouble, upload: Upload) -> None:
    upload.body = upload.body[:100] + bytes([upload.body[100] ^ 1]) + upload.body[101:]
    assert upload.send(xet).status == 400
    assert xet.world.xet.xorbs.get(upload.xorb) is None


@pytest.mark.parametrize(
    "lie",
    [
        {"file_hash": XetHash(b"1" * 32)},
        {"verification": (XetHash(b"2" * 32),)},
        {"sha256": "3" * 64},
        {"terms": (ShardTerm(XetHash(b"4" * 32), 400_000, 0, 1),)},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_a_shard_that_lies_is_refused(xet: HubDouble, upload: Upload, lie: dict[str, object]) -> None:
    held = token(xet, kind="write", user=ALICE)
    before_xorb = call(f"{xet.cas_url}/v1/shards", "POST", body=upload.shard(), token=held)
    assert before_xorb.status == 400
    upload.send(xet)
    assert call(f"{xet.cas_url}/v1/shards", "POST", body=upload.shard(**lie), token=held).status == 400
    streamed = call(f"{xet.cas_url}/v2/shards", "POST", body=upload.shard(**lie), token=held)
    assert json.loads(streamed.body.splitlines()[-1])["type"] == "error"
    assert commit(xet, upload) == 400


def test_wrong_lengths_in_a_shard_are_refused(xet: HubDouble, upload: Upload) -> None:
    held = token(xet, kind="write", user=ALICE)
    upload.send(xet)
    count = len(upload.leaves)
    for term in (
        ShardTerm(upload.xorb, 400_001, 0, count),
        ShardTerm(upload.xorb, 400_000, 0, count + 1),
        ShardTerm(upload.xorb, 400_000, 1, count),
    ):
        answer = call(f"{xet.cas_url}/v1/shards", "POST", body=upload.shard(terms=(term,)), token=held)
        assert answer.status == 400
    assert call(f"{xet.cas_url}/v1/shards", "POST", body=b"no shard", token=held).status == 400


def test_a_dedup_query(xet: HubDouble) -> None:
    file, held = xet.xet_file("acme/base", "m.bin"), token(xet, kind="write", user=ALICE)
    stored = xet.world.xet.xorbs.get(file.terms[0].xorb)
    assert stored is not None
    first, second = (hash_hex(chunk) for chunk, _ in stored.leaves[:2])
    answer = call(f"{xet.cas_url}/v1/chunks/default-merkledb/{first}", token=held)
    told = read_shard(answer.body)
    assert [one.xorb_hash for one in told.xorbs] == [stored.hash]
    assert call(f"{xet.cas_url}/v1/chunks/default/{second}", token=held).status == 404
    xet.settings.xet_dedup = False
    assert call(f"{xet.cas_url}/v1/chunks/default/{first}", token=held).status == 404
    assert call(f"{xet.cas_url}/v1/chunks/default/nonsense", token=held).status == 400


# Laziness


def test_nothing_is_packed_before_it_is_asked_for(xet: HubDouble) -> None:
    call(f"{xet.url}/api/models/acme/base")
    assert list(xet.world.xet.xorbs) == []
    call(f"{xet.url}/api/models/acme/base/tree/main")
    assert len(list(xet.world.xet.xorbs)) == 1


def test_large_files_are_packed_in_xorbs_of_64_mib(tmp_path: Path) -> None:
    double = HubDouble(tmp_path / "state")
    path = tmp_path / "large.bin"
    path.write_bytes(random.Random(2).randbytes(70 * MIB))
    double.add_repo("acme/large", xet=True).commit({"m.bin": LfsFile(path)})
    file = double.xet_file("acme/large", "m.bin")
    stored = [double.world.xet.xorbs.get(term.xorb) for term in file.terms]
    assert len(stored) == 2
    assert all(one is not None and one.content.size_bytes <= 64 * MIB for one in stored)
    data = b"".join(
        one.raw(term.start, term.end) for one, term in zip(stored, file.terms, strict=True) if one
    )
    assert data == path.read_bytes()
    assert file.size_bytes == 70 * MIB
