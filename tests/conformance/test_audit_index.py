"""The rows of the audit log and of recalls, on every driver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.core.names import CommitHash, RepoId
from moongate.store.index import Added, AuditHead, AuditRow, AuditSearch, Index, RecallRow

REPO = RepoId("model", "acme/tiny")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/index.sqlite3"
    create: Callable[[], str] = request.getfixturevalue("postgres_database")
    return create()


@pytest.fixture
def index(where: str) -> Iterator[Index]:
    with Index(where) as opened:
        yield opened


def _rows(
    head: AuditHead, count: int, *, kind: str = "file.deliver", actor: str = "ada", digest: str | None = None
) -> list[AuditRow]:
    return [
        AuditRow(
            seq,
            float(seq),
            kind,
            actor,
            "models/acme/tiny",
            digest,
            b"line %d" % seq,
            bytes([seq % 256]) * 32,
        )
        for seq in range(head.seq + 1, head.seq + 1 + count)
    ]


def test_a_log_begins_empty(index: Index) -> None:
    assert index.audit_head() == AuditHead(0, bytes(32), 0, 0.0)
    assert (index.audit_bounds(), index.audit_after(0, 10), index.audit_checkpoints()) == ((0, 0), [], [])


def test_lines_follow_the_head(index: Index) -> None:
    head = index.add_audit(lambda head: Added(_rows(head, 3)))
    assert (head.seq, head.hash) == (3, b"\x03" * 32)
    head = index.add_audit(lambda head: Added(_rows(head, 2), (5, "signed", 9.0)))
    assert head == AuditHead(5, b"\x05" * 32, 5, 9.0) == index.audit_head()
    assert [row.seq for row in index.audit_after(1, 3)] == [2, 3, 4]
    assert index.audit_after(4, 3) == _rows(AuditHead(4, b"", 0, 0.0), 1)
    assert index.audit_checkpoints() == [(5, "signed")]
    assert index.audit_bounds() == (1, 5)


def test_nothing_is_added_when_the_maker_fails(index: Index) -> None:
    def fail(head: AuditHead) -> Added:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        index.add_audit(fail)
    assert index.audit_bounds() == (0, 0)


def test_many_writers_make_one_sequence(where: str) -> None:
    """Each has an index of its own, as processes and replicas have."""
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with Index(where) as mine:
                for _ in range(20):
                    mine.add_audit(lambda head: Added(_rows(head, 5)))
        except BaseException as error:  # noqa: BLE001 - told by the assertion
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Index(where) as index:
        assert [row.seq for row in index.audit_after(0, 1000)] == list(range(1, 401))
        assert index.audit_head().seq == 400


def test_searching(index: Index) -> None:
    index.add_audit(lambda head: Added(_rows(head, 3, digest="a" * 64)))
    index.add_audit(lambda head: Added(_rows(head, 3, kind="file.deny", actor="bob")))

    def found(wanted: AuditSearch, before: int = 1 << 60, count: int = 10) -> list[int]:
        return [row.seq for row in index.search_audit(wanted, before, count)]

    assert found(AuditSearch()) == [6, 5, 4, 3, 2, 1]
    assert found(AuditSearch(), before=4, count=2) == [3, 2]
    assert found(AuditSearch(kind="file.deny")) == [6, 5, 4]
    assert found(AuditSearch(digest="a" * 64)) == [3, 2, 1]
    assert found(AuditSearch(actor="bob", kind="file.deliver")) == []
    assert found(AuditSearch(repo="models/acme/tiny", since=2.0, until=5.0)) == [4, 3, 2]
    assert found(AuditSearch(repo="models/acme/other")) == []


def test_dropping_leaves_the_head(index: Index) -> None:
    index.add_audit(lambda head: Added(_rows(head, 6)))
    assert index.drop_audit(4) == 4
    assert (index.audit_bounds(), index.audit_head().seq) == ((5, 6), 6)
    assert index.add_audit(lambda head: Added(_rows(head, 1))).seq == 7


def test_recalls_stand_until_they_are_undone(where: str, index: Index) -> None:
    content = RecallRow("r1", "a" * 64, None, None, "poisoned", "ada", 1.0)
    commit = RecallRow("r2", None, REPO, CommitHash("c" * 40), "wrong licence", "bob", 2.0)
    index.put_recall(commit)
    index.put_recall(content)
    with Index(where) as other:
        assert other.standing_recalls() == [content, commit]
        assert other.undo_recall("r1", "carol", 3.0)
        assert not other.undo_recall("r1", "carol", 4.0)
    assert index.standing_recalls() == [commit]
    undone = index.get_recall("r1")
    assert undone is not None
    assert (undone.undone_by, undone.undone_at) == ("carol", 3.0)
    assert [recall.id for recall in index.recalls()] == ["r1", "r2"]
    assert index.get_recall("r9") is None
