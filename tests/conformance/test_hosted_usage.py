"""What hosted repositories take up, what they come from, and what retention lets go, on every driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.core.digests import Etag
from moongate.core.names import CommitHash, RepoId
from moongate.store.index import BaseModel, HostedBlob, HostedRow, Index, Landing

COMMIT = CommitHash("c" * 40)
BASE = RepoId("model", "upstream/base")


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    create: Callable[[], str] = (
        (lambda: f"sqlite:///{tmp_path}/index.sqlite3")
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_database")
    )
    with Index(create()) as opened:
        yield opened


def _repo(index: Index, name: str) -> HostedRow:
    row = index.add_hosted(RepoId("model", name), False, "alice", {}, 1.0)
    assert row is not None
    return row


def _blob(digit: str, size_bytes: int) -> HostedBlob:
    return HostedBlob(digit * 40, Etag(digit * 64), size_bytes)


def test_a_content_counts_once_in_a_namespace(index: Index) -> None:
    one, two, other = _repo(index, "Acme/one"), _repo(index, "Acme/two"), _repo(index, "else/one")
    index.land(one.number, Landing((), blobs=[_blob("a", 100), _blob("b", 20)]), 1.0)
    index.land(two.number, Landing((), blobs=[_blob("a", 100), _blob("c", 3)]), 1.0)
    index.land(other.number, Landing((), blobs=[_blob("a", 100)]), 1.0)
    assert index.namespace_bytes("acme") == 123
    assert index.namespace_bytes("ELSE") == 100
    assert index.namespace_bytes("nobody") == 0
    assert index.hosted_bytes(two.number) == 103
    assert (index.repo_count("acme"), index.repo_count("nobody")) == (2, 0)


def test_what_a_namespace_has_already(index: Index) -> None:
    one = _repo(index, "acme/one")
    many = [HostedBlob(f"{n:040x}", Etag(f"{n:064x}"), n) for n in range(250)]
    index.land(one.number, Landing((), blobs=many), 1.0)
    asked = [Etag(f"{n:064x}") for n in range(100, 400)]
    assert index.contents_in("acme", asked) == set(asked[:150])
    assert index.contents_in("else", asked) == set()
    assert index.sizes_in("acme", range(200, 500)) == set(range(200, 250))
    assert index.contents_in("acme", []) == set()


def test_what_was_let_go_keeps_its_meaning(index: Index) -> None:
    one = _repo(index, "acme/one")
    blob = _blob("a", 100)
    index.land(one.number, Landing((), blobs=[blob, _blob("b", 20)]), 1.0)
    assert index.release_blobs(one.number, [blob], 1.0, 2.0) == []  # a commit named it at that very moment
    assert index.release_blobs(one.number, [blob], 1.5, 2.0) == [blob]
    assert index.release_blobs(one.number, [blob], 1.5, 2.0) == []
    assert index.hosted_blob(one.number, blob.oid) is None
    assert index.released_blob(one.number, blob.oid) == blob
    assert index.namespace_bytes("acme") == 20
    assert index.holders(blob.etag) == []
    index.drop_hosted(one)
    assert index.released_blob(one.number, blob.oid) is None


def test_the_first_word_on_a_base_stays(index: Index) -> None:
    one = _repo(index, "acme/one")
    index.note_bases(one.number, COMMIT, [BaseModel(BASE, CommitHash("1" * 40), "finetune")], 1.0)
    index.note_bases(one.number, COMMIT, [BaseModel(BASE, CommitHash("2" * 40), "merge")], 2.0)
    assert index.base_models(one.number, COMMIT) == [BaseModel(BASE, CommitHash("1" * 40), "finetune")]
    assert index.base_models(one.number, CommitHash("d" * 40)) == []
    index.drop_hosted(one)
    assert index.base_models(one.number, COMMIT) == []
