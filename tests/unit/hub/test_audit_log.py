"""The audit log: what is acknowledged is there, logs share one chain, checkpoints come and are signed."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moongate.core.errors import BadRequest, StoreError
from moongate.core.names import RepoId
from moongate.hub.audit import SYSTEM, Actor, AuditEvent
from moongate.hub.audit_checkpoint import Checkpoint, exporter, read_checkpoint, read_checkpoints
from moongate.hub.audit_line import read_line
from moongate.hub.audit_log import CHECKPOINT_LINES, AuditLog
from moongate.hub.audit_verify import verify_index
from moongate.store.index import Added, AuditHead, Index
from moongate.store.signing_key import PublicKey, SigningKey

ADA = Actor("ada", "token", "3f9a1c", "10.0.0.9", "hf/2")
TOKEN = "hf_" + "S3cret" * 8


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "index.sqlite3") as opened:
        yield opened


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.of_home(tmp_path, "audit")


@pytest.fixture
def log(index: Index, key: SigningKey) -> Iterator[AuditLog]:
    opened = AuditLog(index, lambda: key)
    yield opened
    opened.close()


def _event(**more: object) -> AuditEvent:
    return AuditEvent("file.deny", ADA, RepoId("model", "acme/tiny"), **more)  # type: ignore[arg-type]


class _Full:
    """An index whose disk is full while `full` holds."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.full = True

    def audit_head(self) -> AuditHead:
        return self.index.audit_head()

    def add_audit(self, make: Callable[[AuditHead], Added]) -> AuditHead:
        if self.full:
            raise StoreError("the disk is full")
        return self.index.add_audit(make)


def test_what_is_recorded_is_there(log: AuditLog, index: Index) -> None:
    log.record(_event(path="weights.bin", digest="a" * 64, reason="dangerous", details={"bytes": 3}, at=1.5))
    (row,) = index.audit_after(0, 10)
    told = read_line(row.line)
    assert told == {
        "v": 1,
        "seq": 1,
        "prev": "0" * 64,
        "at": "1970-01-01T00:00:01.500000Z",
        "kind": "file.deny",
        "actor": {"name": "ada", "kind": "token", "token": "3f9a1c", "address": "10.0.0.9", "agent": "hf/2"},
        "repo": "models/acme/tiny",
        "path": "weights.bin",
        "digest": "a" * 64,
        "reason": "dangerous",
        "details": {"bytes": 3},
    }
    assert (row.actor, row.repo, row.digest, row.at) == ("ada", "models/acme/tiny", "a" * 64, 1.5)


async def test_an_event_loop_waits_for_its_line(log: AuditLog, index: Index) -> None:
    await log.recorded(_event())
    assert index.audit_head().seq == 1


def test_noted_lines_are_written_when_the_log_is_closed(log: AuditLog, index: Index) -> None:
    for _ in range(5000):
        log.note(_event())
    log.close()
    assert index.audit_head().seq == 5000


def test_after_the_end_nothing_is_acknowledged(log: AuditLog) -> None:
    log.close()
    with pytest.raises(StoreError, match="closed"):
        log.record(_event())


def test_several_logs_make_one_chain(tmp_path: Path, key: SigningKey) -> None:
    def work() -> None:
        with Index(tmp_path / "index.sqlite3") as mine:
            log = AuditLog(mine, lambda: key)
            for _ in range(30):
                log.note(_event())
                log.record(_event())
            log.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Index(tmp_path / "index.sqlite3") as index:
        found = verify_index(index, [key.public])
        assert (found.problems, found.lines) == ([], 240)


def test_a_line_can_be_checked_with_nothing_but_sha256(log: AuditLog, index: Index) -> None:
    log.record(_event())
    log.record(_event())
    first, second = index.audit_after(0, 2)
    assert read_line(second.line)["prev"] == hashlib.sha256(first.line).hexdigest()


