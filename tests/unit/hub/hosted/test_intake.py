"""Large files come in one go or in parts, whole and right, or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, MoongateError, RepoAbsent, StoreFull
from moongate.core.names import RepoId, RepoPath
from moongate.hub.hosted.intake import Upload
from moongate.hub.hosted.repositories import NewRepo
from moongate.hub.hosted.rules import HostedRules
from moongate.wire.commit_lines import PutLfs
from moongate.wire.lfs import LfsPointed
from support.hosting import ALICE, BOB, HostingHouse

PART = 1000
CONTENT = bytes(range(251)) * 14  # 3514 bytes: four parts
ETAG = Etag(hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[HostingHouse]:
    house = HostingHouse(tmp_path, HostedRules(namespaces=("acme",), part_bytes=PART))
    yield house
    house.close()


def asked(house: HostingHouse, *, in_parts: bool = True) -> Upload | MoongateError | None:
    """How the content is to be sent."""
    (told,) = house.intake.ask(house.row, [LfsPointed(ETAG, len(CONTENT))], ALICE, in_parts=in_parts)
    return told[1]


def upload_of(house: HostingHouse, *, in_parts: bool = True) -> Upload:
    told = asked(house, in_parts=in_parts)
    assert isinstance(told, Upload)
    return told


def send_part(house: HostingHouse, upload: Upload, number: int, content: bytes = CONTENT) -> None:
    with house.intake.part(upload, number) as file:
        file.write(content[(number - 1) * PART : number * PART])


def leftovers(house: HostingHouse) -> list[str]:
    return [path.name for path in house.layout.uploads_dir.iterdir()]


def test_in_one_go(house: HostingHouse) -> None:
    with house.intake.whole(upload_of(house, in_parts=False)) as file:
        file.write(CONTENT[:100])
        file.write(CONTENT[100:])
    assert house.layout.blob(ETAG).read_bytes() == CONTENT
    assert asked(house) is None  # nothing more is to be sent
    assert leftovers(house) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"?" + CONTENT[1:]])
def test_what_is_not_the_object_is_not_kept(house: HostingHouse, content: bytes) -> None:
    with pytest.raises(BadRequest), house.intake.whole(upload_of(house, in_parts=False)) as file:
        file.write(content)
    assert house.blobs.size_bytes(ETAG) is None
    assert leftovers(house) == []
    assert asked(house) is not None


def test_what_breaks_off_leaves_nothing(house: HostingHouse) -> None:
    def send_and_leave() -> None:
        with house.intake.whole(upload_of(house, in_parts=False)) as file:
            file.write(CONTENT[:10])
            raise ConnectionError

    with pytest.raises(ConnectionError):
        send_and_leave()
    assert leftovers(house) == []


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 2, 1, 3), (1, 2, 2, 1, 3, 4)])
def test_in_parts_whatever_their_order(house: HostingHouse, order: tuple[int, ...]) -> None:
    upload = upload_of(house)
    assert upload.part_count == 4
    for number in order:
        send_part(house, upload, number)
    house.intake.complete(upload)
    house.intake.complete(upload)  # the answer may have been lost
    assert house.layout.blob(ETAG).read_bytes() == CONTENT
    assert leftovers(house) == []
    house.commit(PutLfs(RepoPath("w.bin"), ETAG, len(CONTENT)))
    house.intake.complete(upload)


def test_parts_outlive_the_process(house: HostingHouse) -> None:
    upload = upload_of(house)
    send_part(house, upload, 1)
    send_part(house, upload, 3)
    again = house.reopened()
    for number in (2, 4):
        send_part(again, upload, number)
    again.intake.complete(upload)
    again.close()
    assert house.layout.blob(ETAG).read_bytes() == CONTENT


def test_missing_parts_are_told(house: HostingHouse) -> None:
    upload = upload_of(house)
    send_part(house, upload, 1)
    with pytest.raises(BadRequest, match="3 of 4"):
        house.intake.complete(upload)
    for number in (2, 3, 4):
        send_part(house, upload, number)
    house.intake.complete(upload)


def test_parts_that_are_another_object_are_given_up(house: HostingHouse) -> None:
    upload = upload_of(house)
    for number in (1, 2, 3, 4):
        send_part(house, upload, number, b"?" * len(CONTENT))
    with pytest.raises(BadRequest):
        house.intake.complete(upload)
    assert house.blobs.size_bytes(ETAG) is None
    assert leftovers(house) == []
    for number in (1, 2, 3, 4):
        send_part(house, upload, number)
    house.intake.complete(upload)


@pytest.mark.parametrize(("number", "size"), [(1, PART - 1), (4, PART), (5, 10), (0, 10)])
def test_a_part_that_cannot_be(house: HostingHouse, number: int, size: int) -> None:
    upload = upload_of(house)
    with pytest.raises(BadRequest), house.intake.part(upload, number) as file:
        file.write(b"x" * size)


def test_nobody_writes_into_anothers_upload(house: HostingHouse) -> None:
    mine = upload_of(house)
    (told,) = house.intake.ask(house.row, [LfsPointed(ETAG, len(CONTENT))], BOB, in_parts=True)
    assert isinstance(told[1], Upload)
    assert told[1].name != mine.name


def test_what_one_reads_elsewhere_is_not_sent_again(house: HostingHouse) -> None:
    other = house.repos.repositories.create(NewRepo(RepoId("model", "acme/other")), ALICE)
    etag = house.upload(CONTENT, row=other)
    house.commit(PutLfs(RepoPath("w.bin"), etag, len(CONTENT)), row=other)
    assert asked(house) is None
    house.commit(PutLfs(RepoPath("w.bin"), etag, len(CONTENT)))


def test_a_size_that_is_not_the_objects_is_refused(house: HostingHouse) -> None:
    house.put_large("w.bin", CONTENT)
    (told,) = house.intake.ask(house.row, [LfsPointed(ETAG, 5)], ALICE, in_parts=True)
    assert isinstance(told[1], BadRequest)


def test_a_repository_that_goes_meanwhile(house: HostingHouse) -> None:
    upload = upload_of(house)
    for number in (1, 2, 3, 4):
        send_part(house, upload, number)
    house.repos.repositories.delete(house.row)
    with pytest.raises(RepoAbsent):
        house.intake.complete(upload)
    assert house.blobs.size_bytes(ETAG) is None


def test_a_full_disk_refuses_and_keeps_what_was_there(
    house: HostingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = house.put_large("kept.bin", b"kept").commit_hash

    def no_room(incoming_bytes: int) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(house.repos.contents, "make_room", no_room)
    with pytest.raises(StoreFull), house.intake.whole(upload_of(house, in_parts=False)):
        pass
    with pytest.raises(StoreFull):
        house.put({"a.txt": b"1"})
    assert house.head == kept
    assert leftovers(house) == []


def test_idle_parts_go_by_age(house: HostingHouse) -> None:
    upload = upload_of(house)
    send_part(house, upload, 1)
    house.keeping().collect()
    assert len(leftovers(house)) == 1
    os.utime(house.layout.uploads_dir / leftovers(house)[0], (1.0, 1.0))
    house.now += 10 * 86_400
    house.keeping().collect()
    assert leftovers(house) == []
    assert house.index.parts(upload.name) == []


class TestKeeping:
    def test_hosted_content_is_never_evicted(self, house: HostingHouse) -> None:
        committed = house.put_large("w.bin", CONTENT)
        waiting = house.upload(b"waiting for its commit")
        evicted = house.keeping(quota_bytes=1).evict()
        assert evicted.over_bytes > 0
        assert house.blobs.size_bytes(ETAG) == len(CONTENT)
        assert house.blobs.size_bytes(waiting) is not None
        assert house.head == committed.commit_hash

    def test_a_deleted_repository_frees_its_content_at_the_next_collection(self, house: HostingHouse) -> None:
        house.put_large("w.bin", CONTENT)
        house.repos.repositories.delete(house.row)
        collected = house.keeping().collect()
        assert collected.freed_bytes >= len(CONTENT)
        assert house.index.blob_count() == 0

    def test_content_that_another_repository_has_stays(self, house: HostingHouse) -> None:
        house.put_large("w.bin", CONTENT)
        copy = house.repos.repositories.duplicate(house.row, NewRepo(RepoId("model", "acme/copy")), ALICE)
        house.repos.repositories.delete(house.row)
        house.keeping().collect()
        assert house.blobs.size_bytes(ETAG) == len(CONTENT)
        house.repos.repositories.delete(copy)
        house.keeping().collect()
        assert house.blobs.size_bytes(ETAG) is None

    def test_verification_finds_what_is_wrong_and_what_is_lost(self, house: HostingHouse) -> None:
        house.put_large("w.bin", CONTENT)
        other = house.upload(b"lost")
        house.commit(PutLfs(RepoPath("v.bin"), other, 4))
        house.layout.blob(ETAG).write_bytes(b"?" * len(CONTENT))
        house.layout.blob(other).unlink()
        wrong = {one.etag: one.why for one in house.keeping().verify() if one.outcome == "wrong"}
        assert wrong.keys() == {ETAG, other}
        assert "lost" in wrong[other]
        assert (
            "lost" in {one.etag: one.why for one in house.keeping().verify() if one.outcome == "wrong"}[ETAG]
        )
        assert asked(house) is not None  # it can be sent again
        house.upload(CONTENT)
        house.upload(b"lost")
        assert [one for one in house.keeping().verify() if one.outcome == "wrong"] == []
