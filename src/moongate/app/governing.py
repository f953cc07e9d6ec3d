"""What governs in one process: the rules that hold now, the waivers, and the desk where holds wait.

The rules' files are looked at every two seconds and on SIGHUP. What changed is logged and audited; a broken
edit is logged as an error, every minute until it is mended; `/readyz` and `moongate doctor` show it, too.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from moongate.core.decisions import Effect
from moongate.core.errors import StoreError
from moongate.hub.audit import SYSTEM, Audit, AuditEvent
from moongate.policy.current import CurrentPolicy
from moongate.policy.desk import Desk, DeskShelf
from moongate.policy.engine import Rules
from moongate.policy.record import AskedShelf, RecordedPolicy
from moongate.policy.waivers import WaivedPolicy, WaiverBook, WaiverShelf

_LOOK_SECONDS = 2.0
_REMIND_SECONDS = 60.0

log = structlog.get_logger("moongate.policy")


class GovernShelf(DeskShelf, WaiverShelf, AskedShelf, Protocol):
    """What is needed of the index."""


@dataclass(slots=True)
class Governing:
    """One per process. `start` and `stop` belong to the loop that serves.

    policy: what the gate asks: the rules that hold now, with waivers, and a record of what was asked.
    waived: the same without the record, for questions that nobody really asked.
    """

    current: CurrentPolicy
    waived: WaivedPolicy
    policy: RecordedPolicy
    desk: Desk
    audit: Audit
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._watch())
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    async def stop(self) -> None:
        """May be called twice, and without a start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await asyncio.to_thread(self._flush)

    def tell_what_holds(self, known: str | None) -> None:
        """Has it written down when other rules hold than the log last told of, by their digest. Blocks.

        Rules may have been edited while nothing ran.

        Raises:
            StoreError: it could not be written.
        """
        rules = self.current.rules
        if known == rules.digest:
            return
        details = {
            "before": known or "",
            "after": rules.digest,
            "rules": len(rules.rules),
            "found": "at start",
        }
        self.audit.record(AuditEvent("policy.change", SYSTEM, subject=rules.source, details=details))

    async def reload(self) -> bool:
        """Look at the files now; whether other rules hold than before."""
        return await asyncio.to_thread(self.current.refresh, force=True)

    def _hang_up(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, lambda: self.current.refresh(force=True))

    async def _watch(self) -> None:
        reminded = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self.current.refresh)
            await asyncio.to_thread(self._flush)
            if self.current.trouble and time.monotonic() - reminded >= _REMIND_SECONDS:
                _tell_broken(self.current.trouble)
                reminded = time.monotonic()

    def _flush(self) -> None:
        try:
            self.policy.flush()
        except StoreError as error:
            log.warning("what the policy was asked was not recorded", why=error.message)


def govern(
    source: str,
    shelf: GovernShelf,
    audit: Audit,
    *,
    two_persons: bool = False,
    changes: Callable[[], int] = lambda: 0,
    changed: Callable[[], None] = lambda: None,
) -> Governing:
    """The rules of a source, with the waivers and requests of an index.

    changes: a number that costs nothing to look at, raised by `changed` in whatever process of this home.

    Raises:
        BadPolicy: there are no rules to begin with.
    """

    def noted(before: Rules, after: Rules) -> None:
        log.info("other rules hold", source=after.source, rules=len(after.rules), digest=after.digest)
        details = {"before": before.digest, "after": after.digest, "rules": len(after.rules)}
        try:
            audit.record(AuditEvent("policy.change", SYSTEM, subject=after.source, details=details))
        except StoreError as error:
            log.error("a change of policy was not audited", why=error.message)
        changed()

    current = CurrentPolicy(source, noted, _tell_broken)

    def effect_of(rule_id: str) -> Effect | None:
        return current.rules.effects.get(rule_id)

    book = WaiverBook(shelf, time.time, changes)
    desk = Desk(shelf, audit, time.time, two_persons=two_persons, changed=changed)
    waived = WaivedPolicy(current, book, effect_of)
    return Governing(current, waived, RecordedPolicy(waived, shelf, time.time), desk, audit)


def _tell_broken(trouble: str) -> None:
    log.error("the policy is broken; the last good rules hold", why=trouble)
