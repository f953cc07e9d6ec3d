"""Whether a log is what was written: every line, their order, their number, and what was signed of them.

What is found, by what is at hand:

- the lines alone: a line that was changed, taken out, put in or moved, as long as what follows it was not
  made anew to fit; columns beside a line that say something else than the line
- lines taken off the front: unless a line says that they were archived
- the head's row: lines cut off the end, as long as the head was not changed to fit
- checkpoints: all of that, up to the last checkpoint, whoever changed what to fit and does not have the key
- checkpoints kept elsewhere: that the log was cut or made anew before one of them, by whoever has the key too

What came after the last checkpoint that is at hand is not vouched for, and the report tells how much that is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from moongate.core.errors import BadRequest, StoreError
from moongate.hub.audit_checkpoint import Checkpoint, Verifier, read_checkpoint
from moongate.hub.audit_line import NO_HASH, is_canonical, read_line, row_of
from moongate.store.index import AuditHead, AuditRow

_PAGE: Final = 5000
_MOST_PROBLEMS: Final = 100


class AuditReader(Protocol):
    """What verifying needs of the index."""

    def audit_head(self) -> AuditHead: ...
    def audit_after(self, seq: int, count: int) -> list[AuditRow]: ...
    def audit_bounds(self) -> tuple[int, int]: ...
    def audit_checkpoints(self) -> list[tuple[int, str]]: ...


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written; `seq` says at which line."""

    seq: int
    what: str


@dataclass(slots=True)
class Verified:
    """What was found.

    signed_to: the last line that a checkpoint of a known key vouches for; what follows hangs together only.
    began_at: the number of the first line here. archived_to: up to where a line says others were archived.
    """

    problems: list[Problem] = field(default_factory=list)
    more_problems: int = 0
    lines: int = 0
    began_at: int = 0
    last: int = 0
    checkpoints: int = 0
    signed_to: int = 0
    archived_to: int = 0

    @property
    def is_sound(self) -> bool:
        return not self.problems

    def wrong(self, seq: int, what: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(seq, what))
        else:
            self.more_problems += 1


def verify_index(
    index: AuditReader, keys: Sequence[Verifier], outside: Sequence[Checkpoint] = ()
) -> Verified:
    """Looks at every line of an index. It may grow meanwhile; what comes after the start is not looked at.

    keys: whose signatures count. outside: checkpoints that were kept elsewhere.
    """
    head = index.audit_head()
    inside: list[Checkpoint] = []
    found = Verified()
    for seq, note in index.audit_checkpoints():
        try:
            checkpoint = read_checkpoint(note)
        except BadRequest:
            found.wrong(seq, "the checkpoint is damaged")
            continue
        if checkpoint.seq != seq:
            found.wrong(seq, f"the checkpoint is of line {checkpoint.seq}")
        if seq <= head.seq:
            inside.append(checkpoint)
        elif seq > index.audit_head().seq:
            found.wrong(seq, "there is a checkpoint of a line that is not here: the end was cut off")
    _verify(found, _rows_of(index, head.seq), [*inside, *outside], (), keys)
    if found.last != head.seq:
        found.wrong(head.seq, f"the head is line {head.seq}; the last line here is {found.last}")
    elif found.lines and _hash_at(index, head.seq) != head.hash:
        found.wrong(head.seq, "the head's hash is not the last line's")
    last = index.audit_bounds()[1]
    if last > index.audit_head().seq:
        found.wrong(last, "the line is after the last one: it was put there behind the log's back")
    if found.began_at > 1 and found.archived_to != found.began_at - 1:
        found.wrong(
            found.began_at, "the lines before this one are gone, and no line says that they were archived"
        )
    if head.checkpoint_seq and head.checkpoint_seq not in {checkpoint.seq for checkpoint in inside}:
        found.wrong(head.checkpoint_seq, "the last checkpoint is missing")
    return found


def verify_file(
    path: Path,
    keys: Sequence[Verifier],
    checkpoints: Sequence[Checkpoint],
    known: Sequence[Checkpoint] = (),
) -> Verified:
    """Looks at lines in a file, as `audit export` and `audit archive` write them.

    checkpoints: of lines that must be there. known: of lines that may be there, too.

    Raises:
        StoreError: it cannot be read.
    """
    found = Verified()
    try:
        with path.open("rb") as lines:
            _verify(found, _rows_in(lines, found), checkpoints, known, keys)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return found


