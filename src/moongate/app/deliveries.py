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

from moongate.core.names import CommitHash, RepoPath, parse_repo
from moongate.core.records import FileAt
from moongate.hub.audit import Actor, Audit, AuditEvent

_SLACK_SECONDS: Final = 5.0

log = structlog.get_logger("moongate.audit")


class Journal(Protocol):
    """What `store.journals.Journal` is."""

    def append(self, line: bytes) -> None: ...
    def renew(self, lines: Sequence[bytes]) -> Callable[[], None]: ...


class NoJournal:
    """Keeps nothing."""

    def append(self, line: bytes) -> None: ...

    def renew(self, lines: Sequence[bytes]) -> Callable[[], None]:
        return lambda: None


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
        "repo": str(file.repo),
        "commit": file.commit_hash,
        "path": file.entry.path,
        "digest": file.entry.etag,
        "xet": file.entry.xet_hash,
        "way": way,
        "request": request_id,
    }
    return Begun(request_id, orjson.dumps(told))


def begun_again(before: Begun, request_id: str, at: float) -> Begun:
    """The same delivery, begun anew by another request."""
    return Begun(request_id, orjson.dumps({**orjson.loads(before.line), "request": request_id, "at": at}))


Known = Callable[[float], set[str]]
"""The requests of which the log tells deliveries since then."""


def recover(left: Iterable[tuple[list[bytes], Callable[[], None]]], audit: Audit, known: Known) -> int:
    """Has what other processes left behind written down; how many deliveries. Blocks.

    Raises:
        StoreError: it could not be written; what is left stays where it is.
    """
    count = 0
    for lines, forget in left:
        told = [one for one in map(_read, lines) if one is not None]
        written = known(min(one["at"] for one in told) - _SLACK_SECONDS) if told else set()
        missing = [one for one in told if one["request"] not in written]
        for one in missing[:-1]:
            audit.note(_event(one))
        for one in missing[-1:]:
            audit.record(_event(one))  # with it, all that were noted before
        forget()
        count += len(missing)
    if count:
        log.warning("deliveries of a process that died were written down", count=count)
    return count


def _read(line: bytes) -> dict[str, Any] | None:
    """None for a torn line."""
    try:
        told = orjson.loads(line)
        return told if isinstance(told, dict) and {"at", "actor", "repo", "request"} <= told.keys() else None
    except orjson.JSONDecodeError:
        return None


def _event(told: Mapping[str, Any]) -> AuditEvent:
    details: dict[str, object] = {"way": told["way"], "recovered": True}
    if told.get("xet"):
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
        at=told["at"],
    )
