"""What scans said of content: one row for each content, kind of name, and versions of those who judged.

Of what older versions said, only what differs from the newest is kept: it is history.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import orjson
from sqlalchemy import bindparam, delete, exists, func, literal_column, or_, select

from moongate.core.digests import Etag
from moongate.core.names import RepoId
from moongate.core.verdicts import Judged, Report, Verdict, Versions
from moongate.store.index.database import Database, Row, by
from moongate.store.schema import blobs, commits, files, reconstructions, repo_key, verdicts

_MOST_OF_ONE = 50


class VerdictRows:
    """Reports by content."""

    def __init__(self, database: Database) -> None:
        prepare = database.prepare
        self._db = database
        self._put_verdict = database.upsert(verdicts)
        self._forget_same = prepare(
            delete(verdicts).where(
                by(verdicts.c.etag, verdicts.c.name_kind, verdicts.c.verdict),
                or_(
                    verdicts.c.engine != bindparam("engine_"),
                    verdicts.c.rules != bindparam("rules_"),
                    verdicts.c.feeds != bindparam("feeds_"),
                ),
            ),
            "etag",
            "name_kind",
            "verdict",
            "engine_",
            "rules_",
            "feeds_",
        )
        self._of = prepare(
            select(verdicts)
            .where(by(verdicts.c.etag))
            .order_by(verdicts.c.judged_at.desc())
            .limit(literal_column(str(_MOST_OF_ONE)))
        )
        self._drop_ranges = prepare(
            delete(verdicts).where(by(verdicts.c.etag), verdicts.c.basis == "ranges"), "etag"
        )
        newer = verdicts.alias("newer")
        is_newest = ~exists().where(
            newer.c.etag == verdicts.c.etag,
            newer.c.name_kind == verdicts.c.name_kind,
            newer.c.judged_at > verdicts.c.judged_at,
        )
        self._with_verdict = prepare(
            select(verdicts)
            .where(is_newest, by(verdicts.c.verdict), verdicts.c.judged_at < bindparam("before"))
            .order_by(verdicts.c.judged_at.desc())
            .limit(bindparam("count")),
            "verdict",
            "before",
            "count",
        )
        self._counts = prepare(
            select(verdicts.c.verdict, func.count()).where(is_newest).group_by(verdicts.c.verdict)
        )
        here = commits.join(files, files.c.commit_number == commits.c.commit_number)
        self._in_repo = prepare(
            select(verdicts)
            .where(
                is_newest,
                verdicts.c.etag.in_(
                    select(files.c.etag).select_from(here).where(by(commits.c.repo)).distinct()
                ),
            )
            .order_by(verdicts.c.judged_at.desc())
            .limit(bindparam("count")),
            "repo",
            "count",
        )
        read_at = func.coalesce(
            select(blobs.c.read_at).where(blobs.c.etag == verdicts.c.etag).scalar_subquery(),
            select(func.max(reconstructions.c.read_at))
            .where(reconstructions.c.etag == verdicts.c.etag)
            .scalar_subquery(),
        )
        self._outdated = prepare(
            select(verdicts)
            .where(
                is_newest,
                verdicts.c.basis == "whole",
                read_at.is_not(None),
                or_(
                    verdicts.c.engine != bindparam("engine_"),
                    verdicts.c.rules != bindparam("rules_"),
                    verdicts.c.feeds != bindparam("feeds_"),
                    verdicts.c.retry_at <= bindparam("now_"),
                ),
            )
            .order_by(read_at.desc())
            .limit(bindparam("count")),
            "engine_",
            "rules_",
            "feeds_",
            "now_",
            "count",
        )

    def put_verdict(self, judged: Judged) -> None:
        """Write down what was found; what the same versions said of it before is replaced."""
        report = judged.report
        with self._db.transaction() as transaction:
            transaction.run(
                self._put_verdict,
                judged.etag,
                judged.name_kind,
                report.engine,
                report.rules,
                judged.feeds,
                report.verdict,
                judged.basis,
                judged.size_bytes,
                judged.judged_at,
                judged.retry_at,
                judged.attempts,
                orjson.dumps(report.as_json(), default=repr, option=orjson.OPT_NON_STR_KEYS),
            )
            transaction.run(
                self._forget_same,
                judged.etag,
                judged.name_kind,
                report.verdict,
                report.engine,
                report.rules,
                judged.feeds,
            )

    def verdicts_of(self, etag: Etag) -> list[Judged]:
        """All that was said of a content, the newest first. A point read."""
        return [_judged(row) for row in self._db.all(self._of, etag)]

    def drop_unproven_verdicts(self, etag: Etag) -> None:
        """Forget what was said of bytes that turned out not to be the content's."""
        self._db.run(self._drop_ranges, etag)

    def with_verdict(self, verdict: Verdict, before: float, limit: int) -> list[Judged]:
        """What is judged so now and was before a time, the newest first."""
        return [_judged(row) for row in self._db.all(self._with_verdict, verdict, before, limit)]

    def verdicts_in(self, repo: RepoId, limit: int) -> list[Judged]:
        """What is said now of content that is known to be in some commit of a repository."""
        return [_judged(row) for row in self._db.all(self._in_repo, repo_key(repo), limit)]

    def verdict_counts(self) -> dict[str, int]:
        """How many contents have which verdict."""
        return {row[0]: int(row[1]) for row in self._db.all(self._counts)}

    def outdated_verdicts(self, versions: Versions, now: float, limit: int) -> Sequence[Judged]:
        """Kept content that other versions judged, or whose time to look again has come; last read first."""
        rows = self._db.all(self._outdated, versions.engine, versions.rules, versions.feeds, now, limit)
        return [_judged(row) for row in islice(rows, limit)]


def _judged(row: Row) -> Judged:
    etag, name_kind, _, _, feeds, _, basis, size_bytes, judged_at, retry_at, attempts, report = row
    return Judged(
        etag,
        Report.from_json(orjson.loads(bytes(report))),
        judged_at,
        size_bytes,
        name_kind,
        feeds,
        basis,
        retry_at,
        attempts,
    )
