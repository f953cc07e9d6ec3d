"""Eviction makes room in order, and never takes what is pinned, read or growing."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import StoreFull
from moongate.core.names import RepoId
from moongate.store.chunk_ranges import ChunkRange
from moongate.store.keeping import Evicted
from moongate.store.keeping.partials import partial_files
from moongate.store.partial import BLOCK_BYTES, Partial
from store_house import House
from support.xorbs import make_xorb, xet_content

MODEL = RepoId("model", "acme/tiny")
FIRST = "1" * 40


def fill_some(house: House, number: int, size_bytes: int = BLOCK_BYTES) -> Partial:
    partial = Partial.open(house.layout, Etag(f"{number:064x}"), size_bytes)
    assert partial is not None
    partial.write(0, memoryview(os.urandom(size_bytes)))
    return partial


def leave(house: House, partial: Partial, changed_at: float = 0.0) -> None:
    """Close it, as nobody continued it since that time."""
    partial.close()
    for path in (house.layout.partial_data(partial.etag), house.layout.partial_map(partial.etag)):
        os.utime(path, (changed_at, changed_at))


@pytest.mark.parametrize(
    ("eviction", "left"), [("lru", "b"), ("fifo", "c"), ("largest", "b")], ids=["lru", "fifo", "largest"]
)
def test_the_policy_says_what_goes_first(house: House, eviction: str, left: str) -> None:
    etags = {name: house.seal(name.encode() * size) for name, size in (("a", 900), ("b", 100), ("c", 200))}
    house.index.touch_blobs({etags["b"]: house.now})
    evicted = house.keeping(quota_bytes=250, eviction=eviction).evict()
    assert house.here() == {etags[left]}
    assert evicted == Evicted(freed_bytes=1200 - {"b": 100, "c": 200}[left], blobs=2)


def test_no_more_goes_than_must(house: House) -> None:
    etags = [house.seal(bytes([number]) * 100) for number in range(10)]
    assert house.keeping(quota_bytes=1000).evict() == Evicted()
    assert house.keeping(quota_bytes=999).evict().blobs == 1
    assert house.here() == set(etags[1:])
    assert house.keeping().evict() == Evicted()


def test_what_is_pinned_or_open_stays_and_the_rest_is_reported(house: House) -> None:
    pinned, opened, free = (house.seal(text * 100) for text in (b"a", b"b", b"c"))
    house.list(MODEL, FIRST, a=pinned)
    house.index.pin(MODEL, None, house.now)
    fd = house.blobs.open(opened)
    assert fd is not None
    evicted = house.keeping(quota_bytes=50).evict()
    assert evicted == Evicted(freed_bytes=100, blobs=1, busy=1, over_bytes=150)
    assert house.here() == {pinned, opened}
    os.close(fd)
    assert house.keeping(quota_bytes=100).evict().blobs == 1
    assert house.here() == {pinned}
    assert free not in house.here()


def test_idle_partials_stand_in_the_queue_and_open_ones_do_not(house: House) -> None:
    sealed = house.seal(b"x" * 1000)
    idle, fresh, growing = (fill_some(house, number) for number in (1, 2, 3))
    leave(house, idle, house.now - 1000)
    leave(house, fresh, house.now + 1000)
    sizes = {partial.etag: partial.stored_bytes for partial in partial_files(house.layout)}
    evicted = house.keeping(quota_bytes=1000 + sizes[fresh.etag] + sizes[growing.etag]).evict()
    assert (evicted.partials, evicted.blobs) == (1, 0)
    assert {partial.etag for partial in partial_files(house.layout)} == {fresh.etag, growing.etag}
    assert house.here() == {sealed}
    evicted = house.keeping(quota_bytes=1).evict()
    assert (evicted.partials, evicted.blobs, evicted.busy) == (1, 1, 1)
    assert growing.present_bytes() == BLOCK_BYTES
    assert house.here() == set()
    growing.close()


def test_a_partial_of_a_pinned_repository_stays(house: House) -> None:
    partial = fill_some(house, 1)
    leave(house, partial)
    house.contents[partial.etag] = b""
    house.list(MODEL, FIRST, a=partial.etag)
    house.index.pin(MODEL, None, house.now)
    evicted = house.keeping(quota_bytes=1).evict()
    assert (evicted.partials, evicted.busy) == (0, 0)
    assert evicted.over_bytes > 0
    assert len(partial_files(house.layout)) == 1


def test_an_empty_file_can_be_evicted(house: House) -> None:
    house.seal(b"")
    house.seal(b"x" * 100)
    house.keeping(quota_bytes=1).evict()
    assert house.here() == set()


def test_rows_without_files_do_not_stop_it(house: House) -> None:
    lost, kept = house.seal(b"a" * 100), house.seal(b"b" * 100)
    house.blobs.remove(lost)
    house.keeping(quota_bytes=100).evict()
    assert house.here() == {kept}


def test_room_is_made_or_refused_in_words(house: House) -> None:
    house.seal(b"a" * 100)
    last = house.seal(b"b" * 100)
    keeping = house.keeping(quota_bytes=300)
    assert keeping.make_room(100) == Evicted()
    assert keeping.make_room(200).freed_bytes == 100
    assert house.here() == {last}
    with pytest.raises(StoreFull, match=r"no room for 400 B: 100 B too many.*unpin"):
        keeping.make_room(400)


def test_the_disk_keeps_its_reserve(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = house.seal(b"a" * 100), house.seal(b"b" * 100)
    real = os.statvfs(house.layout.root)
    free = real.f_bavail * real.f_frsize

    def steady(_path: object) -> os.statvfs_result:
        return real

    monkeypatch.setattr(os, "statvfs", steady)
    assert house.keeping(min_free_bytes=free).evict() == Evicted()
    assert house.keeping(min_free_bytes=free + 50).evict().blobs == 1
    assert house.here() == {new}
    assert old not in house.here()


def test_it_stops_when_told(house: House) -> None:
    for number in range(10):
        house.seal(bytes([number]) * 100)
    answers = iter([False, False, True])
    stop: Callable[[], bool] = lambda: next(answers)  # noqa: E731
    assert house.keeping(quota_bytes=1).evict(stop=stop).blobs == 2
    assert len(house.here()) == 8


def test_what_was_uploaded_through_xet_stays_until_its_lease_ends(house: House) -> None:
    """Chunks before there is a file, and the file before there is a commit: neither can be fetched again."""
    xorb = make_xorb(3)
    chunks = ChunkRange(0, 8, xorb.span(0, 8))
    file = xet_content([xorb], [(0, 0, 8)])
    house.index.lease_xorbs("alice", {xorb.hash: [chunks]}, house.now + 100, house.now)
    sent = house.layout.temporary("sent")
    sent.write_bytes(xorb.data)
    house.segments.adopt(xorb.hash, chunks, str(sent))
    assert house.keeping(quota_bytes=1).evict().freed_bytes == 0
    house.index.put_proven(
        file.file_id, file.etag, len(file.content), file.terms, {xorb.hash: [chunks]}, house.now
    )
    house.index.put_upload(1, "alice", file.etag, len(file.content), house.now + 100)
    house.index.prune_xorb_leases(house.now + 200)
    assert house.keeping(quota_bytes=1).evict().freed_bytes == 0
    assert house.segments.has(xorb.hash, 0, 8)
    house.index.prune_uploads(house.now + 200)
    assert house.keeping(quota_bytes=1).evict().freed_bytes == len(xorb.data)
