"""Attestations in the index, over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.core.attestations import Attestation
from moongate.core.names import CommitHash, RepoId
from moongate.store.index import Index

REPO, FIRST, SECOND = RepoId("model", "acme/tiny"), CommitHash("1" * 40), CommitHash("2" * 40)


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    if request.param == "sqlite":
        where = f"sqlite:///{tmp_path}/index.sqlite3"
    else:
        create: Callable[[], str] = request.getfixturevalue("postgres_database")
        where = create()
    with Index(where) as index:
        yield index


def test_statements_stay_with_their_commit(index: Index) -> None:
    signature = Attestation("model-signature", "release-team", 1.0, b'{"a": 1}')
    index.put_attestation(REPO, FIRST, signature)
    index.put_attestation(REPO, FIRST, signature)
    index.put_attestation(REPO, FIRST, Attestation("provenance", "moongate", 2.0, b"\0\xff"))
    assert [one.kind for one in index.attestations(REPO, FIRST)] == ["model-signature", "provenance"]
    assert index.attestations(REPO, SECOND) == []
    assert index.drop_attestation(REPO, FIRST, signature.body)
    assert not index.drop_attestation(REPO, FIRST, signature.body)
    assert [one.body for one in index.attestations(REPO, FIRST)] == [b"\0\xff"]
