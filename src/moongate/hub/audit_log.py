"""`AuditLog`: events become lines of one chain, many at a time, by a thread of their own.

    note, record, recorded ─► waiting events ─► one transaction: lines, their chain, sometimes a checkpoint
                                                 └► whoever waits is told once that is durable

Acknowledged is what `record` or `recorded` returned from: it outlives kill -9 and a power cut. What was only
noted is written within `_GATHER_SECONDS`, or with the next recorded event. Several processes and replicas add
to the same chain, one batch after the other.

When lines cannot be written, noted ones wait; beyond `_MOST_WAITING` the oldest are given up, and a line
tells how many once there is room again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol

import structlog

from moongate.core.errors import StoreError
from moongate.hub.audit import SYSTEM, AuditEvent
from moongate.hub.audit_checkpoint import Checkpoint, Exporter, Signer, make_checkpoint
from moongate.hub.audit_line import Draft, draft
from moongate.store.index import Added, AuditHead, AuditRow

CHECKPOINT_LINES: Final = 1000
CHECKPOINT_SECONDS: Final = 60.0
_SHORTEST_SECONDS: Final = 1.0
"""However many lines come, no more than one checkpoint in this time."""

_GATHER_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 1.0
_MOST_TOGETHER: Final = 4096
_MOST_WAITING: Final = 200_000

log = structlog.get_logger("moongate.audit")


class AuditShelf(Protocol):
    """What the log needs of the index."""

    def audit_head(self) -> AuditHead: ...
    def add_audit(self, make: Callable[[AuditHead], Added]) -> AuditHead: ...


class _Waiting:
    """An event that waits to be written, and who waits for that."""

    __slots__ = ("draft", "number", "written")

    def __init__(self, made: Draft, written: Future[None] | None) -> None:
        self.draft = made
        self.written = written
        self.number = 0


class AuditLog:
    """One per process; for any thread. The thread starts with the first event; `close` writes what waits."""

    def __init__(
        self,
        shelf: AuditShelf,
        signer: Callable[[], Signer],
        *,
        export: Exporter | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """signer: gives the key that checkpoints are signed with, made when it is first needed."""
        self._shelf = shelf
        self._signer = signer
        self._export = export
        self._now = now
        self._waiting: deque[_Waiting] = deque()
        self._count = 0
        self._lost = 0
        self._awaited = False
        self._closing = False
        self._unwritten = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due = time.monotonic() + CHECKPOINT_SECONDS

    def note(self, event: AuditEvent) -> None:
        """See `Audit.note`."""
        self._put(event, None)

    def record(self, event: AuditEvent) -> None:
        """See `Audit.record`."""
        written: Future[None] = Future()
        self._put(event, written)
        written.result()

    async def recorded(self, event: AuditEvent) -> None:
        """See `Audit.recorded`."""
        written: Future[None] = Future()
        self._put(event, written)
        await asyncio.wrap_future(written)

    def settled(self) -> Callable[[], bool]:
        """See `Audit.settled`."""
        with self._changed:
            last = self._count

        def is_written() -> bool:
            with self._changed:
                is_past = not self._waiting or self._waiting[0].number > last
                return is_past and not self._unwritten

        return is_written

    def checkpoint(self) -> Checkpoint | None:
        """A checkpoint of the last line, made now and taken out; None when there is no line. Blocks.

        Raises:
            StoreError: it could not be made.
        """
        made: list[Checkpoint] = []

        def add(head: AuditHead) -> Added:
            if not head.seq:
                return Added(())
            made.append(make_checkpoint(head.seq, head.hash, self._now(), self._signer()))
            return Added((), (head.seq, made[-1].note(), self._now()))

        self._shelf.add_audit(add)
        if not made:
            return None
        self._take_out(made[-1])
        return made[-1]

    def close(self) -> None:
        """Writes what waits, if that can be done at once. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _put(self, event: AuditEvent, written: Future[None] | None) -> None:
        waiting = _Waiting(draft(event, self._now()), written)
        with self._changed:
            if self._closing and (self._thread is None or not self._thread.is_alive()):
                if written is not None:
                    written.set_exception(StoreError("the audit log was closed"))
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
            self._count += 1
            waiting.number = self._count
            self._waiting.append(waiting)
            if len(self._waiting) > _MOST_WAITING:
                self._give_up_oldest()
            if written is not None or len(self._waiting) >= _MOST_TOGETHER:
                self._awaited = True
                self._changed.notify_all()

    def _give_up_oldest(self) -> None:
        oldest = self._waiting.popleft()
        self._lost += 1
        if oldest.written is not None:
            oldest.written.set_exception(StoreError("the audit log cannot be written"))

    # The thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._awaited and not self._closing:
                    self._changed.wait(_GATHER_SECONDS)
                self._awaited = False
                batch = list(islice(self._waiting, _MOST_TOGETHER))
                if self._closing and not batch:
                    return
            if batch:
                self._write(batch)
            elif time.monotonic() >= self._due:
                self._checkpoint_quietly()

    def _write(self, batch: list[_Waiting]) -> None:
        made: list[Checkpoint] = []
        lost = self._lost
        drafts = [one.draft for one in batch]
        if lost:
            told = AuditEvent(
                "audit.lose", SYSTEM, reason="they could not be written", details={"lines": lost}
            )
            drafts.append(draft(told, self._now()))
        try:
            self._shelf.add_audit(lambda head: self._added(head, drafts, made))
        except Exception as error:  # noqa: BLE001 - told to whoever waits; the thread must live on
            self._failed(batch, error)
            return
        with self._changed:
            self._lost -= lost
            for one in batch:
                if self._waiting and self._waiting[0] is one:
                    self._waiting.popleft()
            self._awaited = self._awaited or len(self._waiting) >= _MOST_TOGETHER
            self._awaited = self._awaited or any(one.written is not None for one in self._waiting)
        for one in batch:
            _tell(one.written, None)
        for checkpoint in made:
            self._take_out(checkpoint)

    def _added(self, head: AuditHead, drafts: list[Draft], made: list[Checkpoint]) -> Added:
        rows: list[AuditRow] = []
        seq, before = head.seq, head.hash
        for one in drafts:
            seq += 1
            row = one.row(seq, before)
            before = row.hash
            rows.append(row)
        now = self._now()
        past = now - head.checkpoint_at
        is_due = seq - head.checkpoint_seq >= CHECKPOINT_LINES and past >= _SHORTEST_SECONDS
        if not is_due and past < CHECKPOINT_SECONDS:
            return Added(rows)
        made[:] = [make_checkpoint(seq, before, now, self._signer())]
        return Added(rows, (seq, made[0].note(), now))

    def _failed(self, batch: list[_Waiting], error: Exception) -> None:
        """Whoever waits is told; what was only noted stays, for another try."""
        known = error if isinstance(error, StoreError) else StoreError(f"the audit log failed: {error}")
        log.error("the audit log cannot be written", why=str(error), waiting=len(self._waiting))
        told = {id(one) for one in batch if one.written is not None}
        with self._changed:
            kept = [one for one in self._waiting if id(one) not in told]
            self._waiting = deque(kept)
            if self._closing:
                self._unwritten = bool(self._waiting)
                self._waiting.clear()
            else:
                self._changed.wait(_RETRY_SECONDS)
        for one in batch:
            _tell(one.written, known)

    def _checkpoint_quietly(self) -> None:
        """A checkpoint of lines that nothing followed, by whichever process comes first."""
        self._due = time.monotonic() + CHECKPOINT_SECONDS
        try:
            head = self._shelf.audit_head()
            if head.seq > head.checkpoint_seq and self._now() - head.checkpoint_at >= CHECKPOINT_SECONDS:
                self.checkpoint()
        except StoreError as error:
            log.warning("no checkpoint could be made", why=error.message)

    def _take_out(self, checkpoint: Checkpoint) -> None:
        if self._export is None:
            return
        try:
            self._export(checkpoint)
        except OSError as error:
            log.warning("a checkpoint could not be taken out", seq=checkpoint.seq, why=str(error))


def _tell(written: Future[None] | None, error: StoreError | None) -> None:
    if written is None:
        return
    with suppress(Exception):  # whoever waited left
        written.set_exception(error) if error is not None else written.set_result(None)