def test_no_token_gets_into_a_line(log: AuditLog, index: Index) -> None:
    log.record(
        AuditEvent(
            "token.refuse",
            Actor(TOKEN, "token", address="10.0.0.9", agent=f"curl Bearer {TOKEN}"),
            path=f"a/{TOKEN}.bin",
            reason=f"{TOKEN} is unknown",
            subject=f"Bearer abcdef{TOKEN}",
            details={"header": f"Basic {TOKEN}", "list": [TOKEN, {TOKEN: TOKEN}]},
        )
    )
    (row,) = index.audit_after(0, 10)
    assert TOKEN.encode() not in row.line
    assert b"S3cret" not in row.line
    assert "S3cret" not in row.actor


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "💥" * 5000, "\x1b[31m"])
def test_odd_text_makes_a_line_all_the_same(log: AuditLog, index: Index, key: SigningKey, text: str) -> None:
    log.record(_event(path=text, reason=text, digest=text, details={"text": text, "huge": 1 << 80}))
    assert verify_index(index, [key.public]).problems == []


def test_a_checkpoint_comes_with_enough_lines(index: Index, key: SigningKey, tmp_path: Path) -> None:
    times = iter(range(10_000_000, 20_000_000))
    out = tmp_path / "out" / "checkpoints.jsonl"
    log = AuditLog(index, lambda: key, export=exporter(str(out)), now=lambda: float(next(times)) / 1000)
    for _ in range(CHECKPOINT_LINES * 5):
        log.note(_event())
    log.close()
    notes = [read_checkpoint(note) for _, note in index.audit_checkpoints()]
    assert notes
    assert all(note.is_signed_by(key.public) for note in notes)
    assert read_checkpoints(out) == notes
    assert verify_index(index, [key.public], read_checkpoints(out)).problems == []


def test_the_first_lines_get_a_checkpoint_at_once(log: AuditLog, index: Index) -> None:
    log.record(_event())
    assert [seq for seq, _ in index.audit_checkpoints()] == [1]


def test_a_checkpoint_when_asked(log: AuditLog, index: Index, key: SigningKey) -> None:
    assert log.checkpoint() is None
    for _ in range(3):
        log.record(_event())
    made = log.checkpoint()
    assert made is not None
    assert (made.seq, made.is_signed_by(key.public)) == (3, True)
    assert index.audit_head().checkpoint_seq == 3


def test_a_folder_gets_a_file_for_each_checkpoint(tmp_path: Path) -> None:
    take_out = exporter(f"{tmp_path}/folder/")
    made = [Checkpoint(seq, "00", "now", "key", "c2ln") for seq in (1, 2)]
    for checkpoint in made:
        take_out(checkpoint)
    assert len(list((tmp_path / "folder").iterdir())) == 2
    assert read_checkpoints(tmp_path / "folder") == made


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    for text in ("", "{}", '{"log":"moongate audit","v":1}', "[1]", "\x00"):
        with pytest.raises(BadRequest):
            read_checkpoint(text)


def test_a_full_disk_is_told_and_loses_nothing_that_was_noted(index: Index, key: SigningKey) -> None:
    shelf = _Full(index)
    log = AuditLog(shelf, lambda: key)
    log.note(_event(reason="noted"))
    with pytest.raises(StoreError, match="full"):
        log.record(_event(reason="recorded"))
    shelf.full = False
    log.record(_event(reason="later"))
    log.close()
    reasons = [read_line(row.line)["reason"] for row in index.audit_after(0, 10)]
    assert reasons == ["noted", "later"]


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    made = SigningKey.of_home(tmp_path / "home", "audit")
    again = SigningKey.of_home(tmp_path / "home", "audit")
    path = tmp_path / "home" / "audit.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert again.public.raw == made.public.raw
    assert PublicKey.read(tmp_path / "home" / "audit.pub").id == made.public.id
    path.write_text("nonsense")
    with pytest.raises(StoreError, match="damaged"):
        SigningKey.of_home(tmp_path / "home", "audit")


def test_the_gateway_itself_can_act(log: AuditLog, index: Index) -> None:
    log.record(AuditEvent("audit.start", SYSTEM))
    assert index.audit_after(0, 1)[0].actor == "moongate"
