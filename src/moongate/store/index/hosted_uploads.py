"""Uploads: what somebody may commit because they brought it, and the parts of what is still coming.

A lease says that a caller uploaded a content to a repository, whole and verified. Until it runs out the
content stays although no commit lists it, and the caller may commit it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, exists, func, select

from moongate.core.digests import Etag
from moongate.store.index.blobs import hosted
from moongate.store.index.database import Database, by
from moongate.store.schema import files, orphans, upload_leases, upload_parts


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A part of an upload that is here."""

    number: int
    sha256: str
    size_bytes: int


class UploadRows:
    """Leases of uploaded content, and parts."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_upload = database.upsert(upload_leases)
        self._upload = prepare(
            select(upload_leases.c.size_bytes).where(
                by(upload_leases.c.repo_number, upload_leases.c.caller_key, upload_leases.c.etag),
                upload_leases.c.expires_at > bindparam("now_"),
            ),
            "repo_number",
            "caller_key",
            "etag",
            "now_",
        )
        ran_out = upload_leases.c.expires_at <= bindparam("now_")
        self._orphan_uploads = prepare(
            database.insert(orphans)
            .from_select(["etag"], select(upload_leases.c.etag).where(ran_out).distinct())
            .on_conflict_do_nothing()
        )
        self._prune_uploads = prepare(delete(upload_leases).where(ran_out))
        self._orphans_after = prepare(
            select(orphans.c.etag)
            .where(orphans.c.etag > bindparam("after"))
            .order_by(orphans.c.etag)
            .limit(bindparam("count")),
            "after",
            "count",
        )
        self._is_orphan = prepare(
            select(orphans.c.etag).where(
                by(orphans.c.etag), ~exists().where(files.c.etag == orphans.c.etag), ~hosted(orphans.c.etag)
            )
        )
        self._drop_orphan = prepare(delete(orphans).where(by(orphans.c.etag)))
        self._put_part = database.upsert(upload_parts)
        self._parts = prepare(
            select(upload_parts.c.part_number, upload_parts.c.sha256, upload_parts.c.size_bytes)
            .where(by(upload_parts.c.upload))
            .order_by(upload_parts.c.part_number)
        )
        self._drop_parts = prepare(delete(upload_parts).where(by(upload_parts.c.upload)))
        self._last_part = prepare(select(func.max(upload_parts.c.noted_at)).where(by(upload_parts.c.upload)))
        self._prune_parts = prepare(delete(upload_parts).where(upload_parts.c.noted_at < bindparam("before")))

    def put_upload(
        self, number: int, caller_key: str, etag: Etag, size_bytes: int, expires_at: float
    ) -> None:
        """Say that a caller brought this content to a repository; again renews it."""
        self._db.run(self._put_upload, number, caller_key, etag, size_bytes, expires_at)

    def put_uploads(self, number: int, caller_key: str, sizes: dict[Etag, int], expires_at: float) -> None:
        """The same for many contents at once."""
        rows = [(number, caller_key, etag, size, expires_at) for etag, size in sorted(sizes.items())]
        if rows:
            with self._db.transaction() as transaction:
                transaction.run_many(self._put_upload, rows)

    def upload(self, number: int, caller_key: str, etag: Etag, now: float) -> int | None:
        """The size of content that a caller brought to a repository; None: none, or too long ago."""
        row = self._db.one(self._upload, number, caller_key, etag, now)
        return None if row is None else int(row[0])

    def prune_uploads(self, now: float) -> int:
        """Forget leases that ran out, and have their content looked at by the next collection; how many."""
        with self._db.transaction() as transaction:
            transaction.run(self._orphan_uploads, now)
            return transaction.run(self._prune_uploads, now)

    def orphans_after(self, etag: str, limit: int) -> list[Etag]:
        """The next page of contents that lost a holder, by etag; begin with an empty one."""
        return [row[0] for row in self._db.all(self._orphans_after, etag, limit)]

    def is_orphan(self, etag: Etag) -> bool:
        """Whether such content has no holder left: no listing, no hosted repository, no lease."""
        return self._db.one(self._is_orphan, etag) is not None

    def drop_orphan(self, etag: Etag) -> None:
        """Forget that it lost a holder, once it is freed or has another one."""
        self._db.run(self._drop_orphan, etag)

    def put_part(self, upload: str, part: UploadPart, now: float) -> None:
        """Say that a part is here."""
        self._db.run(self._put_part, upload, part.number, part.sha256, part.size_bytes, now)

    def parts(self, upload: str) -> list[UploadPart]:
        """The parts of an upload that are here, in order."""
        return [UploadPart(*row) for row in self._db.all(self._parts, upload)]

    def drop_parts(self, upload: str) -> None:
        """Forget an upload's parts."""
        self._db.run(self._drop_parts, upload)

    def prune_parts(self, before: float) -> int:
        """Forget parts that came before; how many."""
        return self._db.run(self._prune_parts, before)
