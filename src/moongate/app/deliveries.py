"""Deliveries that began: written down before the first byte goes out, so that a killed process hides nobody.

    begun ─► a line in this process's journal          one write, for who is not in it already
    noted ─► the line in the log                       once the client asked for no more
    renew ─► a journal with what is still under way    once the log has written all before

A journal that nobody holds was left by a process that died: `recover` has what it knows written into the log,
unless the log knows it. What is known then is who, what and when, and not how much: `details.recovered`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
import structlog

from moongate.core.errors import BadRequest
from moongate.core.names import CommitHash, RepoPath, parse_repo
from moongate.core.records import FileAt
from moongate.hub.audit import Actor, Audit, AuditEvent
from moongate.hub.audit_line import cleaned

_SLACK_SECONDS: Final = 5.0

log = structlog.get_logger("moongate.audit")


class Journal(Protocol):
    """What `store.journals.Journal` is."""

    def append(self, line: bytes) -> None: ...
    def renew(self, lines: Sequence[bytes]) -> Callable[[], None]: ...
    def end(self) -> None: ...


class NoJournal:
    """Keeps nothing."""

    def append(self, line: bytes) -> None: ...

    def renew(self, lines: Sequence[bytes]) -> Callable[[], None]:
        return lambda: None

    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Begun:
    """A delivery that began. request_id: of the request it began with; the line in the log names it."""

    request_id: str
    line: bytes


def begun(actor: Actor, file: FileAt, way: str, request_id: str, at: float) -> Begun:
    """What the journal keeps of a delivery."""
    told = {
        "at": at,
        "actor": [actor.name, actor.kind, actor.token_id, actor.address, actor.agent],
        "repo": f"{file.repo.repo_type}s/{file.repo.repo_id}",
        "commit": file.commit_hash,
        "path": file.entry.path,
        "digest": file.entry.etag,
        "xet": file.entry.xet_hash,
        "way": way,
        "request": request_id,
    }
    return Begun(request_id, orjson.dumps(cleaned(told)))


def begun_again(before: Begun, request_id: str, at: float) -> Begun:
    """The same delivery, begun anew by another request."""
    return Begun(request_id, orjson.dumps({**orjson.loads(before.line), "request": request_id, "at": at}))


Known = Callable[[float], set[tuple[str, str]]]
"""The deliveries of which the log tells since then, each by its request and path."""


def recover(left: Iterable[tuple[list[bytes], Callable[[], None]]], audit: Audit, known: Known) -> int:
    """Has what other processes left behind written down; how many deliveries. Blocks.

    Raises:
        StoreError: it could not be written; what is left stays where it is.
    """
    count = 0
    for lines, forget in left:
        told = [event for event in map(_event, lines) if event is not None]
        written = known(min(event.at for event in told) - _SLACK_SECONDS) if told else set()
        missing = [event for event in told if (event.request_id, event.path) not in written]
        for event in missing[:-1]:
            audit.note(event)
        for event in missing[-1:]:
            audit.record(event)  # with it, all that were noted before
        forget()
        count += len(missing)
    if count:
        log.warning("deliveries of a process that died were written down", count=count)
    return count


def _event(line: bytes) -> AuditEvent | None:
    """None for a line that is torn, or that somebody else wrote."""
    try:
        return _read(orjson.loads(line))
    except (ValueError, TypeError, KeyError, BadRequest):
        return None


def _read(told: Mapping[str, Any]) -> AuditEvent:
    details: dict[str, object] = {"way": told["way"], "recovered": True}
    if told["xet"]:
        details["xet"] = told["xet"]
    return AuditEvent(
        "file.deliver",
        Actor(*told["actor"]),
        parse_repo(told["repo"]),
        CommitHash(told["commit"]),
        RepoPath(told["path"]),
        told["digest"],
        request_id=told["request"],
        details=details,
        at=float(told["at"]),
    )
