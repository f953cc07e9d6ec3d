"""A line of the audit log: canonical JSON that names its number and the hash of the line before.

    {"actor":{"address":"10.0.0.9","kind":"token","name":"ada","token":"3f9a1c"},"at":"2026-11-28T14:20:04.120000Z",
     "digest":"…","kind":"file.deliver","prev":"…64 hex…","repo":"models/acme/tiny","seq":42,"v":1,…}

Keys are sorted, nothing stands between them, what is empty is left out; so the same event is always the same
bytes. A line's hash is the sha256 of exactly its bytes, and the next line holds it as `prev`: anybody can
check a chain with `sha256sum`. The first line's `prev` is 64 zeros.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from moongate.core.redaction import redacted_quickly
from moongate.hub.audit import Actor, AuditEvent
from moongate.store.index import AuditRow

VERSION: Final = 1
NO_HASH: Final = bytes(32)
"""What stands before the first line."""

_MAX_TEXT_CHARS = 4096
_MOST_BITS = 63


@dataclass(frozen=True, slots=True)
class Draft:
    """An event on its way to become a line."""

    at: float
    kind: str
    actor: str
    repo: str | None
    digest: str | None
    fields: dict[str, object]

    def row(self, seq: int, before: bytes) -> AuditRow:
        """The line of this number, after the line with that hash."""
        self.fields["seq"], self.fields["prev"] = seq, before.hex()
        line = _canonical(self.fields)
        return AuditRow(
            seq, self.at, self.kind, self.actor, self.repo, self.digest, line, hashlib.sha256(line).digest()
        )


def draft(event: AuditEvent, now: float) -> Draft:
    """What is kept of an event: texts without tokens, none of them endless."""
    actor = _actor(event.actor)
    repo = f"{event.repo.repo_type}s/{event.repo.repo_id}" if event.repo is not None else None
    told = moment(event.at or now)
    fields: dict[str, object] = {
        "v": VERSION,
        "at": told,
        "kind": event.kind,
        "actor": actor,
        "repo": repo,
        "commit": event.commit_hash,
        "path": _text(event.path),
        "digest": _text(event.digest),
        "effect": _text(event.effect),
        "rule": _text(event.rule),
        "reason": _text(event.reason),
        "subject": _text(event.subject),
        "request": event.request_id,
        "details": _cleaned(event.details) if event.details else None,
    }
    kept = {name: value for name, value in fields.items() if value}
    digest = kept.get("digest")
    return Draft(
        _seconds(told),
        event.kind,
        str(actor.get("name", "")),
        repo,
        None if digest is None else str(digest),
        kept,
    )


def read_line(line: bytes) -> dict[str, Any]:
    """What a line says.

    Raises:
        ValueError: it is no line.
    """
    told = orjson.loads(line)
    if not isinstance(told, dict):
        raise ValueError("not an object")
    return told


def row_of(line: bytes) -> AuditRow:
    """A line with the columns that belong beside it.

    Raises:
        ValueError: it is no line.
    """
    told = read_line(line)
    try:
        return AuditRow(
            int(told["seq"]),
            _seconds(told["at"]),
            str(told["kind"]),
            str(told["actor"]["name"]),
            told.get("repo"),
            told.get("digest"),
            line,
            hashlib.sha256(line).digest(),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not a line of an audit log") from error


def is_canonical(line: bytes) -> bool:
    """Whether a line is written as this program writes it."""
    try:
        return _canonical(read_line(line)) == line
    except (ValueError, TypeError):
        return False


def moment(at: float) -> str:
    """Seconds since the epoch as RFC 3339 writes them, to the microsecond."""
    return f"{datetime.fromtimestamp(at, UTC).isoformat(timespec='microseconds')[:-6]}Z"


def _seconds(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()


def _actor(actor: Actor) -> dict[str, str]:
    told = {
        "name": _text(actor.name),
        "kind": actor.kind,
        "token": actor.token_id,
        "address": actor.address,
        "agent": _text(actor.agent),
    }
    return {name: value for name, value in told.items() if value}


def _text(text: str) -> str:
    """Without tokens, nor what a database's text cannot hold."""
    kept = text[:_MAX_TEXT_CHARS]
    if "\0" in kept:
        kept = kept.replace("\0", "\\0")
    if not kept.isascii():
        kept = kept.encode("utf-8", "backslashreplace").decode()
    return redacted_quickly(kept)


def _cleaned(value: object) -> object:
    """A detail as JSON can hold it."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return str(value)
    if isinstance(value, Mapping):
        return {_text(str(name)): _cleaned(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(str(value))


def _canonical(fields: Mapping[str, object]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
