"""Upkeep of Xet files: what they share stays as long as one of them needs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from moongate.core.errors import StoreError
from moongate.core.names import RepoId
from moongate.core.records import FileEntry
from moongate.store.keeping import Ages, Collected, Evicted, Keeping, Removed
from moongate.store.release import discard
from store_house import House
from support.xorbs import XetContent, make_xorb, xet_content

MODEL, OTHER = RepoId("model", "acme/base"), RepoId("model", "acme/tuned")
FIRST = "1" * 40
XORBS = [make_xorb(number, chunks=12) for number in (1, 2)]
BASE = xet_content(XORBS, [(0, 0, 12), (1, 0, 4)])
TUNED = xet_content(XORBS, [(0, 0, 7), (1, 4, 6), (0, 8, 12)])
ODD = xet_content(XORBS, [(1, 8, 12), (1, 8, 9)])
ALL = (BASE, TUNED, ODD)


def chunks(*files: XetContent) -> set[tuple[int, int]]:
    """What these files need."""
    numbers = {xorb.hash: number for number, xorb in enumerate(XORBS)}
    return {
        (numbers[xorb], chunk)
        for file in files
        for xorb, ranges in file.needs.items()
        for one in ranges
        for chunk in range(one.first, one.end)
    }


def size_of(wanted: set[tuple[int, int]]) -> int:
    return sum(XORBS[number].span(chunk, chunk + 1).length for number, chunk in wanted)


def path_of(house: House, number: int, first: int) -> Path:
    """The file with this chunk."""
    return Path(house.segments.cover(XORBS[number].hash, first, first + 1)[0].path)


@pytest.fixture
def family(house: House) -> House:
    """BASE in MODEL, TUNED in OTHER, ODD in neither; read in this order."""
    for file in ALL:
        house.put_xet(XORBS, file)
    house.list(MODEL, FIRST, weights=BASE.etag)
    house.list(OTHER, FIRST, weights=TUNED.etag)
    return house


def quota_for(*files: XetContent) -> int:
    return size_of(chunks(*files))


def check(house: House, *here: XetContent) -> None:
    """Exactly these files are here, whole, and not a byte more."""
    assert house.chunks_here(XORBS) == chunks(*here)
    for file in ALL:
        assert house.read_xet(file.file_id) == (file.content if file in here else None)


def settled(house: House) -> Keeping:
    """Upkeep as after a restart: an index that was just made gives everybody time."""
    house.index._db.was_created = False
    return house.keeping()


def test_a_family_is_stored_once(family: House) -> None:
    check(family, *ALL)
    assert family.segments.stored_bytes() == size_of(chunks(*ALL))


class TestEviction:
    def test_the_one_read_longest_ago_frees_what_nobody_else_needs(self, family: House) -> None:
        evicted = family.keeping(quota_bytes=quota_for(*ALL) - 1).evict()
        assert evicted == Evicted(freed_bytes=size_of(chunks(BASE) - chunks(TUNED)), xet_files=1)
        check(family, TUNED, ODD)

    def test_reads_count(self, family: House) -> None:
        family.index.touch_reconstructions({BASE.file_id: family.now, TUNED.file_id: family.now + 1})
        family.keeping(quota_bytes=quota_for(BASE, TUNED)).evict()
        check(family, BASE, TUNED)

    def test_copies_go_first_whatever_the_policy_and_even_when_pinned(self, family: House) -> None:
        family.seal(b"read long ago")
        family.blobs.add(TUNED.etag, len(TUNED.content), iter([TUNED.content]))
        family.index.put_blob(TUNED.etag, len(TUNED.content), family.now + 100)
        family.index.pin(OTHER, None, 1.0)
        quota_bytes = family.index.total_bytes() + family.segments.stored_bytes() - 1
        evicted = family.keeping(quota_bytes=quota_bytes).evict()
        assert evicted == Evicted(freed_bytes=len(TUNED.content), blobs=1)
        assert family.blobs.size_bytes(TUNED.etag) is None
        check(family, *ALL)

    def test_a_blob_of_a_file_that_is_not_proven_is_no_copy(self, house: House) -> None:
        house.seal(b"read long ago")
        house.put_xet(XORBS, ODD, verified=False)
        blob = house.seal(ODD.content)
        quota_bytes = house.index.total_bytes() + house.segments.stored_bytes() - 1
        house.keeping(quota_bytes=quota_bytes).evict()
        assert house.here() == {blob}

    def test_blobs_and_xet_files_stand_in_one_queue(self, house: House) -> None:
        house.put_xet(XORBS, ODD)
        blob = house.seal(b"x" * 100)
        house.put_xet(XORBS, BASE)
        keeping = house.keeping(quota_bytes=quota_for(BASE) + 100)
        assert (keeping.evict().xet_files, house.here()) == (1, {blob})
        assert house.keeping(quota_bytes=quota_for(BASE)).evict().blobs == 1
        assert house.here() == set()
        check(house, BASE)

    @pytest.mark.parametrize(("policy", "left"), [("lru", ODD), ("fifo", TUNED), ("largest", ODD)])
    def test_the_policy_says_what_goes_first(self, house: House, policy: str, left: XetContent) -> None:
        for file in (ODD, TUNED):
            house.put_xet(XORBS, file)
        house.index.touch_reconstructions({ODD.file_id: house.now})
        assert house.keeping(quota_bytes=quota_for(left), eviction=policy).evict().xet_files == 1
        check(house, left)

    def test_what_is_pinned_read_or_being_fetched_stays(self, family: House) -> None:
        family.index.pin(MODEL, None, 1.0)
        fd = family.segments.open(family.segments.cover(XORBS[1].hash, 8, 9)[0])
        assert fd is not None
        evicted = family.keeping(quota_bytes=1).evict()
        assert (evicted.xet_files, evicted.busy) == (1, 1)
        assert evicted.over_bytes == quota_for(BASE, ODD) - 1
        check(family, BASE, ODD)
        os.close(fd)
        assert family.keeping(quota_bytes=1).evict().xet_files == 1
        check(family, BASE)

    def test_a_file_being_fetched_stays(self, house: House) -> None:
        house.index.put_reconstruction(ODD.file_id, ODD.etag, len(ODD.content), ODD.terms, ODD.needs, 1.0)
        ((xorb, (one,)),) = ODD.needs.items()
        (segment,) = house.segments.missing(xorb, one.first, one.end, one.span)
        lead = house.segments.try_lead(segment)
        assert lead is not None
        lead.append(b"xyz")
        assert house.keeping(quota_bytes=1).evict().busy == 1
        assert house.index.get_reconstruction(ODD.file_id) is not None
        lead.close()
        assert house.keeping(quota_bytes=1).evict() == Evicted(freed_bytes=3, xet_files=1)
        assert house.chunks_here(XORBS) == set()

    def test_files_without_a_chunk_of_their_own_go_only_when_nothing_else_helps(self, house: House) -> None:
        part = xet_content(XORBS, [(0, 2, 5)])
        house.put_xet(XORBS, part)
        house.put_xet(XORBS, BASE)
        house.put_xet(XORBS, ODD)
        house.keeping(quota_bytes=quota_for(part, ODD)).evict()
        assert house.read_xet(part.file_id) == part.content
        assert house.chunks_here(XORBS) == chunks(part, ODD)
        twins = [xet_content(XORBS, [(0, 6, 7), (0, 7, 8)]), xet_content(XORBS, [(0, 7, 8), (0, 6, 7)])]
        for twin in twins:
            house.put_xet(XORBS, twin)
        evicted = house.keeping(quota_bytes=1).evict()
        assert (evicted.xet_files, evicted.over_bytes) == (4, 0)
        assert house.chunks_here(XORBS) == set()

    def test_chunks_that_a_crash_left_make_room_in_the_end(self, family: House) -> None:
        family.index.drop_reconstruction(BASE.file_id)
        family.index.pin(OTHER, None, 1.0)
        evicted = family.keeping(quota_bytes=quota_for(TUNED)).evict()
        assert evicted.over_bytes == 0
        check(family, TUNED)


class TestRemoval:
    def test_rm_says_what_it_freed_and_what_others_need(self, family: House) -> None:
        removed = family.keeping().remove(MODEL)
        shared = chunks(BASE) & chunks(TUNED)
        assert removed == Removed(
            freed_bytes=size_of(chunks(BASE) - shared), kept_bytes=size_of(shared), xet_files=1
        )
        check(family, TUNED, ODD)
        assert family.keeping().remove(OTHER) == Removed(freed_bytes=size_of(chunks(TUNED)), xet_files=1)
        check(family, ODD)

    def test_chunks_that_only_the_repository_shares_within_itself_are_freed_and_not_kept(
        self, family: House
    ) -> None:
        family.list(MODEL, FIRST, tuned=TUNED.etag)
        family.list(OTHER, FIRST, odd=ODD.etag)
        family.index.drop_repo(OTHER)
        removed = family.keeping().remove(MODEL)
        assert removed == Removed(freed_bytes=size_of(chunks(BASE, TUNED)), xet_files=2)
        check(family, ODD)

    def test_what_another_listing_has_stays(self, family: House) -> None:
        family.list(OTHER, FIRST, base=BASE.etag)
        removed = family.keeping().remove(MODEL)
        assert removed == Removed(kept_bytes=size_of(chunks(BASE)), kept_xet_files=1)
        check(family, *ALL)

    def test_readers_do_not_hold_it_up_and_copies_go_too(self, family: House) -> None:
        family.blobs.add(BASE.etag, len(BASE.content), iter([BASE.content]))
        family.index.put_blob(BASE.etag, len(BASE.content), family.now)
        fds = [family.segments.open(segment) for xorb in XORBS for segment in family.segments.of(xorb.hash)]
        removed = family.keeping().remove(MODEL)
        assert removed.freed_bytes == len(BASE.content) + size_of(chunks(BASE) - chunks(TUNED))
        for fd in fds:
            assert fd is not None
            os.close(fd)
        check(family, TUNED, ODD)

    def test_a_file_that_is_being_fetched_goes_when_idle(self, house: House) -> None:
        house.put_xet(XORBS, TUNED)
        house.index.put_reconstruction(ODD.file_id, ODD.etag, len(ODD.content), ODD.terms, ODD.needs, 1.0)
        house.index.put_files(MODEL, FIRST, [FileEntry("odd", ODD.etag, 1)])  # type: ignore[arg-type]
        ((xorb, (one,)),) = ODD.needs.items()
        lead = house.segments.try_lead(house.segments.missing(xorb, one.first, one.end, one.span)[0])
        assert lead is not None
        lead.append(b"xyz")
        removed = house.keeping().remove(MODEL)
        assert (removed.freed_bytes, removed.filling) == (0, 1)
        assert not house.index.mark_verified(ODD.file_id, ODD.etag, 2.0)
        lead.close()
        collected = settled(house).collect(Ages(unneeded_seconds=-1e10))
        assert collected == Collected(freed_bytes=3)
        check(house, TUNED)

    def test_what_is_pinned_is_not_removed(self, family: House) -> None:
        family.index.pin(MODEL, None, 1.0)
        with pytest.raises(StoreError, match="unpin"):
            family.keeping().remove(MODEL)
        check(family, *ALL)


class TestVerification:
    def outcomes(self, house: House) -> dict[str, str]:
        house.now += 10
        return {checked.etag: checked.outcome for checked in house.keeping().verify()}

    def test_every_file_is_read_whole(self, family: House) -> None:
        read: list[int] = []
        checked = list(family.keeping().verify(threads=2, progress=read.append))
        assert {(one.etag, one.size_bytes, one.outcome) for one in checked} == {
            (file.etag, len(file.content), "right") for file in ALL
        }
        assert sum(read) == sum(len(file.content) for file in ALL)
        family.now += 10
        assert list(family.keeping().verify(verified_before=family.now - 10)) == []

    @pytest.mark.parametrize("at", [0, 4, 9, -1])
    def test_a_wrong_byte_costs_only_the_files_and_chunks_that_have_it(self, family: House, at: int) -> None:
        path = path_of(family, 1, 0)  # of BASE alone
        data = bytearray(path.read_bytes())
        data[at] ^= 0x55
        path.write_bytes(data)
        assert self.outcomes(family) == {BASE.etag: "wrong", TUNED.etag: "right", ODD.etag: "right"}
        assert family.chunks_here(XORBS) == chunks(TUNED, ODD)
        assert family.read_xet(TUNED.file_id) == TUNED.content
        assert family.index.get_reconstruction(BASE.file_id) is None
        notes = [json.loads(note.read_text()) for note in family.layout.quarantine_dir.glob("*.json")]
        assert all(note["why"] for note in notes)
        assert bytes(data) in [one.read_bytes() for one in family.layout.quarantine_dir.glob("*[0-9]")]
        family.put_xet(XORBS, BASE)
        check(family, *ALL)

    def test_a_wrong_byte_that_files_share_costs_each_of_them(self, family: House) -> None:
        path = path_of(family, 0, 0)
        data = bytearray(path.read_bytes())
        data[12] ^= 1
        path.write_bytes(data)
        assert self.outcomes(family) == {BASE.etag: "wrong", TUNED.etag: "wrong", ODD.etag: "right"}
        check(family, ODD)
        for file in (TUNED, BASE):
            family.put_xet(XORBS, file)
        check(family, *ALL)

    def test_who_was_not_asked_and_has_the_wrong_byte_too_is_doubted(self, family: House) -> None:
        family.now += 10
        family.index.mark_verified(BASE.file_id, BASE.etag, family.now)
        path = path_of(family, 0, 0)
        data = bytearray(path.read_bytes())
        data[12] ^= 1
        path.write_bytes(data)
        family.now += 10
        checked = {one.etag: one.outcome for one in family.keeping().verify(verified_before=family.now - 10)}
        assert checked == {TUNED.etag: "wrong", ODD.etag: "right"}
        assert family.read_xet(BASE.file_id) is None
        assert family.index.get_reconstruction(BASE.file_id) is not None
        family.put_xet(XORBS, BASE)
        assert family.read_xet(BASE.file_id) == BASE.content

    def test_right_chunks_in_the_wrong_order_are_wrong(self, house: House) -> None:
        swapped = xet_content(XORBS, [(1, 8, 9), (1, 8, 12)])
        assert house.index.put_reconstruction(
            ODD.file_id, ODD.etag, len(ODD.content), swapped.terms, swapped.needs, 1.0
        )
        house.contents[ODD.etag] = b""
        other = xet_content(XORBS, [(1, 10, 12)])
        house.put_xet(XORBS, other)
        for xorb, ranges in ODD.needs.items():
            for one in ranges:
                for segment in house.segments.missing(xorb, one.first, one.end, one.span):
                    lead = house.segments.try_lead(segment)
                    assert lead is not None
                    lead.append(XORBS[1].data[segment.span.start : segment.span.end])
                    lead.close()
        house.index.mark_verified(ODD.file_id, ODD.etag, 2.0)
        house.now += 10
        right, wrong = house.keeping().verify()
        assert (right.etag, right.outcome) == (other.etag, "right")
        assert (wrong.etag, wrong.outcome) == (ODD.etag, "wrong")
        assert wrong.why == f"its 5 chunks hash to {swapped.file_id}"
        assert house.read_xet(other.file_id) == other.content
        assert house.chunks_here(XORBS) == chunks(other)

    def test_a_lie_about_the_sha256_is_found(self, house: House) -> None:
        house.put_xet(XORBS, ODD)
        house.index.mark_verified(ODD.file_id, BASE.etag, house.now)
        house.now += 10
        (checked,) = house.keeping().verify()
        assert (checked.etag, checked.outcome) == (BASE.etag, "wrong")
        assert ODD.etag in checked.why

    def test_lost_chunks_are_fetched_and_proven_again(self, family: House) -> None:
        path_of(family, 1, 5).unlink()  # of TUNED alone
        assert self.outcomes(family) == {BASE.etag: "right", TUNED.etag: "gone", ODD.etag: "right"}
        assert family.read_xet(TUNED.file_id) is None
        family.put_xet(XORBS, TUNED)
        check(family, *ALL)

    def test_stopped_it_leaves_the_rest_for_the_next_time(self, family: House) -> None:
        family.now += 10
        began = family.now
        verifying = family.keeping().verify(verified_before=began, threads=1)
        first = next(verifying)
        verifying.close()
        rest = {one.etag for one in family.keeping().verify(verified_before=began)}
        assert first.etag not in rest
        assert len(rest) <= 2
        check(family, *ALL)


class TestCollection:
    def test_a_tidy_store_is_left_alone(self, family: House) -> None:
        assert settled(family).collect(Ages(unneeded_seconds=0.0)) == Collected()
        check(family, *ALL)

    def test_chunks_that_nobody_needs_go_after_a_while(self, family: House) -> None:
        family.index.drop_reconstruction(BASE.file_id)
        for path in family.layout.xorbs_dir.rglob("*-*"):
            os.utime(path, (family.now - 3000, family.now - 3000))
        assert settled(family).collect(Ages(unneeded_seconds=3001)) == Collected()
        collected = settled(family).collect(Ages(unneeded_seconds=2999))
        assert collected == Collected(freed_bytes=size_of(chunks(BASE) - chunks(TUNED)))
        check(family, TUNED, ODD)

    def test_after_the_index_is_lost_chunks_wait_for_being_told_whose_they_are(self, family: House) -> None:
        for file in ALL:
            family.index.drop_reconstruction(file.file_id)
        for path in family.layout.xorbs_dir.rglob("*-*"):
            os.utime(path, (1.0, 1.0))
        assert family.index.was_created
        assert family.keeping().collect() == Collected()
        assert settled(family).collect() == Collected()
        family.put_xet(XORBS, BASE)
        check_chunks = family.chunks_here(XORBS)
        assert check_chunks == chunks(*ALL)
        family.now += 90_000
        settled(family).collect()
        check(family, BASE)

    def test_files_that_nobody_continued_are_forgotten(self, family: House) -> None:
        family.index.mark_unverified(ODD.file_id)
        family.index.touch_reconstructions({ODD.file_id: family.now})
        family.now += 1000
        assert settled(family).collect(Ages(partial_idle_seconds=1001)) == Collected()
        collected = settled(family).collect(Ages(partial_idle_seconds=999))
        assert collected == Collected(freed_bytes=size_of(chunks(ODD)), unproven=1)
        check(family, BASE, TUNED)

    def test_a_file_that_lost_chunks_is_doubted(self, family: House) -> None:
        path_of(family, 1, 5).unlink()
        assert settled(family).collect().doubted == 1
        assert family.read_xet(TUNED.file_id) is None
        assert family.read_xet(BASE.file_id) == BASE.content
        family.put_xet(XORBS, TUNED)
        check(family, *ALL)

    def test_leftovers_go(self, family: House) -> None:
        folder = path_of(family, 0, 0).parent
        (folder / "0-1_0-10.cut").write_bytes(b"12345")
        (folder / f"{path_of(family, 0, 0).name}.lead").write_bytes(b"")
        collected = settled(family).collect()
        assert collected == Collected(freed_bytes=5, leftovers=2)
        check(family, *ALL)


class TestDiscarding:
    def test_a_file_that_proved_wrong_takes_no_chunk_of_a_verified_one_along(self, family: House) -> None:
        family.index.mark_unverified(BASE.file_id)
        freed = discard(family.segments, family.index, BASE.file_id).freed_bytes
        assert freed == size_of(chunks(BASE) - chunks(TUNED))
        check(family, TUNED, ODD)

    def test_in_doubt_whoever_shares_with_it_is_proven_again(self, family: House) -> None:
        family.index.mark_unverified(BASE.file_id)
        discard(family.segments, family.index, BASE.file_id, doubt=True)
        assert family.read_xet(TUNED.file_id) is None
        assert not family.chunks_here(XORBS) & chunks(BASE)
        family.put_xet(XORBS, TUNED)
        check(family, TUNED)


class TestUsage:
    def test_logical_stored_and_saved_bytes(self, family: House) -> None:
        family.list(OTHER, FIRST, odd=ODD.etag, again=ODD.etag)
        blob = family.seal(b"x" * 1000)
        family.list(MODEL, FIRST, readme=blob)
        usage = family.keeping().usage()
        base, tuned = usage.repos if usage.repos[0].repo == MODEL else reversed(usage.repos)
        assert (base.files, base.logical_bytes) == (2, len(BASE.content) + 1000)
        assert base.stored_bytes == size_of(chunks(BASE)) + 1000
        assert base.own_bytes == size_of(chunks(BASE) - chunks(TUNED)) + 1000
        assert base.saved_bytes == base.logical_bytes - base.stored_bytes
        assert (tuned.files, tuned.logical_bytes) == (3, len(TUNED.content) + 2 * len(ODD.content))
        assert tuned.stored_bytes == size_of(chunks(TUNED, ODD))
        assert tuned.own_bytes == size_of(chunks(TUNED, ODD) - chunks(BASE))
        assert (usage.xet_files, usage.blobs, usage.blob_bytes) == (3, 1, 1000)
        assert usage.xorb_bytes == size_of(chunks(*ALL))
        assert usage.logical_bytes == base.logical_bytes + tuned.logical_bytes
        assert usage.stored_bytes == size_of(chunks(*ALL)) + 1000
        assert usage.unlisted_bytes == 0
        assert usage.saved_bytes == usage.logical_bytes - usage.stored_bytes

    def test_a_second_copy_is_stored_and_not_logical(self, family: House) -> None:
        before = family.keeping().usage()
        family.blobs.add(BASE.etag, len(BASE.content), iter([BASE.content]))
        family.index.put_blob(BASE.etag, len(BASE.content), family.now)
        after = family.keeping().usage()
        assert after.logical_bytes == before.logical_bytes
        assert after.stored_bytes == before.stored_bytes + len(BASE.content)
        assert after.saved_bytes == before.saved_bytes - len(BASE.content)

    def test_what_is_in_no_listing_is_told_apart(self, family: House) -> None:
        usage = family.keeping().usage()
        assert usage.unlisted_bytes == size_of(chunks(*ALL) - chunks(BASE, TUNED))
        assert usage.saved_bytes == usage.logical_bytes - size_of(chunks(BASE, TUNED))
