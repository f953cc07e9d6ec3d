"""Pins: repositories and revisions whose content no quota evicts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from moongate.core.names import RepoId, Revision
from moongate.store.index.database import Database, by
from moongate.store.schema import pins, repo_key, repo_of


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin. Without a revision it holds every commit; a branch or tag holds where it points now."""

    repo: RepoId
    revision: Revision | None
    pinned_at: float


class PinRows:
    """Pins."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._pin = database.upsert(pins)
        self._unpin = database.prepare(delete(pins).where(by(pins.c.repo, pins.c.revision)))
        self._pins = database.prepare(select(pins))

    def pin(self, repo: RepoId, revision: Revision | None, now: float) -> None:
        """Keep what this repository, or this revision of it, lists. Files that come later are kept, too."""
        self._db.run(self._pin, repo_key(repo), revision or "", now)

    def unpin(self, repo: RepoId, revision: Revision | None) -> bool:
        """Take back exactly that pin; whether there was one."""
        return self._db.run(self._unpin, repo_key(repo), revision or "") > 0

    def pins(self) -> list[Pin]:
        """Every pin, by repository."""
        rows = sorted(self._db.all(self._pins))
        return [Pin(repo_of(row[0]), Revision(row[1]) if row[1] else None, row[2]) for row in rows]