def _verify(
    found: Verified,
    rows: Iterable[AuditRow],
    strict: Sequence[Checkpoint],
    lenient: Sequence[Checkpoint],
    keys: Sequence[Verifier],
) -> None:
    marks = _marks(found, [*strict, *lenient], keys)
    before: bytes | None = None
    for row in rows:
        if before is None:
            found.began_at, before = row.seq, _before_first(row, marks, found)
            found.last = row.seq - 1
        _look(row, before, found)
        if row.kind == "audit.archive":
            found.archived_to = max(found.archived_to, _archived_to(row))
        before = hashlib.sha256(row.line).digest()
        found.lines += 1
        found.last = max(found.last, row.seq)
        for checkpoint in marks.get(row.seq, ()):
            if checkpoint.hash == before.hex():
                found.signed_to = row.seq
            else:
                found.wrong(row.seq, "a signed checkpoint tells another hash of this line")
    for seq in sorted({checkpoint.seq for checkpoint in strict}):
        if seq > found.last and seq in marks:
            found.wrong(seq, "a signed checkpoint is of a line that is not here: the end was cut off")


def _marks(
    found: Verified, checkpoints: Sequence[Checkpoint], keys: Sequence[Verifier]
) -> dict[int, list[Checkpoint]]:
    """The checkpoints that count, by line."""
    by_id = {key.id: key for key in keys}
    marks: dict[int, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        key = by_id.get(checkpoint.key)
        if key is None:
            found.wrong(checkpoint.seq, f"the checkpoint is signed by key {checkpoint.key}, not given here")
        elif not checkpoint.is_signed_by(key):
            found.wrong(checkpoint.seq, "the checkpoint's signature is not right")
        else:
            found.checkpoints += 1
            marks.setdefault(checkpoint.seq, []).append(checkpoint)
    return marks


def _before_first(row: AuditRow, marks: dict[int, list[Checkpoint]], found: Verified) -> bytes:
    """The hash that the first line here must follow."""
    if row.seq == 1:
        return NO_HASH
    signed = marks.get(row.seq - 1)
    if not signed:
        found.wrong(row.seq, "the log does not begin here, and no checkpoint tells what came before")
        return _told_before(row)
    found.signed_to = row.seq - 1
    return bytes.fromhex(signed[0].hash)


def _look(row: AuditRow, before: bytes, found: Verified) -> None:
    expected = found.last + 1
    if row.seq != expected:
        found.wrong(row.seq, f"line {expected} was expected here")
    try:
        told = row_of(row.line)
        prev = str(read_line(row.line).get("prev", ""))
    except ValueError:
        found.wrong(row.seq, "the line is damaged")
        return
    if told.hash != row.hash:
        found.wrong(row.seq, "the line is not what its hash is of")
    if prev != before.hex():
        found.wrong(row.seq, "the line does not follow the one before it")
    if told.seq != row.seq:
        found.wrong(row.seq, f"the line calls itself {told.seq}")
    if not is_canonical(row.line):
        found.wrong(row.seq, "the line is not written as this program writes")
    if told != row and told.hash == row.hash and told.seq == row.seq:
        found.wrong(row.seq, "what it is searched by is not what the line says")


def _rows_of(index: AuditReader, last: int) -> Iterator[AuditRow]:
    seq = 0
    while page := index.audit_after(seq, _PAGE):
        for row in page:
            if row.seq > last:
                return
            yield row
        seq = page[-1].seq


def _rows_in(lines: Iterable[bytes], found: Verified) -> Iterator[AuditRow]:
    for number, line in enumerate(lines, start=1):
        text = line.rstrip(b"\n")
        try:
            yield row_of(text)
        except ValueError:
            found.wrong(number, f"line {number} of the file is no line of an audit log")
            yield AuditRow(found.last + 1, 0.0, "", "", None, None, text, hashlib.sha256(text).digest())


def _told_before(row: AuditRow) -> bytes:
    try:
        return bytes.fromhex(str(read_line(row.line).get("prev", "")))
    except ValueError:
        return NO_HASH


def _hash_at(index: AuditReader, seq: int) -> bytes:
    rows = index.audit_after(seq - 1, 1)
    return rows[0].hash if rows else NO_HASH


def _archived_to(row: AuditRow) -> int:
    try:
        return int(read_line(row.line)["details"]["until"])
    except (ValueError, KeyError, TypeError):
        return 0
