"""Whatever is done to an audit log behind its back is found.

The one law, with a checkpoint at the end kept elsewhere: any change of any byte of any line, any line taken
out, put in, doubled or moved, any end cut off, any column beside a line changed, even when the tamperer makes
the rest of the chain, the head and the columns anew to fit, is a problem that `verify_index` tells.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from hypothesis import assume, given
from hypothesis import strategies as st

from moongate.core.names import RepoId
from moongate.hub.audit import Actor, AuditEvent
from moongate.hub.audit_checkpoint import Checkpoint, make_checkpoint
from moongate.hub.audit_line import NO_HASH, draft, row_of
from moongate.hub.audit_verify import verify_index
from moongate.store.index import AuditHead, AuditRow
from moongate.store.signing_key import Ed25519PrivateKey, SigningKey

KEY = SigningKey(Ed25519PrivateKey.generate())
_KINDS = ("file.deliver", "file.deny", "token.create", "policy.change")


@dataclass
class Log:
    """The rows of a log, as somebody may have left them."""

    rows: list[AuditRow]
    head: AuditHead
    notes: list[tuple[int, str]]

    def audit_head(self) -> AuditHead:
        return self.head

    def audit_after(self, seq: int, count: int) -> list[AuditRow]:
        return [row for row in sorted(self.rows, key=lambda row: row.seq) if row.seq > seq][:count]

    def audit_bounds(self) -> tuple[int, int]:
        numbers = [row.seq for row in self.rows]
        return min(numbers, default=0), max(numbers, default=0)

    def audit_checkpoints(self) -> list[tuple[int, str]]:
        return self.notes


def _log(count: int, every: int) -> tuple[Log, Checkpoint]:
    rows: list[AuditRow] = []
    notes: list[tuple[int, str]] = []
    before = NO_HASH
    last = make_checkpoint(1, NO_HASH, 1.0, KEY)
    for seq in range(1, count + 1):
        event = AuditEvent(
            _KINDS[seq % 4],
            Actor(f"user{seq % 3}", "token", f"id{seq}", "10.0.0.1"),
            RepoId("model", "acme/tiny"),
            digest=f"{seq % 5:064x}",
            at=1000.0 + seq,
        )
        row = draft(event, 0.0).row(seq, before)
        rows.append(row)
        before = row.hash
        if seq % every == 0 or seq == count:
            last = make_checkpoint(seq, row.hash, 2000.0, KEY)
            notes.append((seq, last.note()))
    return Log(rows, AuditHead(count, before, count, 2000.0), notes), last


def _rechained(rows: list[AuditRow]) -> list[AuditRow]:
    """What a tamperer without the key makes of the lines: numbers, hashes and columns that fit."""
    made: list[AuditRow] = []
    before = NO_HASH
    for seq, row in enumerate(rows, start=1):
        told = row.line
        for name, value in ((b'"prev":"', before.hex().encode()), (b'"seq":', b"%d" % seq)):
            start = told.index(name) + len(name)
            end = min(at for at in (told.find(b'"', start), told.find(b",", start)) if at >= 0)
            told = told[:start] + value + told[end:]
        made.append(replace(row_of(told), seq=seq))
        before = made[-1].hash
    return made


def test_an_untouched_log_is_sound() -> None:
    log, last = _log(40, 7)
    found = verify_index(log, [KEY.public], [last])
    assert (found.problems, found.lines, found.signed_to) == ([], 40, 40)


@given(st.data(), st.integers(2, 30), st.integers(1, 9), st.booleans())
def test_tampering_is_found(data: st.DataObject, count: int, every: int, is_thorough: bool) -> None:
    """`is_thorough`: the tamperer makes all fit again that needs no key, and drops the checkpoints inside."""
    log, last = _log(count, every)
    rows = list(log.rows)
    way = data.draw(st.sampled_from(["flip", "remove", "double", "swap", "cut", "insert"]))
    at = data.draw(st.integers(0, count - 1))
    if way == "flip":
        line = bytearray(rows[at].line)
        digit = data.draw(st.integers(line.index(b'"digest":"') + 10, line.index(b'"digest":"') + 73))
        line[digit] = ord("a") if line[digit] != ord("a") else ord("b")
        changed = bytes(line)
        fitting = row_of(changed) if is_thorough else replace(rows[at], line=changed)
        rows[at] = fitting
    elif way == "remove":
        del rows[at]
    elif way == "double":
        assume(not is_thorough or at < count - 1)  # behind the last it is a new line, not a changed log
        rows.insert(at, rows[at])
    elif way == "swap":
        other = data.draw(st.integers(0, count - 1).filter(lambda one: one != at))
        rows[at], rows[other] = rows[other], rows[at]
    elif way == "cut":
        rows = rows[:at]
    else:
        rows.insert(at, row_of(rows[at].line.replace(b"user", b"evil")))
    if is_thorough:
        rows = _rechained(rows)
        head = AuditHead(len(rows), rows[-1].hash if rows else NO_HASH, 0, 0.0)
        log = Log(rows, head, [])
    else:
        numbered = (
            rows
            if way in ("flip", "remove", "cut")
            else [replace(row, seq=n) for n, row in enumerate(rows, 1)]
        )
        log = Log(numbered, log.head, log.notes)
    assert verify_index(log, [KEY.public], [last]).problems != []


@given(st.integers(1, 20), st.sampled_from(["at", "kind", "actor", "repo", "digest"]))
def test_a_changed_column_is_found(count: int, column: str) -> None:
    log, _ = _log(count, 5)
    value: object = 7.0 if column == "at" else "other"
    log.rows[count // 2] = replace(log.rows[count // 2], **{column: value})  # type: ignore[arg-type]
    assert verify_index(log, [KEY.public]).problems != []


@given(st.integers(1, 20), st.integers(0, 255), st.data())
def test_any_changed_byte_of_a_line_is_found(count: int, byte: int, data: st.DataObject) -> None:
    log, _ = _log(count, 5)
    at = data.draw(st.integers(0, count - 1))
    line = bytearray(log.rows[at].line)
    place = data.draw(st.integers(0, len(line) - 1))
    if line[place] == byte:
        byte ^= 1
    line[place] = byte
    changed = bytes(line)
    log.rows[at] = replace(log.rows[at], line=changed, hash=hashlib.sha256(changed).digest())
    assert verify_index(log, [KEY.public]).problems != []


def test_a_front_taken_off_is_found_though_a_checkpoint_fits() -> None:
    log, last = _log(20, 5)
    log.rows = log.rows[5:]
    assert "archived" in verify_index(log, [KEY.public], [last]).problems[0].what


def test_a_checkpoint_of_another_key_or_with_a_changed_word_counts_for_nothing() -> None:
    log, last = _log(10, 5)
    stranger = SigningKey(Ed25519PrivateKey.generate())
    forged = make_checkpoint(10, log.head.hash, 2000.0, stranger)
    assert verify_index(log, [KEY.public], [forged]).problems != []
    assert verify_index(log, [KEY.public], [replace(last, at="never")]).problems != []
    assert verify_index(log, [KEY.public], [replace(forged, key=last.key)]).problems != []
