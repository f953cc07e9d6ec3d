"""Removal frees what nobody else lists, at once, and can be finished after it was cut short."""

from __future__ import annotations

import os

import pytest

from moongate.core.digests import Etag
from moongate.core.errors import RepoAbsent, RevisionAbsent, StoreError
from moongate.core.names import CommitHash, RepoId, Revision
from moongate.store.index import StoredAnswer
from moongate.store.keeping import Removed
from moongate.store.keeping.partials import partial_files
from moongate.store.partial import Partial
from store_house import House

MODEL, OTHER = RepoId("model", "acme/tiny"), RepoId("model", "acme/other")
FIRST, SECOND = "1" * 40, "2" * 40
MAIN = Revision("main")


@pytest.fixture
def contents(house: House) -> dict[str, Etag]:
    """`shared` is also OTHER's, `both` is in both commits, `old` and `new` in one."""
    etags = {name: house.seal(name.encode() * 10) for name in ("shared", "both", "old", "new")}
    house.list(MODEL, FIRST, a=etags["shared"], b=etags["both"], c=etags["old"])
    house.list(MODEL, SECOND, a=etags["shared"], b=etags["both"], c=etags["new"])
    house.list(OTHER, FIRST, z=etags["shared"])
    house.index.put_ref(MODEL, MAIN, CommitHash(SECOND), 1.0)
    house.index.put_answer(f"info:{FIRST}", MODEL, StoredAnswer(200, {}, b"{}", 1.0))
    return etags


def test_a_repository(house: House, contents: dict[str, Etag]) -> None:
    removed = house.keeping().remove(MODEL)
    assert removed == Removed(freed_bytes=40 + 30 + 30, kept_bytes=60, blobs=3, kept_blobs=1)
    assert house.here() == {contents["shared"]}
    assert house.index.repos() == [OTHER]
    assert house.index.get_answer(f"info:{FIRST}") is None
    with pytest.raises(RepoAbsent):
        house.keeping().remove(MODEL)


@pytest.mark.parametrize("revision", ["main", SECOND])
def test_a_revision(house: House, contents: dict[str, Etag], revision: str) -> None:
    removed = house.keeping().remove(MODEL, Revision(revision))
    assert removed == Removed(freed_bytes=30, kept_bytes=100, blobs=1, kept_blobs=2)
    assert house.here() == {contents[name] for name in ("shared", "both", "old")}
    assert house.index.commits_of(MODEL) == [FIRST]
    assert house.index.refs_of(MODEL) == {}
    assert house.index.get_answer(f"info:{FIRST}") is not None
    with pytest.raises(RevisionAbsent, match="main"):
        house.keeping().remove(MODEL, MAIN)


def test_readers_do_not_hold_it_up_and_end_on_what_they_have(house: House, contents: dict[str, Etag]) -> None:
    fd = house.blobs.open(contents["old"])
    assert fd is not None
    house.keeping().remove(MODEL)
    assert house.blobs.open(contents["old"]) is None
    assert os.read(fd, 100) == b"old" * 10
    os.close(fd)


def test_partials_go_too_unless_they_are_filling(house: House) -> None:
    etags = [Etag(f"{number:064x}") for number in (1, 2)]
    idle, growing = (Partial.open(house.layout, etag, 5000) for etag in etags)
    assert idle is not None
    assert growing is not None
    idle.write(0, memoryview(b"x" * 5000))
    idle.close()
    house.contents.update(dict.fromkeys(etags, b"x" * 5000))
    house.list(MODEL, FIRST, a=etags[0], b=etags[1])
    removed = house.keeping().remove(MODEL)
    assert removed.filling == 1
    assert removed.freed_bytes >= 5000
    assert [partial.etag for partial in partial_files(house.layout)] == [etags[1]]
    growing.close()


@pytest.mark.parametrize("pinned", [None, MAIN, Revision(SECOND)])
def test_what_is_pinned_is_not_removed(
    house: House, contents: dict[str, Etag], pinned: Revision | None
) -> None:
    house.index.pin(MODEL, pinned, 1.0)
    for revision in (None, MAIN, Revision(SECOND)):
        with pytest.raises(StoreError, match="unpin it first"):
            house.keeping().remove(MODEL, revision)
    assert house.here() == set(contents.values())


def test_a_pin_of_another_revision_is_no_obstacle(house: House, contents: dict[str, Etag]) -> None:
    house.index.pin(MODEL, MAIN, 1.0)
    house.keeping().remove(MODEL, Revision(FIRST))
    assert house.here() == {contents[name] for name in ("shared", "both", "new")}


def test_cut_short_it_is_finished_by_asking_again(
    house: House, contents: dict[str, Etag], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(house.index, "drop_repo", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            house.keeping().remove(MODEL)
    assert house.here() == {contents["shared"]}
    assert house.keeping().remove(MODEL) == Removed(kept_bytes=60, kept_blobs=1)
    assert house.index.repos() == [OTHER]


def _interrupt(_repo: RepoId) -> None:
    raise KeyboardInterrupt
