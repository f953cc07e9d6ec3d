"""What an auditor does with the log: search it, check it, take it away, put old lines into an archive.

Works on an index from any thread, beside running gateways.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import orjson

from moongate.core.digests import Etag
from moongate.core.errors import BadRequest, Conflict, StoreError
from moongate.core.names import parse_repo
from moongate.hub.audit import KINDS, Actor, AuditEvent
from moongate.hub.audit_checkpoint import Checkpoint, Verifier, read_checkpoint
from moongate.hub.audit_line import read_line
from moongate.hub.audit_log import AuditLog
from moongate.hub.audit_reports import cef, ocsf
from moongate.hub.audit_verify import Verified, verify_file, verify_index
from moongate.store.index import AuditHead, AuditRow, AuditSearch

Search = AuditSearch
"""Which lines are looked for."""

Format = Literal["jsonl", "ocsf", "cef"]
FORMATS: Final[tuple[Format, ...]] = ("jsonl", "ocsf", "cef")
_PAGE: Final = 2000
_MOST_ARCHIVES: Final = 10_000
_LAST: Final = (1 << 63) - 1


class AuditIndex(Protocol):
    """What the desk needs of the index."""

    def audit_head(self) -> AuditHead: ...
    def audit_bounds(self) -> tuple[int, int]: ...
    def audit_after(self, seq: int, count: int) -> list[AuditRow]: ...
    def audit_checkpoints(self) -> list[tuple[int, str]]: ...
    def search_audit(self, wanted: AuditSearch, before: int, count: int) -> list[AuditRow]: ...
    def etag_of(self, sha256: str) -> Etag | None: ...
    def digest_of(self, etag: str) -> str | None: ...
    def drop_audit(self, until: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Archived:
    """Lines that went to a file: the first, the last, how many."""

    first: int
    last: int
    lines: int


def wanted_of(
    kind: str | None = None,
    user: str | None = None,
    repo: str | None = None,
    digest: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> AuditSearch:
    """A search as people ask for it.

    Raises:
        BadRequest: there is no such kind, or `repo` names none.
    """
    if kind is not None and kind not in KINDS:
        raise BadRequest(f"{kind[:40]!r} is no kind of event; `moongate audit kinds` lists them")
    key = None
    if repo:
        named = parse_repo(repo)
        key = f"{named.repo_type}s/{named.repo_id}"
    return AuditSearch(kind, user, key, digest.lower() if digest else None, since, until)


class AuditDesk:
    """One log, to be read."""

    def __init__(self, index: AuditIndex, log: AuditLog) -> None:
        self._index = index
        self._log = log

    def search(self, wanted: AuditSearch, count: int, before: int | None = None) -> list[dict[str, Any]]:
        """The newest lines that are looked for, the newest first; `before` pages on."""
        rows = self._page(wanted, _LAST if before is None else before, count)
        return [read_line(row.line) for row in rows]

    def delivered_since(self, since: float) -> set[tuple[str, str]]:
        """The deliveries that lines tell of from a time on, each by the id of its request and its path."""
        found: set[tuple[str, str]] = set()
        before = _LAST
        while page := self._index.search_audit(AuditSearch("file.deliver", since=since), before, _PAGE):
            told = [read_line(row.line) for row in page]
            found.update((str(one.get("request", "")), str(one.get("path", ""))) for one in told)
            before = page[-1].seq
        return found

    def last_policy(self) -> str | None:
        """The digest of the rules that the log last told of; None when it told of none."""
        for row in self._index.search_audit(AuditSearch("policy.change"), _LAST, 1):
            return str(read_line(row.line).get("details", {}).get("after", ""))
        return None

    def raw(self, after: int, count: int) -> list[bytes]:
        """So many lines after one as they are hashed, the oldest first."""
        return [row.line for row in self._index.audit_after(after, count)]

    def verify(self, keys: Sequence[Verifier], outside: Sequence[Checkpoint] = ()) -> Verified:
        """See `verify_index`."""
        return verify_index(self._index, keys, outside)

    def verify_file(
        self, path: Path, keys: Sequence[Verifier], checkpoints: Sequence[Checkpoint] = ()
    ) -> Verified:
        """See `verify_file`; the log's own checkpoints tell what came before the file.

        An archive that the log tells of has to hold all of its lines, whatever checkpoint lies beside it.
        """
        found = verify_file(path, keys, checkpoints, self.checkpoints())
        told = self._archived_as(path.name)
        if told and (found.began_at, found.last) not in told:
            first, last = told[0]
            found.wrong(found.last, f"lines {first} to {last} were archived in a file of this name")
        return found

    def _archived_as(self, name: str) -> list[tuple[int, int]]:
        """The first and last line of each archive of that file name that lines here tell of."""
        lines = self.search(AuditSearch("audit.archive"), _MOST_ARCHIVES)
        told = [line["details"] for line in lines if line["details"].get("file") == name]
        return [(one["first"], one["until"]) for one in told]

    def checkpoints(self) -> list[Checkpoint]:
        """All of them, the oldest first."""
        return [read_checkpoint(note) for _, note in self._index.audit_checkpoints()]

    def export(self, wanted: AuditSearch, shape: Format, after: int = 0) -> Iterator[bytes]:
        """The lines that are looked for, the oldest first, each with its newline.

        `jsonl` gives the lines as they are hashed; without a search, that is a chain to be verified.
        """
        for row in self._rows(wanted, after):
            yield written(row, shape)

    def archive(self, path: Path, until: int, actor: Actor) -> Archived:
        """Moves the lines up to one into a new file, with a checkpoint beside it (`PATH.checkpoint`).

        The checkpoint stays here as well, so that what follows can still be verified; and a line tells of it.

        Raises:
            BadRequest: there is no such line, or nothing would stay.
            Conflict: the file is there already.
            StoreError: it could not be written; nothing was removed then.
        """
        first, last = self._index.audit_bounds()
        marks = [mark for mark in self.checkpoints() if first <= mark.seq <= min(until, last)]
        if not first or not marks:
            raise BadRequest("no line up to there is signed; `moongate audit checkpoint` signs the last one")
        mark = marks[-1]
        lines = self._write_archive(path, first, mark)
        details = {"until": mark.seq, "first": first, "lines": lines, "file": path.name}
        self._log.record(AuditEvent("audit.archive", actor, details=details))
        self._index.drop_audit(mark.seq)
        return Archived(first, mark.seq, lines)

    def _write_archive(self, path: Path, first: int, mark: Checkpoint) -> int:
        lines = 0
        try:
            with path.open("xb") as file:
                for row in self._rows(AuditSearch(), first - 1):
                    if row.seq > mark.seq:
                        break
                    file.write(row.line + b"\n")
                    lines += 1
                file.flush()
                os.fsync(file.fileno())
            beside = path.with_name(f"{path.name}.checkpoint")
            with beside.open("x") as file_beside:
                file_beside.write(f"{mark.note()}\n")
                file_beside.flush()
                os.fsync(file_beside.fileno())
        except FileExistsError as error:
            raise Conflict(f"{error.filename} is there already") from None
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        return lines

    def _page(self, wanted: AuditSearch, before: int, count: int) -> list[AuditRow]:
        """The newest lines before one. Content is found by each of its digests; small files have two."""
        asked = [wanted]
        if wanted.digest is not None:
            others = {self._index.etag_of(wanted.digest), self._index.digest_of(wanted.digest)}
            asked += [replace(wanted, digest=other) for other in others - {None, wanted.digest}]
        rows = [row for one in asked for row in self._index.search_audit(one, before, count)]
        return sorted(rows, key=lambda row: -row.seq)[:count]

    def _rows(self, wanted: AuditSearch, after: int) -> Iterator[AuditRow]:
        """In order. The index walks a search backwards, so where its pages begin is gathered first."""
        if wanted == AuditSearch():
            seq = after
            while page := self._index.audit_after(seq, _PAGE):
                yield from page
                seq = page[-1].seq
            return
        pages: list[int] = []
        before = _LAST
        while page := self._page(wanted, before, _PAGE):
            pages.append(before)
            before = page[-1].seq
        for start in reversed(pages):
            page = self._page(wanted, start, _PAGE)
            yield from (row for row in reversed(page) if row.seq > after)


def written(row: AuditRow, shape: Format) -> bytes:
    """A line in a shape, with its newline."""
    return _WRITERS[shape](row) + b"\n"


def _as_it_is(row: AuditRow) -> bytes:
    return row.line


def _as_ocsf(row: AuditRow) -> bytes:
    return orjson.dumps(ocsf(read_line(row.line)))


def _as_cef(row: AuditRow) -> bytes:
    return cef(read_line(row.line)).encode("utf-8", "backslashreplace")


_WRITERS: Final[dict[Format, Callable[[AuditRow], bytes]]] = {
    "jsonl": _as_it_is,
    "ocsf": _as_ocsf,
    "cef": _as_cef,
}
