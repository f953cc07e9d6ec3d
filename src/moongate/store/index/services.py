"""What services answered about hashes, how much of their quotas is used, and sha256s of small files."""

from __future__ import annotations

import json

from sqlalchemy import bindparam, delete, select

from moongate.core.digests import Etag
from moongate.core.feeds import ServiceAnswer
from moongate.store.index.database import Database, by
from moongate.store.schema import blobs, content_digests, service_answers, service_use


class ServiceRows:
    """Answers and quotas."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._service_put_answer = database.upsert(service_answers)
        self._service_answer = prepare(
            select(service_answers).where(by(service_answers.c.service, service_answers.c.sha256))
        )
        self._service_stale_answers = prepare(
            delete(service_answers).where(service_answers.c.fresh_until < bindparam("before"))
        )
        use = database.insert(service_use).values(
            service=bindparam("service_"), span=bindparam("span_"), used=1
        )
        # Counted up only below the quota, in one statement: two processes cannot both take the last one.
        self._service_use = prepare(
            use.on_conflict_do_update(
                index_elements=["service", "span"],
                set_={"used": service_use.c.used + 1},
                where=service_use.c.used < bindparam("quota_"),
            ),
            "service_",
            "span_",
            "quota_",
        )
        self._service_used = prepare(
            select(service_use.c.used).where(by(service_use.c.service, service_use.c.span))
        )
        self._service_old_spans = prepare(
            delete(service_use).where(
                service_use.c.service == bindparam("service_"), service_use.c.span < bindparam("before")
            )
        )

    def put_service_answer(self, answer: ServiceAnswer) -> None:
        """Remember what a service said, or that it knows nothing."""
        told = None if answer.told is None else json.dumps(dict(answer.told))
        self._db.run(
            self._service_put_answer, answer.service, answer.sha256, told, answer.asked_at, answer.fresh_until
        )

    def service_answer(self, service: str, sha256: str) -> ServiceAnswer | None:
        """What a service said, stale answers too. A point read."""
        row = self._db.one(self._service_answer, service, sha256)
        if row is None:
            return None
        return ServiceAnswer(row[0], row[1], None if row[2] is None else json.loads(row[2]), row[3], row[4])

    def prune_service_answers(self, stale_before: float) -> int:
        """Forget answers that went stale before; how many."""
        return self._db.run(self._service_stale_answers, stale_before)

    def use_service(self, service: str, span: str, quota: int) -> bool:
        """Count one question in a span of time; False, and nothing counted, when its quota is used up."""
        return quota > 0 and self._db.run(self._service_use, service, span, quota) > 0

    def service_used(self, service: str, span: str) -> int:
        """Questions counted in a span."""
        row = self._db.one(self._service_used, service, span)
        return int(row[0]) if row is not None else 0

    def prune_service_use(self, service: str, before: str) -> None:
        """Forget spans that sort before."""
        self._db.run(self._service_old_spans, service, before)


class DigestRows:
    """The sha256 of content whose etag is git's."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._digest_put_digest = database.upsert(content_digests)
        self._digest_digest = prepare(select(content_digests.c.sha256).where(by(content_digests.c.etag)))
        self._digest_etag = prepare(
            select(content_digests.c.etag).where(content_digests.c.sha256 == bindparam("sha256")).limit(1)
        )
        missing = (
            select(blobs.c.etag)
            .outerjoin(content_digests, content_digests.c.etag == blobs.c.etag)
            .where(content_digests.c.etag.is_(None), blobs.c.etag.not_like("_" * 64))
            .limit(bindparam("most"))
        )
        self._digest_undigested = prepare(missing)

    def put_digest(self, etag: str, sha256: str) -> None:
        """Note the sha256 of content that is kept under git's object id; empty: it has gone since."""
        self._db.run(self._digest_put_digest, etag, sha256)

    def digest_of(self, etag: str) -> str | None:
        """The sha256 of content: its etag, when that is one; else what was noted. A point read."""
        if len(etag) == 64:
            return etag
        row = self._db.one(self._digest_digest, etag)
        return None if row is None or not row[0] else str(row[0])

    def etag_of(self, sha256: str) -> Etag | None:
        """The git object id of small content that is known by its sha256; None when none is. A point read."""
        row = self._db.one(self._digest_etag, sha256)
        return None if row is None else Etag(row[0])

    def undigested(self, most: int) -> list[str]:
        """Kept blobs whose sha256 nobody noted yet."""
        return [row[0] for row in self._db.all(self._digest_undigested, most)]
