"""Uploads through Xet below HTTP: what is taken and what refused, who may name what, how long it stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest
from moongate.core.names import CommitHash, RepoPath
from moongate.core.records import FileEntry
from moongate.hub.hosted.dedup import ANSWER_SECONDS
from moongate.hub.hosted.shard_uploads import TOLD_SECONDS, Progress, Stopped
from moongate.hub.hosted.xorb_uploads import BROUGHT_SECONDS
from moongate.store.chunk_reader import ChunkReader
from moongate.store.release import free
from moongate.xet.hashes import ZERO, XetHash, hash_hex, xorb_hash
from moongate.xet.shard import ShardTerm, ShardXorb, iterate_xorbs, read_shard
from moongate.xet.xorb import encode_chunk, footer, layout_of, read_headers
from support.uploading import ALICE, BOB, REPO, Wharf, contents, otherwise, sha256, shard_of, told_file
from support.xorbs import Xorb, make_xorb

XORBS = [make_xorb(seed, chunks=6 + seed) for seed in range(3)]
PARTS = [(0, 0, 6), (1, 2, 7), (0, 3, 5)]
FILE = told_file(XORBS, PARTS)
WEEK = 7 * 86400.0


@pytest.fixture
def wharf(tmp_path: Path) -> Iterator[Wharf]:
    wharf = Wharf(tmp_path / "home")
    yield wharf
    wharf.close()


def commit(wharf: Wharf, repo_id: str, file: object = FILE) -> None:
    """List the file in a repository, as a commit would."""
    told = file if dataclasses.is_dataclass(file) else FILE
    etag, file_id = Etag(told.sha256 or ""), hash_hex(told.file_hash)  # type: ignore[union-attr]
    size_bytes = sum(term.unpacked_bytes for term in told.terms)  # type: ignore[union-attr]
    entry = FileEntry(RepoPath("w.bin"), etag, size_bytes, file_id)
    repo = dataclasses.replace(REPO, repo_id=repo_id)
    wharf.index.put_files(repo, CommitHash("a" * 40), [entry], complete=True)


def gc(wharf: Wharf) -> int:
    """Free what nobody needs or leases, at this moment of the clock."""
    wharf.index.prune_xorb_leases(wharf.now)
    return free(wharf.segments, wharf.index, wharf.segments.xorbs()).freed_bytes


def read(wharf: Wharf, file_id: str) -> bytes:
    row = wharf.index.get_reconstruction(file_id)
    assert row is not None
    with ChunkReader(wharf.segments) as reader:
        return b"".join(bytes(chunk) for chunk in reader.chunks_of(row))


def packed_otherwise(xorb: Xorb) -> bytes:
    """The same chunks, packed as another client would."""
    data = b"".join(encode_chunk(one, "none") for one in xorb.raw)
    assert data != xorb.data
    return data


def test_a_file_of_two_xorbs(wharf: Wharf) -> None:
    assert [wharf.send(one) for one in XORBS[:2]] == [True, True]
    assert wharf.index.get_reconstruction(hash_hex(FILE.file_hash)) is None
    assert wharf.register(shard_of([FILE], XORBS[:2]))
    row = wharf.index.get_reconstruction(hash_hex(FILE.file_hash))
    assert row is not None
    assert row.verified
    assert row.etag == FILE.sha256
    assert read(wharf, row.file_id) == contents(XORBS, PARTS)
    assert wharf.clerk.uploads == [(REPO, ALICE.key, FILE.sha256, row.size_bytes)]


def test_again_is_harmless_and_says_so(wharf: Wharf) -> None:
    for _ in range(2):
        assert [wharf.send(one) for one in XORBS[:2]] in ([True, True], [False, False])
    assert wharf.register(shard_of([FILE]))
    assert not wharf.register(shard_of([FILE]))
    assert len(wharf.clerk.uploads) == 2


def test_the_footer_of_an_old_client_is_dropped(wharf: Wharf) -> None:
    one = XORBS[0]
    tail = footer(one.hash, one.leaves, one.layout)
    assert wharf.send(one, data=one.data + tail)
    assert wharf.send(XORBS[1])
    assert wharf.register(shard_of([FILE]))
    assert read(wharf, hash_hex(FILE.file_hash)) == contents(XORBS, PARTS)


def test_one_xorb_packed_in_two_ways(wharf: Wharf) -> None:
    """Both stay readable; nobody's bytes are read by the other's places."""
    for caller, data in ((ALICE, None), (BOB, packed_otherwise(XORBS[0]))):
        wharf.send(XORBS[0], caller, data)
        whole = told_file(XORBS, [(0, 0, 6)])
        assert wharf.register(shard_of([whole]), caller) is (caller is ALICE)
        part = told_file(XORBS, [(0, 1, 4 if caller is ALICE else 5)])
        assert wharf.register(shard_of([part]), caller)
        assert read(wharf, hash_hex(part.file_hash)) == b"".join(
            XORBS[0].raw[1 : 4 if caller is ALICE else 5]
        )
    assert len(list(wharf.segments.xorbs())) == 2


BAD_XORBS = {
    "another xorb": XORBS[1].data,
    "nothing": b"",
    "a piece": XORBS[0].data[:-1],
    "no chunks": b"x" * 100,
    "too many chunks": encode_chunk(b"a") * 8193,
    "a bomb": b"\0" + (9).to_bytes(3, "little") + b"\1" + (131072).to_bytes(3, "little") + bytes(9),
    "a lying length": XORBS[0].data[:5] + b"\1\0\0" + XORBS[0].data[8:],
}


@pytest.mark.parametrize("data", BAD_XORBS.values(), ids=BAD_XORBS.keys())
def test_what_is_no_such_xorb_is_not_kept(wharf: Wharf, data: bytes) -> None:
    before = wharf.files()
    with pytest.raises(BadRequest):
        wharf.send(XORBS[0], data=data)
    assert wharf.files() == before
    with pytest.raises(BadRequest):
        wharf.register(shard_of([told_file(XORBS, [(0, 0, 1)])]))


def test_a_xorb_of_more_than_64_mib(wharf: Wharf) -> None:
    raw = bytes(131072)
    data = encode_chunk(raw, "lz4") * 513
    leaves = [(XetHash(b"x" * 32), len(raw))] * 513
    xorb = Xorb(xorb_hash(leaves), data, (), tuple(leaves), layout_of(read_headers(memoryview(data))))
    with pytest.raises(BadRequest, match="64 MiB"):
        wharf.send(xorb)


BAD_FILES = {
    "another file hash": otherwise(FILE, file_hash=XetHash(b"f" * 32)),
    "another sha256": otherwise(FILE, sha256="ab" * 32),
    "another proof": otherwise(FILE, verification=(ZERO, *FILE.verification[1:])),
    "a proof too few": otherwise(FILE, verification=FILE.verification[:1]),
    "no terms": otherwise(FILE, terms=(), verification=(), file_hash=ZERO),
    "another order": otherwise(FILE, terms=FILE.terms[::-1], verification=FILE.verification[::-1]),
    "a wrong length": otherwise(
        FILE, terms=(dataclasses.replace(FILE.terms[0], unpacked_bytes=1), *FILE.terms[1:])
    ),
    "chunks that are none": otherwise(
        FILE, terms=(dataclasses.replace(FILE.terms[0], end=7), *FILE.terms[1:])
    ),
    "a xorb that is none": otherwise(FILE, terms=(ShardTerm(XetHash(b"n" * 32), 5, 0, 1),), verification=()),
    "the hash of a file": otherwise(FILE, terms=(ShardTerm(FILE.file_hash, 5, 0, 1),), verification=()),
}


@pytest.mark.parametrize("file", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_fails_a_check_is_nobodys(wharf: Wharf, file: object) -> None:
    for one in XORBS:
        wharf.send(one)
    with pytest.raises(BadRequest):
        wharf.register(shard_of([file]))  # type: ignore[list-item]
    assert wharf.clerk.uploads == []
    assert wharf.index.xet_files_after("", 10) == []
    assert wharf.register(shard_of([FILE]))


@pytest.mark.parametrize("cut", range(0, 432, 16))
def test_a_shard_that_ends_too_early(wharf: Wharf, cut: int) -> None:
    for one in XORBS:
        wharf.send(one)
    with pytest.raises(BadRequest):
        wharf.register(shard_of([FILE])[:cut])
    assert wharf.clerk.uploads == []


def test_without_a_sha256_it_is_found_out(wharf: Wharf) -> None:
    for one in XORBS:
        wharf.send(one)
    assert wharf.register(shard_of([otherwise(FILE, sha256=None)]))
    assert wharf.clerk.uploads[0][2] == sha256(contents(XORBS, PARTS))


def test_told_to_stop(wharf: Wharf) -> None:
    for one in XORBS:
        wharf.send(one)
    progress = Progress()
    progress.stopped = True
    with pytest.raises(Stopped):
        wharf.uploads.take_shard(memoryview(shard_of([FILE])), REPO, ALICE, progress)
    assert wharf.clerk.uploads == []


# -- who may name what --------------------------------------------------------------------------------------


def test_nobody_names_what_another_one_brought(wharf: Wharf) -> None:
    for one in XORBS:
        wharf.send(one, ALICE)
    wharf.register(shard_of([FILE]), ALICE)
    with pytest.raises(BadRequest, match="did not bring"):
        wharf.register(shard_of([FILE]), BOB)
    assert not wharf.uploads.has_xorb(XORBS[0].hash, BOB)
    assert wharf.uploads.xorb_bytes(XORBS[0].hash, BOB) is None
    assert wharf.send(XORBS[0], BOB), "and is not told that it was here"


def test_who_may_read_a_file_may_build_on_it(wharf: Wharf) -> None:
    for one in XORBS:
        wharf.send(one, ALICE)
    wharf.register(shard_of([FILE]), ALICE)
    commit(wharf, "acme/base")
    wharf.clerk.readable.add(("bob", "acme/base"))
    assert wharf.register(shard_of([told_file(XORBS, [(1, 2, 7), (0, 0, 6)])]), BOB)
    hidden = told_file(XORBS, [(1, 0, 7)])
    with pytest.raises(BadRequest, match="did not bring"):
        wharf.register(shard_of([hidden]), BOB)


def test_a_grant_is_claimed_by_its_holder(wharf: Wharf) -> None:
    sent = wharf.uploads.begin(10)
    sent.append(XORBS[0].data)
    wharf.uploads.take_granted(sent, XORBS[0].hash, "word")
    sent.close()
    assert not wharf.uploads.has_xorb(XORBS[0].hash, ALICE)
    assert not wharf.uploads.claim_granted(XORBS[0].hash, "other", ALICE)
    assert wharf.uploads.claim_granted(XORBS[0].hash, "word", ALICE)
    assert wharf.uploads.claim_granted(XORBS[0].hash, "word", ALICE), "again is free"
    assert wharf.uploads.has_xorb(XORBS[0].hash, ALICE)


# -- how long it stays --------------------------------------------------------------------------------------


def test_what_no_shard_names_goes_after_a_day(wharf: Wharf) -> None:
    wharf.send(XORBS[0])
    wharf.now += BROUGHT_SECONDS - 1
    assert gc(wharf) == 0
    wharf.now += 2
    assert gc(wharf) == len(XORBS[0].data)


def test_what_a_client_remembers_stays_three_weeks(wharf: Wharf) -> None:
    """Also chunks that no file needs, also when the file is gone: the client would send a shard alone."""
    for one in XORBS:
        wharf.send(one)
    wharf.register(shard_of([FILE], XORBS))
    wharf.index.drop_reconstruction(hash_hex(FILE.file_hash))
    wharf.now += 3 * WEEK
    assert gc(wharf) == 0
    assert wharf.register(shard_of([told_file(XORBS, [(2, 0, 8), (1, 0, 7)])]))
    wharf.now += TOLD_SECONDS + 1
    assert gc(wharf) < sum(len(one.data) for one in XORBS), "what a file needs stays"


def test_what_was_freed_may_be_sent_again(wharf: Wharf) -> None:
    for one in XORBS:
        wharf.send(one)
    wharf.register(shard_of([told_file(XORBS, [(0, 2, 4)])]))
    wharf.now += TOLD_SECONDS + 1
    gc(wharf)
    with pytest.raises(BadRequest):
        wharf.register(shard_of([FILE]))
    for one in XORBS:
        wharf.send(one)
    assert wharf.register(shard_of([FILE]))
    assert read(wharf, hash_hex(FILE.file_hash)) == contents(XORBS, PARTS)


# -- dedup --------------------------------------------------------------------------------------------------


def dedup(wharf: Wharf, chunk: XetHash, caller: object = ALICE) -> list[ShardXorb]:
    answer = wharf.uploads.dedup_answer(chunk, caller)  # type: ignore[arg-type]
    return [] if answer is None else list(read_shard(answer).xorbs)


def test_the_first_chunk_of_a_file_tells_of_all_its_xorbs(wharf: Wharf) -> None:
    for one in XORBS:
        wharf.send(one, ALICE)
    wharf.register(shard_of([FILE]), ALICE)
    first = XORBS[0].leaves[0][0]
    assert dedup(wharf, first, BOB) == []
    commit(wharf, "acme/base")
    wharf.clerk.readable.add(("bob", "acme/base"))
    told = dedup(wharf, first, BOB)
    assert [one.xorb_hash for one in told] == [XORBS[0].hash, XORBS[1].hash]
    assert len(told[0].chunks) == 6
    lengths = [length for _, length in told[1].chunks]
    assert lengths[2:] == [length for _, length in XORBS[1].leaves[2:7]], "what he may read"
    assert lengths[:2] == [1, 1], "and no more"


def test_what_was_told_may_be_named(wharf: Wharf) -> None:
    """Also when the file is gone by then, until the answer has expired."""
    for one in XORBS:
        wharf.send(one, ALICE)
    wharf.register(shard_of([FILE]), ALICE)
    commit(wharf, "acme/base")
    wharf.clerk.readable.add(("bob", "acme/base"))
    assert dedup(wharf, XORBS[0].leaves[0][0], BOB)
    wharf.clerk.readable.clear()
    wharf.now += ANSWER_SECONDS
    assert wharf.register(shard_of([FILE]), BOB) is False
    assert partial(wharf.uploads.has_xorb, XORBS[0].hash)(BOB)


def test_xorbs_of_a_shard_are_told() -> None:
    assert list(iterate_xorbs(shard_of([FILE], XORBS))) == [one.hash for one in XORBS]
