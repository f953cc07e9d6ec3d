"""Collection brings disk and index together, and drops only what serves nobody."""

from __future__ import annotations

import os
from itertools import chain, repeat
from pathlib import Path

from moongate.core.digests import Etag
from moongate.core.names import RepoId
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.index import ChunkRun, Index, StoredAnswer
from moongate.store.keeping import Collected, Keeping
from moongate.store.keeping.partials import partial_files
from moongate.store.partial import Partial
from store_house import House, make_house
from support.xorbs import make_xorb

DAY = 86400.0
MODEL = RepoId("model", "acme/tiny")


def age(path: Path, seconds: float, house: House) -> None:
    os.utime(path, (house.now - seconds, house.now - seconds))


def test_a_tidy_store_is_left_alone(house: House) -> None:
    etag = house.seal(b"aaaa")
    house.index.put_answer("key", MODEL, StoredAnswer(200, {}, b"{}", house.now))
    assert house.keeping().collect() == Collected()
    assert house.here() == {etag}
    assert house.index.get_answer("key") is not None


def test_after_the_index_is_lost_every_sealed_file_is_registered_anew(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    etags = {house.seal(bytes([number]) * number) for number in range(5)}
    house.index.close()
    for path in tmp_path.glob("index.sqlite3*"):
        path.unlink()
    with Index(house.layout.index_path) as index:
        assert index.was_created
        collected = Keeping(house.layout, house.blobs, index).collect()
        assert collected.registered == 5
        assert {row.etag for row in index.blobs_after("", 10)} == etags
        assert index.total_bytes() == 10


def test_disk_is_believed_before_the_index(house: House) -> None:
    lost, resized = house.seal(b"lost"), house.seal(b"resized")
    house.blobs.remove(lost)
    house.index.register_blob(resized, 999, 1.0)
    collected = house.keeping().collect()
    assert (collected.rows_dropped, collected.registered) == (1, 1)
    assert house.here() == {resized}


def test_idle_partials_go_and_others_stay(house: House) -> None:
    etags = [Etag(f"{number:064x}") for number in range(3)]
    idle, fresh, growing = (Partial.open(house.layout, etag, 5000) for etag in etags)
    assert idle is not None
    assert fresh is not None
    assert growing is not None
    idle.write(0, memoryview(b"x" * 5000))
    idle.close()
    fresh.close()
    for etag, days in zip(etags, (8, 6, 8), strict=True):
        age(house.layout.partial_data(etag), days * DAY, house)
        age(house.layout.partial_map(etag), days * DAY, house)
    collected = house.keeping().collect()
    assert collected.partials == 1
    assert collected.freed_bytes >= 5000
    assert {partial.etag for partial in partial_files(house.layout)} == set(etags[1:])
    assert not house.layout.partial_lock(etags[0]).exists()
    growing.close()


def test_remains_of_a_sealed_file_go_at_once(house: House) -> None:
    etag = house.seal(b"aaaa")
    house.layout.partial_map(etag).write_bytes(b"left by a crash")
    assert house.keeping().collect().partials == 1
    assert partial_files(house.layout) == []
    assert house.here() == {etag}


def test_old_temporaries_and_quarantine_go_and_strangers_stay(house: House) -> None:
    old, new = house.layout.temporary("old"), house.layout.temporary("new")
    stranger = house.layout.partial_dir / "README"
    for path in (old, new, stranger):
        path.write_bytes(b"12345")
    age(old, 2 * 3600, house)
    age(new, 60, house)
    age(stranger, 100 * DAY, house)
    quarantined = [house.blobs.quarantine(house.seal(text), "why") for text in (b"aa", b"bbb")]
    house.index.drop_blob(Etag(quarantined[0].name.split(".")[0]))
    house.index.drop_blob(Etag(quarantined[1].name.split(".")[0]))
    age(Path(f"{quarantined[0]}.json"), 31 * DAY, house)
    age(Path(f"{quarantined[1]}.json"), 29 * DAY, house)
    assert house.keeping().collect() == Collected(temporaries=1, quarantined=1, freed_bytes=7)
    assert new.exists()
    assert stranger.exists()
    assert [path.exists() for path in quarantined] == [False, True]


def test_answers_that_nobody_reads_go(house: House) -> None:
    for key in ("read", "unread"):
        house.index.put_answer(key, MODEL, StoredAnswer(200, {}, b"{}", house.now))
    house.now += 31 * DAY
    house.index.get_answer("read")
    assert house.keeping().collect().answers == 1
    assert house.index.get_answer("read") is not None
    assert house.index.get_answer("unread") is None


def test_it_stops_when_told_and_goes_on_when_asked_again(house: House) -> None:
    for number in range(5):
        house.seal(bytes([number]), register=False)
    answers = chain([False, False, False], repeat(True))
    assert house.keeping().collect(stop=lambda: next(answers)).registered == 2
    assert house.keeping().collect().registered == 3


def test_usage_counts_everything(house: House) -> None:
    listed, _ = house.seal(b"listed"), house.seal(b"unlisted")
    house.list(MODEL, "1" * 40, a=listed)
    partial = Partial.open(house.layout, Etag("ab" * 32), 5000)
    assert partial is not None
    partial.write(0, memoryview(b"x" * 5000))
    partial.close()
    spoiled = house.seal(b"spoiled")
    house.blobs.quarantine(spoiled, "why")
    house.index.drop_blob(spoiled)
    usage = house.keeping(quota_bytes=77).usage()
    assert [repo.repo for repo in usage.repos] == [MODEL]
    assert (usage.blobs, usage.blob_bytes, usage.unlisted_bytes) == (2, 14, 8)
    assert (usage.partials, usage.quarantined, usage.quarantine_bytes) == (1, 1, 7)
    assert usage.partial_bytes >= 5000
    assert usage.free_bytes > 0
    assert usage.quota_bytes == 77


def test_leases_that_ran_out_and_chunks_of_what_is_gone_are_forgotten(house: House) -> None:
    xorb = make_xorb(5)
    chunks = ChunkRange(0, 8, xorb.span(0, 8))
    house.index.lease_xorbs("alice", {xorb.hash: [chunks]}, house.now + 10 * DAY, house.now)
    house.index.put_chunks(xorb.hash, xorb.hash, ChunkRun(0, xorb.leaves), [xorb.leaves[0][0]])
    house.keeping().collect()
    assert house.index.chunk_runs(xorb.hash), "its bytes may be on their way"
    sent = house.layout.temporary("sent")
    sent.write_bytes(xorb.data)
    house.segments.adopt(xorb.hash, chunks, str(sent))
    house.now += 9 * DAY
    house.keeping().collect()
    assert house.segments.has(xorb.hash, 0, 8)
    house.now += 2 * DAY
    house.index._db.was_created = False
    for segment in house.segments.of(xorb.hash):
        age(Path(segment.path), 2 * DAY, house)
    assert house.keeping().collect().freed_bytes == len(xorb.data)
    assert house.index.chunk_runs(xorb.hash) == []
    assert house.index.xorbs_with_chunk(xorb.leaves[0][0]) == []
