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
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from moongate.core.redaction import may_hold_token, redacted_quickly
from moongate.hub.audit import AuditEvent
from moongate.store.index import AuditRow

VERSION: Final = 1
NO_HASH: Final = bytes(32)
"""What stands before the first line."""

_MAX_TEXT_CHARS = 4096
_MOST_BITS = 63
_MICRO: Final = 1_000_000
_PREV: Final = b',"prev":""'
_SEQ: Final = b',"seq":0'


class Draft:
    """An event on its way to become a line: all of it, but for its number and what it follows."""

    __slots__ = ("_after", "_before", "_between", "actor", "at", "digest", "kind", "repo")

    def __init__(self, at: float, actor: str, fields: dict[str, Any], line: bytes) -> None:
        """line: of the fields, with `prev` empty and `seq` 0."""
        self.at = at
        self.kind: str = fields["kind"]
        self.actor = actor
        self.repo: str | None = fields.get("repo")
        self.digest: str | None = fields.get("digest")
        # Behind `prev` only texts follow, and a text holds no bare quotation mark.
        self._before, _, rest = line.rpartition(_PREV)
        self._between, _, self._after = rest.partition(_SEQ)

    def row(self, seq: int, before: bytes) -> AuditRow:
        """The line of this number, after the line with that hash."""
        parts = (self._before, before.hex().encode(), self._between, seq, self._after)
        line = b'%b,"prev":"%b"%b,"seq":%d%b' % parts
        digest = hashlib.sha256(line).digest()
        return AuditRow(seq, self.at, self.kind, self.actor, self.repo, self.digest, line, digest)


def draft(event: AuditEvent, now: float) -> Draft:
    """What is kept of an event: texts without tokens, none of them endless."""
    actor, repo = event.actor, event.repo
    micros = round((event.at or now) * _MICRO)
    told_actor = {
        "name": actor.name,
        "kind": actor.kind,
        "token": actor.token_id,
        "address": actor.address,
        "agent": actor.agent,
    }
    told = {
        "kind": event.kind,
        "repo": None if repo is None else f"{repo.repo_type}s/{repo.repo_id}",
        "commit": event.commit_hash,
        "path": event.path,
        "digest": event.digest,
        "effect": event.effect,
        "rule": event.rule,
        "reason": event.reason,
        "subject": event.subject,
        "request": event.request_id,
        "details": event.details,
    }
    fields: dict[str, Any] = {name: value for name, value in told.items() if value}
    fields["v"], fields["at"], fields["prev"], fields["seq"] = VERSION, _told(micros), "", 0
    fields["actor"] = {name: value for name, value in told_actor.items() if value}
    line = _plainly(fields)
    if line is None:
        fields = {name: cleaned(value) for name, value in fields.items()}
        line = _canonical(fields)
    return Draft(micros / _MICRO, fields["actor"].get("name", ""), fields, line)


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
    return _told(round(at * _MICRO))


def _told(micros: int) -> str:
    seconds, rest = divmod(micros, _MICRO)
    return f"{_second(seconds)}.{rest:06}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _seconds(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()


def _plainly(fields: dict[str, Any]) -> bytes | None:
    """The line of fields that need no cleaning, as nearly all; None when that is not sure.

    One look at the whole line is much cheaper than one at each of its texts.
    """
    try:
        line = _canonical(fields)
    except (TypeError, ValueError):  # not JSON yet
        return None
    is_plain = len(line) <= _MAX_TEXT_CHARS and line.isascii() and b"\\u0000" not in line
    return line if is_plain and not may_hold_token(line) else None


def _text(text: str) -> str:
    """Without tokens, nor what a database's text cannot hold."""
    kept = text[:_MAX_TEXT_CHARS]
    if "\0" in kept:
        kept = kept.replace("\0", "\\0")
    if not kept.isascii():
        kept = kept.encode("utf-8", "backslashreplace").decode()
    return redacted_quickly(kept)


def cleaned(value: object) -> object:
    """A value as JSON can hold it, and without tokens."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return str(value)
    if isinstance(value, Mapping):
        return {_text(str(name)): cleaned(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [cleaned(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(str(value))


def _canonical(fields: Mapping[str, object]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
